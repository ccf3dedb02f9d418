"""Judge a site's update as a whole, before anything of it is added to the others'."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from nvflare.apis.dxo import DXO, DataKind, MetaKey, from_shareable
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.shareable import Shareable

from fedgin.data.site import Modality
from fedgin.errors import FedginError, with_fix
from fedgin.flare.array_limit import UNFETCHED
from fedgin.flare.participation import Claim, Contribution
from fedgin.flare.protocol import MODALITY, TRAINED, WITHHELD
from fedgin.train.experiment import Experiment
from fedgin.train.initial_model import initial_model

SAME_PACKAGE = "use this package and the job's experiment.yaml at the site"
LONGEST_NAME = 120
COUNTS = {"cases", "of_cases", "slices", "of_slices"}
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
# Only where the job asks for it; it becomes float32 here, because it would overflow when multiplied by its weight.
HALF = np.dtype(np.float16)


Shapes = Mapping[str, tuple[int, ...]]


class UpdateRefusedError(FedginError):
    """An update that may not enter the average; the reason goes to the server's log, the report and the site."""

    code = "FG-072"


@dataclass(frozen=True)
class Update:
    """An update that passed every check that needs no other update.

    Attributes:
        data: differences by state-dict name: finite float32 arrays whatever the site sent, or ciphertexts.
        size: root mean square of all differences. The L2 norm divided by the root of the number of weights, so that a
            site that holds some entries back can be compared with the others. ``None`` where they are encrypted.
        contribution: what the site says about it.
    """

    data: Mapping[str, Any]
    size: float | None
    contribution: Contribution


