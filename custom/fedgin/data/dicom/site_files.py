"""Write what the rest of the system reads: ``datalist.json`` and a draft of ``site.yaml``."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import yaml

from fedgin.data.datalist import Split
from fedgin.data.dicom.rules import IngestRules, LabelSource
from fedgin.data.dicom.splits import read_settled, split_patients, write_settled
from fedgin.documents import read_yaml
from fedgin.errors import ConfigError
from fedgin.files import write_text

DATALIST = "datalist.json"
SITE = "site.yaml"


@dataclass(frozen=True)
class Labelled:
    """A case with image and label; paths are relative to the dataset, ``patient`` is a pseudonym."""

    image: Path
    label: Path
    patient: str


def write_datalist(out: Path, rules: IngestRules, cases: list[Labelled]) -> Counter[Split]:
    """Write ``datalist.json``; patients of earlier runs keep their split. Return the cases of each split."""
    settled = read_settled(out)
    splits = split_patients({case.patient for case in cases}, rules.split, settled)
    write_settled(out, {**settled, **splits})
    lists: dict[str, list[dict[str, str]]] = {split.value: [] for split in Split}
    for case in sorted(cases, key=lambda case: case.image):
        entry = {"image": case.image.as_posix(), "label": case.label.as_posix(), "patient": case.patient}
        lists[splits[case.patient].value].append(entry)
    values = {"name": rules.site, "modality": rules.modality.value, **lists}
    write_text(out / DATALIST, json.dumps(values, indent=1) + "\n")
    return Counter({split: len(lists[split.value]) for split in Split})


def write_site_draft(out: Path, rules: IngestRules) -> None:
    """Write ``site.yaml`` unless there is one: after the first run it belongs to the engineer."""
    path = out / SITE
    if not path.exists():
        values = {"site": rules.site, "data_root": ".", "datalist": DATALIST, **_promised(rules)}
        write_text(path, yaml.safe_dump(values, sort_keys=False))


def check_site_draft(out: Path, rules: IngestRules) -> None:
    """Refuse rules whose label ids differ from those of an existing ``site.yaml``: organs would change places.

    Raises:
        ConfigError: ``site.yaml`` says another modality or other label ids, or is damaged.
    """
    path = out / SITE
    if not path.exists() or rules.labels.source is LabelSource.NONE:
        return
    try:
        values = read_yaml(path, source=SITE)
    except ConfigError:
        values = None
    if not isinstance(values, dict) or any(values.get(key) != value for key, value in _promised(rules).items()):
        raise ConfigError(
            f"{SITE} in OUT does not have the modality and label ids of the rules",
            f"correct the rules, or delete {SITE} to have it drafted anew",
        )


def _promised(rules: IngestRules) -> dict[str, object]:
    return {"modality": rules.modality.value, "labels": rules.labels.ids}
