"""The model card of a bundle, one page as Markdown and as HTML, filled from the run's provenance and nothing else."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from fedgin.data.preprocessing_settings import Preprocessing
from fedgin.data.site import Modality
from fedgin.deploy.bundle import NOT_A_DEVICE, Bundle, bundle_name
from fedgin.errors import one_line
from fedgin.files import write_text
from fedgin.train.experiment import Experiment
from fedgin.train.provenance import Measured, Participant, Provenance

UNKNOWN = "unknown"
CARD_MD, CARD_HTML = Path("docs") / "README.md", Path("docs") / "model_card.html"


def write_model_card(bundle: Bundle, accepted_fault: str = "") -> None:
    """Write ``docs/README.md`` and ``docs/model_card.html`` into a bundle.

    Args:
        bundle: that was written before.
        accepted_fault: what is wrong with the run and was accepted by name; empty for a good run.
    """
    values = _context(bundle, accepted_fault)
    for path, template in ((CARD_MD, "model_card.md"), (CARD_HTML, "model_card.html")):
        html = template.endswith(".html")
        environment = jinja2.Environment(
            loader=jinja2.PackageLoader("fedgin.deploy"),
            autoescape=html,
            finalize=None if html else _plain,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        write_text(bundle.folder / path, environment.get_template(template).render(values))


def _plain(value: object) -> str:
    """Return a value as Markdown shows it: a fault quotes what a site said, which is no section or tag of ours."""
    return re.sub(r"[\\`*<>|\[\]]", r"\\\g<0>", one_line(str(value)))


def _context(bundle: Bundle, accepted_fault: str) -> dict[str, Any]:
    provenance, experiment = bundle.provenance, bundle.experiment
    return {
        "name": bundle_name(provenance),
        "not_a_device": NOT_A_DEVICE,
        "accepted_fault": accepted_fault,
        "organs": [organ.replace("_", " ") for organ in experiment.organs],
        "label_ids": {organ.replace("_", " "): label for organ, label in bundle.label_ids.items()},
        "modalities": " and ".join(provenance.modalities) or UNKNOWN,
        "training": _training(provenance),
        "participants": [_participant(item) for item in provenance.participants],
        "measured": [_measured(item) for item in provenance.measured],
        "untested": _untested(provenance),
        "settings": _settings(provenance),
        "provenance": provenance,
        "weights_sha256": bundle.sha256,
        "finished": provenance.finished.strftime("%Y-%m-%d %H:%M UTC"),
    }


def _training(provenance: Provenance) -> str:
    sites, rounds = _many(len(provenance.participants), "site"), _many(provenance.rounds, "round")
    counts = [item.training_cases for item in provenance.participants]
    cases = UNKNOWN if None in counts else str(sum(count or 0 for count in counts))
    return f"{provenance.kind}: {sites}, {cases} training cases, {rounds}"


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _participant(item: Participant) -> tuple[str, str, str, str]:
    cases, rounds = (UNKNOWN if value is None else str(value) for value in (item.training_cases, item.rounds))
    return item.site, item.modality.value, cases, rounds


def _measured(item: Measured) -> dict[str, str]:
    interval = f"{item.interval[0]:.2f} to {item.interval[1]:.2f}" if item.interval else UNKNOWN
    return {
        "site": item.site or "all",
        "modality": item.modality.value,
        "organ": item.organ.replace("_", " ") or "mean of organs",
        "split": item.split,
        "patients": UNKNOWN if item.patients is None else str(item.patients),
        "dice": f"{item.dice:.3f}",
        "interval": interval,
    }


def _untested(provenance: Provenance) -> list[str]:
    """Say what no test case of the run shows."""
    measured = provenance.measured
    said = [
        f"{modality}: no case was measured" + ("" if modality in provenance.modalities else ", and none was trained on")
        for modality in Modality
        if not any(item.modality is modality for item in measured)
    ]
    organs = {item.organ for item in measured if item.organ}
    missing = [organ.replace("_", " ") for organ in provenance.experiment.organs if organ not in organs]
    if missing:
        said.append(f"no measured case shows: {', '.join(missing)}")
    if measured and all(item.split == "validation" for item in measured):
        said.append("no test case was measured; validation cases chose the model, so their Dice is too good")
    return [*said, "other scanners, sequences, ages and diseases than those of the sites: what they have is " + UNKNOWN]


def _settings(provenance: Provenance) -> Sequence[tuple[str, str]]:
    experiment = provenance.experiment
    preprocessing = experiment.preprocessing
    return [
        ("network", f"{experiment.network.name}, normalisation {experiment.network.normalisation}"),
        ("started from", _start(experiment)),
        ("augmentation", experiment.augmentation.name),
        ("image", _image(preprocessing)),
        ("CT window", "{:g} to {:g} HU".format(*preprocessing.ct_window_hu)),
        ("MR grey values", "percentiles {:g} to {:g} of the body".format(*preprocessing.mr_percentiles)),
        *[_images(provenance, modality) for modality in provenance.modalities],
        ("largest region alone", _largest(experiment)),
        ("client weighting", experiment.federation.client_weighting),
        ("homomorphic encryption", "yes" if experiment.federation.homomorphic_encryption else "no"),
        ("privacy settings of the sites", f"{UNKNOWN}: a site does not tell them"),
        ("seed", str(experiment.seed)),
    ]


def _start(experiment: Experiment) -> str:
    """Say which weights the run began with."""
    pretrained = experiment.network.pretrained
    if pretrained is None:
        return "random weights of the seed"
    anew = f"; random: {', '.join(pretrained.leave_out)}" if pretrained.leave_out else ""
    return f"{pretrained.file}, SHA-256 {pretrained.sha256}{anew}"


def _largest(experiment: Experiment) -> str:
    """Say of which organs only the largest region is kept."""
    organs = [organ.replace("_", " ") for organ in experiment.postprocessing.largest_region]
    return f"of {', '.join(organs)}" if organs else "of no organ"


def _image(preprocessing: Preprocessing) -> str:
    """Say what the network sees."""
    size = " x ".join(str(side) for side in preprocessing.size)
    if isinstance(preprocessing.spacing_mm, tuple):
        voxels = " x ".join(f"{side:g}" for side in preprocessing.spacing_mm)
        return (
            f"volumes of {voxels} mm voxels, in patches of {size} (left-right, posterior-anterior, inferior-superior)"
        )
    return f"axial slices of {preprocessing.spacing_mm:g} mm pixels, {size}"


def _images(provenance: Provenance, modality: Modality) -> tuple[str, str]:
    """Say how half of the training images looked."""
    name = f"{modality} training images, the middle half"
    for item in provenance.appearances:
        if item.modality is modality:
            parts = ((item.spacing_mm, "voxels"), (item.field_of_view_mm, "field of view"))
            shown = [
                f"{what} {' x '.join(f'{low:.3g} to {high:.3g}' for low, high in ranges)} mm" for ranges, what in parts
            ]
            return name, "; ".join(shown)
    return name, UNKNOWN