class UpdateGuard:
    """Checks updates one by one, and what a site claims against what it claimed before.

    The entries and shapes are those of the network of ``experiment.yaml``, from which the server's global model is
    built as well, less what a site of the modality does not send
    (:func:`~fedgin.train.site.sent_entries.sent_entries`). A site may hold more back (``privacy.exclude_layers`` of its
    ``site.yaml``) if it names every entry that is missing.

    A site's weight is what it claims: nobody can count its slices from here. The claim is the number of training slices
    that the report shows, has an upper bound from the job and can never grow in a run, so that a site cannot change its
    weight once it sees the others' effect. ``federation.agreed`` of the job is such a bound for each site, and binds it
    to its modality, too. Without it a site that lies from the first round on gets the share of that many slices, under
    ``modality_balanced`` at most its modality's half; ``uniform`` believes no claim at all.

    Args:
        experiment: the experiment of the job.
        claims: the claims by site, of the job that this one resumes.
    """

    def __init__(self, experiment: Experiment, claims: Mapping[str, Claim]) -> None:
        model = initial_model(experiment)
        self.settings = experiment.federation
        self.expected = {modality.value: model.sent_shapes(modality.value) for modality in Modality}
        self.agreed = {site: Claim(item.modality.value, item.slices) for site, item in self.settings.agreed.items()}
        self.claims = dict(claims)
        self.floats = (*FLOATS, HALF) if self.settings.transfer == "float16" else FLOATS

    def check(self, site: str, shareable: Shareable) -> Update:
        """Return the update, or say why it is refused; nothing is remembered of it.

        Raises:
            UpdateRefusedError: it carries no weight differences, claims what cannot be, or has an entry that is
                missing, unknown, misshapen, of a type that the job does not send, NaN, infinite or too large for
                float32.
        """
        if self.agreed and site not in self.agreed:
            raise UpdateRefusedError("the job's federation.agreed does not name it", "submit a job that names it")
        dxo = _read(shareable)
        modality = self._check_modality(site, dxo.get_meta_prop(MODALITY))
        counts = _check_counts(dxo.get_meta_prop(TRAINED))
        weight = self._check_weight(site, dxo.get_meta_prop(MetaKey.NUM_STEPS_CURRENT_ROUND), counts["of_slices"])
        contribution = Contribution(modality, weight, **counts)
        data, size = self._read_differences(dxo, self.expected[modality])
        return Update(data, size, contribution)

    def unpack(self, array: NDArray[Any]) -> Any:
        """Return an entry of an update as the average takes it, of the array that was kept of it."""
        return array

    def remember(self, site: str, update: Update) -> None:
        """Hold a site to the modality and the weight of its first update that entered an average."""
        self.claims.setdefault(site, Claim(update.contribution.modality, update.contribution.weight))

    def _read_differences(self, dxo: DXO, expected: Shapes) -> tuple[Mapping[str, Any], float | None]:
        """Return the update's data and size."""
        if dxo.get_meta_prop(MetaKey.PROCESSED_ALGORITHM) is not None:
            raise UpdateRefusedError("it is encoded, so that it cannot be checked", SAME_PACKAGE)
        whole = check_names(dxo.data, _without_withheld(expected, dxo.get_meta_prop(WITHHELD, [])))
        data = {name: self._read_entry(name, value, expected[name]) for name, value in whole.items()}
        size = _root_mean_square(data)
        if size == 0.0:
            raise UpdateRefusedError("it changes no weight", SAME_PACKAGE)
        return data, size

    def _read_entry(self, name: str, value: object, shape: tuple[int, ...]) -> NDArray[np.float32]:
        if not isinstance(value, np.ndarray):
            fault = "is no array"
        elif value.dtype not in self.floats:
            fault = f"has type {value.dtype}, not {' or '.join(map(str, self.floats))}"
        elif value.shape != shape:
            fault = f"has shape {list(value.shape)}, the network needs {list(shape)}"
        else:
            with np.errstate(over="ignore"):  # a float64 that becomes infinite is refused below
                entry = np.asarray(value, np.float32)
            if np.isfinite(entry).all():
                return entry
            fault = "holds NaN or infinity as float32"
        raise UpdateRefusedError(f"entry '{name}' {fault[:LONGEST_NAME]}", SAME_PACKAGE)

    def _check_modality(self, site: str, modality: object) -> str:
        if not isinstance(modality, str) or modality not in self.expected:
            raise UpdateRefusedError(f"its modality is {modality!r}"[:LONGEST_NAME], "set CT or MR in site.yaml")
        for bound in self._bounds(site):
            if modality != bound.modality:
                raise UpdateRefusedError(f"its modality was {bound.modality} and is {modality}", SAME_PACKAGE)
        return modality

    def _bounds(self, site: str) -> list[Claim]:
        """Return what the site has bound itself to, and what was agreed."""
        return [claims[site] for claims in (self.claims, self.agreed) if site in claims]

    def _check_weight(self, site: str, claim: object, slices: int) -> float:
        uniform = self.settings.client_weighting == "uniform"
        largest = 1.0 if uniform else float(self.settings.max_samples_per_site)
        largest = min([largest, *(bound.weight for bound in self._bounds(site))])
        # Compared before it is converted: an integer can be too large for a float, and NaN is in no range.
        if isinstance(claim, bool) or not isinstance(claim, int | float) or not 1 <= claim <= largest:
            raise UpdateRefusedError(
                f"it claims {claim!r} samples"[:LONGEST_NAME] + f", allowed is 1 to {largest:g}",
                "check the site's datalist, or raise federation.max_samples_per_site",
            )
        if not uniform and claim != slices:
            raise UpdateRefusedError(f"it claims {claim!r} samples and has {slices} training slices", SAME_PACKAGE)
        return float(claim)


