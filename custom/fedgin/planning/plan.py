"""One experiment for several sites, with the reason of every number in it."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from fedgin.config import parse_settings
from fedgin.planning.decision import HERE, Decision
from fedgin.planning.differences import find_differences
from fedgin.planning.fingerprints import Fingerprint
from fedgin.planning.geometry import Geometry, plan_geometry
from fedgin.planning.organs import choose_organs, choose_window
from fedgin.train.experiment import Experiment

WIDTH = 118
# Of volumes with these organs the largest region alone was nearer to the reference on patients who are no test patients
# (docs/reading.md, "The base recipe"). Of the pancreas and the gallbladder it was not, and of others nothing is known.
IN_ONE_PIECE = frozenset({"liver", "right_kidney", "left_kidney", "spleen"})


@dataclass(frozen=True)
class Wishes:
    """What a lead decides.

    Attributes:
        memory_gb: what a training step may take, in 1e9 bytes.
        organ_sites: how many sites must label an organ.
        dimensions: 2 or 3; ``None`` leaves it to the rule.
    """

    memory_gb: float = 8.0
    organ_sites: int = 2
    dimensions: int | None = None


@dataclass(frozen=True)
class Plan:
    """A plan.

    Attributes:
        experiment: of the job.
        values: what of it was planned, as nested keys; all else has its default.
        sites: that it is for, by name.
        decisions: what was decided, and why.
        warnings: in what sites differ, a sentence each.
    """

    experiment: Experiment
    values: Mapping[str, Any]
    sites: tuple[str, ...]
    decisions: tuple[Decision, ...]
    warnings: tuple[str, ...]

    def text(self) -> str:
        """Return ``experiment.yaml``: what was planned, and above it why."""
        lines = ["Planned by 'fedgin plan'; docs/planning.md has the rules. An unknown key is an error."]
        lines += [f"{item.key}: {item.value}. {item.reason} [{item.source}]" for item in self.decisions]
        lines += [f"Note: {warning}" for warning in self.warnings]
        wrapped = [part for line in lines for part in textwrap.wrap(line, WIDTH, subsequent_indent="  ")]
        return "".join(f"# {line}\n" for line in wrapped) + yaml.safe_dump({**self.values}, sort_keys=False)


def make_plan(name: str, sites: Sequence[Fingerprint], wishes: Wishes) -> Plan:
    """Plan an experiment; the same for any order of the sites.

    Args:
        name: of the experiment.
        sites: as :func:`fedgin.planning.fingerprints.read_fingerprints` returns them.
        wishes: of the lead.

    Raises:
        ConfigError: the name is none, no organ has enough sites, or the memory is too small.
    """
    sites = sorted(sites, key=lambda site: site.site)
    organs, why_organs = choose_organs(sites, wishes.organ_sites)
    geometry = plan_geometry(sites, classes=len(organs) + 1, memory_gb=wishes.memory_gb, dimensions=wishes.dimensions)
    window, why_window = choose_window(sites)
    kept = [organ for organ in organs if organ in IN_ONE_PIECE and len(geometry.size) == 3]
    values = _experiment(name, organs, geometry, window) | _postprocessing(kept)
    experiment = parse_settings(values, Experiment, source=f"plan {name}")
    decisions = (_who(sites), *why_organs, *geometry.decisions, *why_window, *_not_planned(geometry, kept))
    warnings = find_differences(sites, organs, geometry)
    return Plan(experiment, values, tuple(site.site for site in sites), decisions, warnings)


def _experiment(
    name: str, organs: Sequence[str], geometry: Geometry, window: tuple[float, float] | None
) -> dict[str, Any]:
    topology, volumes = geometry.topology, len(geometry.size) == 3
    spacing = list(geometry.spacing_mm) if volumes else geometry.spacing_mm[0]
    preprocessing = {"spacing_mm": spacing, "size": list(geometry.size)}
    network = {
        "channels": list(topology.channels),
        "strides": [list(level) for level in topology.strides],
        "kernel_sizes": [list(level) for level in topology.kernels],
    }
    # What costs nothing on volumes and on slices (docs/reading.md).
    gin = {"match_norm_before_mix": True} | ({"kernel_sizes": _gin_kernels(geometry)} if volumes else {})
    return {
        "name": name,
        "organs": list(organs),
        "preprocessing": preprocessing | ({"ct_window_hu": list(window)} if window else {}),
        "network": {"name": "dynunet", "params": network},
        "augmentation": {"name": "gin", "quality": True, "params": gin},
        "training": {"batch_size": geometry.batch_size},
    }


def _postprocessing(kept: Sequence[str]) -> dict[str, Any]:
    return {"postprocessing": {"largest_region": list(kept)}} if kept else {}


def _gin_kernels(geometry: Geometry) -> list[list[int]]:
    """Return GIN's pool: 1, the kernel of the network's finest level, and 3, each once."""
    axes = len(geometry.size)
    return [list(kernel) for kernel in dict.fromkeys([(1,) * axes, geometry.topology.kernels[0], (3,) * axes])]


def _who(sites: Sequence[Fingerprint]) -> Decision:
    described = [f"{site.site} ({site.modality}, {site.training_cases or '<3'})" for site in sites]
    return Decision("sites", str(len(sites)), f"with modality and training cases: {', '.join(described)}", HERE)


def _not_planned(geometry: Geometry, kept: Sequence[str]) -> tuple[Decision, ...]:
    volumes = len(geometry.size) == 3
    pool = "kernels as thin as the network's" if volumes else "the original's kernels"
    draws = f"{pool}; draws that hide an organ are drawn again, and the output has the norm of the image"
    region = "what lies apart becomes background, which was nearer to the reference in volumes"
    left = "steps, learning rate, loss, geometric augmentation and weighting of sites have the package's defaults"
    return (
        Decision("augmentation", "gin", draws, f"Ouyang 2022, {HERE}"),
        *([Decision("largest_region", ", ".join(kept), region, HERE)] if kept else ()),
        Decision("all else", "default", f"{left}: nothing is tuned", HERE),
    )
