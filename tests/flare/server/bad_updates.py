"""Every way in which an update can be bad, as a function of the site, its honest update and one of its entries."""

from collections.abc import Callable

import numpy as np
from nvflare.apis.dxo import DXO, DataKind, MetaKey
from nvflare.apis.fl_constant import ReservedKey, ReturnCode
from nvflare.apis.shareable import ReservedHeaderKey, Shareable, make_reply
from nvflare.app_common.app_constant import AppConstants

from fedgin.flare.array_limit import UNFETCHED
from fedgin.flare.protocol import MODALITY, TRAINED
from tests.flare.runs import came_from
from tests.flare.server.updates import COUNTS, Data, send

Make = Callable[[str, Data, str], Shareable]
SLICES = 90


def with_entry(change: Callable[[np.ndarray], object]) -> Make:
    """Change one entry."""
    return lambda site, data, name: send(site, "MR", SLICES, {**data, name: change(data[name])})


def with_all(change: Callable[[np.ndarray], np.ndarray]) -> Make:
    """Change all entries."""
    return lambda site, data, name: send(site, "MR", SLICES, {key: change(value) for key, value in data.items()})


def with_weight(weight: object) -> Make:
    """Claim another number of samples."""
    return lambda site, data, name: send(site, "MR", weight, data)


def with_modality(modality: object) -> Make:
    """Claim another modality."""
    return lambda site, data, name: send(site, modality, SLICES, data)


def with_name(name: object) -> Make:
    """Name itself otherwise."""

    def make(site: str, data: Data, _: str) -> Shareable:
        update = send(site, "MR", SLICES, data)
        update.set_peer_props({ReservedKey.IDENTITY_NAME: name})
        return update

    return make


def with_round(number: object) -> Make:
    """Name another round."""
    return lambda site, data, name: send(site, "MR", SLICES, data, number)


def with_meta(key: str, value: object) -> Make:
    """Say something else beside the weights."""
    return lambda site, data, name: send(site, "MR", SLICES, data, **{key: value})


def _with_one(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(entry: np.ndarray) -> np.ndarray:
        changed = entry.copy()
        changed.flat[-1] = value
        return changed

    return change


def _as_kind(site: str, data: Data, name: str) -> Shareable:
    meta = {MetaKey.NUM_STEPS_CURRENT_ROUND: SLICES, MODALITY: "MR", TRAINED: COUNTS}
    return _from(site, DXO(DataKind.WEIGHTS, data=data, meta=meta).to_shareable())


def _from(site: str, shareable: Shareable) -> Shareable:
    came_from(site, shareable)
    shareable.add_cookie(AppConstants.CONTRIBUTION_ROUND, 0)
    return shareable


class Hostile(dict[str, np.ndarray]):
    """A mapping that raises when it is looked into."""

    def keys(self) -> object:  # type: ignore[override]
        """Fail."""
        raise MemoryError


def _with_headers(key: str, value: object) -> Make:
    def make(site: str, data: Data, _: str) -> Shareable:
        update = send(site, "MR", SLICES, data)
        update.set_header(key, value)
        return update

    return make


BAD_UPDATES: dict[str, Make] = {
    "one NaN": with_entry(_with_one(np.nan)),
    "one infinity": with_entry(_with_one(-np.inf)),
    "all NaN": with_all(lambda entry: np.full_like(entry, np.nan)),
    "all zero": with_all(np.zeros_like),
    "100-fold": with_all(lambda entry: 100 * entry),
    "a hundredth": with_all(lambda entry: entry / 100),
    "largest float64": with_all(lambda entry: np.full(entry.shape, np.finfo(np.float64).max)),
    "one huge weight": with_entry(_with_one(1e30)),
    "other shape": with_entry(lambda entry: np.zeros((7, 5), np.float32)),
    "shape that broadcasts": with_entry(lambda entry: np.zeros((1, *entry.shape), np.float32)),
    "scalar": with_entry(lambda entry: np.float32(1.0)),
    "empty": with_entry(lambda entry: entry[:0]),
    "half precision": with_all(lambda entry: entry.astype(np.float16)),
    "one entry in half precision": with_entry(lambda entry: entry.astype(np.float16)),
    "extended precision": with_entry(lambda entry: entry.astype(np.longdouble)),
    "other byte order": with_entry(lambda entry: entry.astype(entry.dtype.newbyteorder())),
    "more than float32 holds": with_entry(lambda entry: np.full(entry.shape, 1e39)),
    "integers": with_entry(lambda entry: entry.astype(np.int64)),
    "complex": with_entry(lambda entry: entry.astype(np.complex64)),
    "objects": with_entry(lambda entry: entry.astype(object)),
    "text": with_entry(lambda entry: "weights"),
    "list": with_entry(lambda entry: entry.tolist()),
    "not fetched": with_all(lambda entry: UNFETCHED),
    "none": with_entry(lambda entry: None),
    "missing entry": lambda site, data, name: send(
        site, "MR", SLICES, {key: value for key, value in data.items() if key != name}
    ),
    "extra entry": lambda site, data, name: send(site, "MR", SLICES, {**data, "x" * 1000: data[name]}),
    "number as name": lambda site, data, name: send(site, "MR", SLICES, dict([*data.items(), (3, data[name])])),
    "no entry": lambda site, data, name: send(site, "MR", SLICES, {}),
    "no mapping": lambda site, data, name: send(site, "MR", SLICES, list(data.values())),
    "hostile mapping": lambda site, data, name: send(site, "MR", SLICES, Hostile(data)),
    "weights, not differences": _as_kind,
    "no DXO": lambda site, data, name: _from(site, Shareable()),
    "return code": lambda site, data, name: _from(site, make_reply(ReturnCode.EXECUTION_EXCEPTION)),
    "encoded": with_meta(MetaKey.PROCESSED_ALGORITHM, "HE"),
    "no counts": with_meta(TRAINED, None),
    "counts of text": with_meta(TRAINED, {**COUNTS, "cases": "1"}),
    "more cases than there are": with_meta(TRAINED, {**COUNTS, "cases": 3}),
    "no case": with_meta(TRAINED, {**COUNTS, "cases": 0}),
    "of a round too large to print": with_round(10**5000),
    "named by a number too large to print": with_name(10**5000),
    **{f"of round {number!r}": with_round(number) for number in (np.arange(2), np.zeros(1), [0], False, 0.0)},
    **{f"named {name!r}": with_name(name) for name in (np.arange(2), np.array(["c"]), ["c"], None, "c\nd")},
    "without cookies": _with_headers(ReservedHeaderKey.COOKIE_JAR, np.arange(2)),
    "without peer": _with_headers(ReservedHeaderKey.PEER_PROPS, np.arange(2)),
    **{
        f"{weight!r} samples": with_weight(weight) for weight in (0, -5, 0.5, 10**400, 1e12, float("nan"), float("inf"))
    },
    **{f"{weight!r} as samples": with_weight(weight) for weight in (None, "9", True, [9], np.float32(9))},
    **{f"modality {modality!r}": with_modality(modality) for modality in ("PET", "mr", "", None, 3, ["MR"])},
}