def find_outliers(sizes: Mapping[str, float], earlier: Collection[float], ratio: float) -> dict[str, str]:
    """Return the sites whose update differs in size from more than half of the others, with the reason.

    A minority, however extreme, neither gets in nor has an honest site refused, because no mean is taken. Where no
    majority agrees, such as two sites that differ, all are refused: nothing here can tell which is right. A direction
    is never judged: sign-flipped updates have an ordinary size and pass.

    Args:
        sizes: the sizes of the round's updates by site, positive.
        earlier: sizes that entered the previous average; they count as others where the round has fewer than three
            updates.
        ratio: largest quotient of two sizes that belong together.
    """
    found = {}
    for site, size in sizes.items():
        others = [value for name, value in sizes.items() if name != site]
        others += list(earlier) if len(sizes) < 3 else []
        far = sum(max(size / other, other / size) > ratio for other in others)
        if 2 * far > len(others):
            found[site] = with_fix(
                f"its size {size:.3g} is more than {ratio:g} times that of {far} of {len(others)} others, or less than "
                f"1/{ratio:g}",
                "look at the site's data and loss; the bound is federation.max_norm_ratio",
            )
    return found


def _read(shareable: Shareable) -> DXO:
    code = shareable.get_return_code()
    if code and code != ReturnCode.OK:
        raise UpdateRefusedError(f"it came with return code {code}"[:LONGEST_NAME], "read the site's log")
    try:
        dxo = from_shareable(shareable)
    except Exception:  # FLARE raises several kinds for a shareable without DXO
        raise UpdateRefusedError("it carries no DXO", SAME_PACKAGE) from None
    if dxo.data_kind != DataKind.WEIGHT_DIFF:
        raise UpdateRefusedError(f"it carries {dxo.data_kind}, not {DataKind.WEIGHT_DIFF}"[:LONGEST_NAME], SAME_PACKAGE)
    return dxo


def _check_counts(counts: object) -> dict[str, int]:
    if not isinstance(counts, Mapping) or counts.keys() != COUNTS or not all(type(n) is int for n in counts.values()):
        raise UpdateRefusedError("it does not say how many cases it was trained on", SAME_PACKAGE)
    if not (0 < counts["cases"] <= counts["of_cases"] and 0 < counts["slices"] <= counts["of_slices"]):
        raise UpdateRefusedError("it was trained on no case, or on more cases or slices than there are", SAME_PACKAGE)
    return dict(counts)


def _without_withheld(expected: Shapes, withheld: object) -> Shapes:
    if not isinstance(withheld, list) or not all(isinstance(name, str) for name in withheld):
        raise UpdateRefusedError("it does not say which entries it withholds", SAME_PACKAGE)
    if unknown := set(withheld) - expected.keys():
        raise UpdateRefusedError(f"it withholds '{min(unknown)[:LONGEST_NAME]}', which nobody expects", SAME_PACKAGE)
    return {name: shape for name, shape in expected.items() if name not in set(withheld)}


def check_names(data: object, expected: Shapes) -> Mapping[str, object]:
    """Return an update's data when it has exactly the expected entries, whatever they hold.

    Raises:
        UpdateRefusedError: an entry is missing or unknown, or there is none at all, or the arrays were not fetched.
    """
    if not isinstance(data, Mapping) or not data:
        raise UpdateRefusedError("it has no entries", SAME_PACKAGE)
    if any(value is UNFETCHED for value in data.values()):
        raise UpdateRefusedError("it was not fetched: it is larger than the network, or damaged", SAME_PACKAGE)
    if extra := data.keys() - expected.keys():
        name = min(str(entry) for entry in extra)[:LONGEST_NAME]
        raise UpdateRefusedError(f"entry '{name}' is not expected of its modality, or was to be withheld", SAME_PACKAGE)
    if missing := expected.keys() - data.keys():
        raise UpdateRefusedError(f"entry '{min(missing)}' is missing and not named as withheld", SAME_PACKAGE)
    return data


def _root_mean_square(data: Mapping[str, NDArray[np.float32]]) -> float:
    # In double precision, which holds the squares of the largest float32 and of the smallest.
    squares = sum(float(np.square(value, dtype=np.float64).sum()) for value in data.values())
    return math.sqrt(squares / sum(value.size for value in data.values()))
