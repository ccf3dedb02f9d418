"""In what a site is unlike the plan or the other sites: what a lead should know before the first round."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from fedgin.data.appearance import AXES, SIZE_MARGIN
from fedgin.data.site import Modality
from fedgin.planning.fingerprints import Fingerprint
from fedgin.planning.geometry import Geometry

# An organ whose place in the body's range of grey values differs by more comes from another sequence, or from images
# with and without contrast agent.
BRIGHTNESS_MARGIN = 0.25


def find_differences(sites: Sequence[Fingerprint], organs: Sequence[str], geometry: Geometry) -> tuple[str, ...]:
    """Return what a lead should know, a sentence each.

    Args:
        sites: sorted by name.
        organs: that are planned.
        geometry: that is planned.
    """
    return (
        *_small(sites),
        *_modalities(sites),
        *_spacings(sites, geometry.spacing_mm),
        *_unlabelled(sites, organs),
        *_sequences(sites, organs),
        *_cut_off(sites, organs, geometry.covers_mm),
    )


def _small(sites: Sequence[Fingerprint]) -> Iterator[str]:
    for site in sites:
        if not site.training_cases:
            yield f"{site.site} has fewer than three training cases: none of its numbers is in the plan"


def _modalities(sites: Sequence[Fingerprint]) -> Iterator[str]:
    by_modality = {modality: [site for site in sites if site.modality is modality] for modality in Modality}
    for modality, members in by_modality.items():
        if not members:
            unknown = f"no site has {modality}: whether the model holds on it, no site can measure"
            yield f"{unknown}. If it is meant to, set quality of the augmentation to false: the filter costs Dice there"
        elif len(members) == 1 and len(sites) > 2:
            yield f"{members[0].site} alone has {modality}, and with it half of the weight (modality_balanced)"
    lost = [site for site in by_modality[Modality.CT] if site.training_cases and not site.training.organ_hu]
    for site in lost:
        yield f"{site.site} has CT without Hounsfield units: it is cut at percentiles, like MR"


def _spacings(sites: Sequence[Fingerprint], planned: Sequence[float]) -> Iterator[str]:
    steps = planned if len(planned) == 3 else (planned[0], planned[0])
    for site in sites:
        for axis, step, shared in zip(
            AXES, steps, site.training.spacing_mm.known() or site.spacing_mm.known(), strict=False
        ):
            theirs = shared["p50"]
            if not step / SIZE_MARGIN <= theirs <= step * SIZE_MARGIN:
                words = " to ".join(axis.split("_"))
                yield f"{site.site}: its voxels measure {theirs:.3g} mm from {words}, those of the plan {step:.3g} mm"


def _unlabelled(sites: Sequence[Fingerprint], organs: Sequence[str]) -> Iterator[str]:
    for modality, members in _by_modality(sites):
        nobody = [organ for organ in organs if not any(site.labels(organ) for site in members)]
        if nobody:
            yield f"no {modality} site labels {', '.join(nobody)}: the model learns it from the other modality alone"
        for site in members:
            missing = [organ for organ in organs if organ not in nobody and not site.labels(organ)]
            if missing:
                yield f"{site.site} does not label {', '.join(missing)}: its loss leaves them out"


def _sequences(sites: Sequence[Fingerprint], organs: Sequence[str]) -> Iterator[str]:
    """Compare sites of one modality by the organ that tells them apart most."""
    for modality, members in _by_modality(sites):
        spread = []
        for organ in organs:
            shown = [
                (known.brightness["p50"], site.site)
                for site in members
                if (known := site.organs.get(organ)) and known.brightness
            ]
            if shown:
                spread.append((max(shown)[0] - min(shown)[0], organ, min(shown), max(shown)))
        widest, organ, (dark, one), (bright, other) = max(spread, default=(0.0, "", (0.0, ""), (0.0, "")))
        if widest > BRIGHTNESS_MARGIN:
            yield (
                f"{modality}: of the body's range of grey values, {organ} lies at {dark:.0%} at {one} and at "
                f"{bright:.0%} at {other}: another sequence, or with and without contrast agent"
            )


def _cut_off(sites: Sequence[Fingerprint], organs: Sequence[str], covers_mm: Sequence[float]) -> Iterator[str]:
    """Name the organs that are longer than what the network sees: at some site, half of them are."""
    for axis, name in list(enumerate(AXES))[: len(covers_mm)]:
        sizes = {
            organ: max((known["p50"] for site in sites if (known := _extent(site, organ, axis))), default=0.0)
            for organ in organs
        }
        larger = [f"{organ} ({size:.0f} mm)" for organ, size in sizes.items() if size > covers_mm[axis]]
        if larger:
            words = " to ".join(name.split("_"))
            yield f"the network sees {covers_mm[axis]:.0f} mm from {words} at once, less than {', '.join(larger)}"


def _extent(site: Fingerprint, organ: str, axis: int) -> Mapping[str, float] | None:
    known = site.organs[organ].extent_mm.known() if organ in site.organs else ()
    return known[axis] if known else None


def _by_modality(sites: Sequence[Fingerprint]) -> Iterator[tuple[Modality, list[Fingerprint]]]:
    for modality, members in groupby(
        sorted(sites, key=lambda site: (site.modality, site.site)), lambda site: site.modality
    ):
        yield modality, list(members)
