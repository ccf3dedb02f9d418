"""Which organs a federation can learn, and the grey values that hold them."""

from collections.abc import Sequence

from fedgin.data.organ_names import check_organs
from fedgin.data.preprocessing_settings import Preprocessing
from fedgin.data.site import Modality
from fedgin.errors import ConfigError
from fedgin.planning.decision import HERE, NNUNET, Decision
from fedgin.planning.fingerprints import Fingerprint
from fedgin.planning.pooling import Shared, pool

# Percentiles of the organs' voxels that the CT window has at its ends.
WINDOW = (0.5, 99.5)
# The body begins at the lower end of the window (:func:`fedgin.data.body.find_body`).
FAT_HU = Preprocessing().ct_window_hu[0]


def choose_organs(sites: Sequence[Fingerprint], minimum: int) -> tuple[list[str], list[Decision]]:
    """Return the organs that at least ``minimum`` sites show in three cases or more, by name.

    Raises:
        ConfigError: there is none, or one is misspelt.
    """
    named = sorted({organ for site in sites for organ in site.organs})
    by_organ = {organ: [site.site for site in sites if site.labels(organ)] for organ in named}
    organs = [organ for organ in named if len(by_organ[organ]) >= minimum]
    if not organs:
        most = max(map(len, by_organ.values()), default=0)
        raise ConfigError(
            f"no organ is labelled by {minimum} sites, in three cases or more at each",
            f"lower the minimum: --organ-sites {most}" if most else "label three cases or more of an organ",
        )
    check_organs(organs)
    left_out: dict[str, list[str]] = {}
    for organ in named:
        if organ not in organs:
            left_out.setdefault(", ".join(by_organ[organ]) or "nobody", []).append(organ)
    without = [f"; left out, labelled by {who}: {', '.join(some)}" for who, some in sorted(left_out.items())]
    reason = f"labelled by {minimum} sites or more, in three cases or more at each{''.join(without)}"
    return organs, [Decision("organs", ", ".join(organs), reason, HERE)]


def choose_window(sites: Sequence[Fingerprint]) -> tuple[tuple[float, float] | None, list[Decision]]:
    """Return the CT window of the organs in HU, where a site shares one, and how each modality's grey values are cut.

    The window is of all organs that a site labels: which of them a plan takes is not known to it.
    """
    decisions = []
    groups = [Shared(site.training.organ_hu, site.training_cases) for site in sites if site.training.organ_hu]
    window = None
    if groups:
        low, high = (float(round(pool(groups, percentile))) for percentile in WINDOW)
        window = (min(low, FAT_HU), max(high, low + 1.0))
        reason = f"percentiles {WINDOW[0]:g} ({low:g}) and {WINDOW[1]:g} of the organs' voxels at the sites with HU"
        if low > FAT_HU:
            reason += f"; begins at {FAT_HU:g}, because the body is what is brighter, and fat belongs to it"
        source = f"{NNUNET}, {HERE}" if low > FAT_HU else NNUNET
        decisions.append(Decision("ct_window_hu", f"{window[0]:g} to {window[1]:g}", reason, source))
    if any(site.modality is Modality.MR or (site.training_cases and not site.training.organ_hu) for site in sites):
        low, high = Preprocessing().mr_percentiles
        reason = "of the body of each image, which has no unit that sites share; nnU-Net does not clip MR"
        decisions.append(Decision("mr_percentiles", f"{low:g} to {high:g}", reason, HERE))
    return window, decisions
