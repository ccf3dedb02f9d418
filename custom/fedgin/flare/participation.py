"""Who took part in each round: ``metrics/participation.jsonl`` in the server's run folder, one line a round."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from fedgin.data.site import Modality
from fedgin.errors import DataError

FILE = Path("metrics") / "participation.jsonl"


@dataclass(frozen=True)
class Contribution:
    """What a site says about the update that was taken from it.

    Attributes:
        modality: the modality of the site.
        weight: what the site claims as its share before it is normalised.
        cases: different training cases that the round's batches showed.
        of_cases: all training cases of the site.
        slices: different training slices that the round's batches showed.
        of_slices: all training slices of the site.
    """

    modality: str
    weight: float
    cases: int
    of_cases: int
    slices: int
    of_slices: int


@dataclass(frozen=True)
class Claim:
    """What a site has bound itself to with its first update that was averaged.

    Attributes:
        modality: the modality of the site.
        weight: 1 or more; a later update may claim less, never more.
    """

    modality: str
    weight: float


@dataclass(frozen=True)
class Absence:
    """A site whose answer is not in the round's average, and the reason in one line."""

    site: str
    reason: str


@dataclass
class RoundParticipation:
    """One round.

    Attributes:
        number: the round, from 0.
        expected: the sites that the job was deployed to.
        contributed: by site, the contributions that are in the average.
        refused: updates that the guard did not let in.
        failed: sites that answered with an error.
        aggregated: whether the round ended with a new global model.
    """

    number: int
    expected: list[str]
    contributed: dict[str, Contribution] = field(default_factory=dict)
    refused: list[Absence] = field(default_factory=list)
    failed: list[Absence] = field(default_factory=list)
    aggregated: bool = False

    @property
    def absent(self) -> list[Absence]:
        """Every expected site that is not in the average, once, with its reason or as one that sent nothing."""
        reasons = {item.site: item.reason for item in [*self.failed, *self.refused]}
        return [
            Absence(site, reasons.get(site, "sent nothing before the round was closed"))
            for site in self.expected
            if site not in self.contributed
        ]


ROUND_TYPE = TypeAdapter(RoundParticipation)


class ParticipationLog:
    """Collects a round's events and appends the round to the file when it ends.

    What arrives between two rounds, such as a late update, is noted with the later one.

    Args:
        path: the path of the file; its folder is made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open = False
        self._round = RoundParticipation(-1, [])

    def start(self, number: int, expected: Iterable[str]) -> None:
        """Open a round."""
        self._open = True
        self._round.number, self._round.expected = number, sorted(expected)

    def contribute(self, site: str, contribution: Contribution) -> None:
        """Note an update that was let in."""
        self._round.contributed[site] = contribution

    def refuse(self, site: str, reason: str, *, withdrawn: bool = False) -> None:
        """Note a refused update; ``withdrawn`` when it had been let in before all updates were compared."""
        if withdrawn:
            self._round.contributed.pop(site, None)
        self._round.refused.append(Absence(site, reason))

    def fail(self, site: str, reason: str) -> None:
        """Note a site that answered with an error."""
        self._round.failed.append(Absence(site, reason))

    def close(self, *, aggregated: bool) -> None:
        """Write the round, when one is open."""
        if not self._open:
            return
        self._round.aggregated = aggregated
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(self._round)) + "\n")
        self._open = False
        self._round = RoundParticipation(-1, [])


def read_participation(folder: Path) -> list[RoundParticipation]:
    """Read the rounds of a server's run folder; a line that is being written is left for later.

    Raises:
        DataError: a line is none of :class:`ParticipationLog`.
    """
    path = folder / FILE
    if not path.is_file():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    return [_parse(line, f"{path.name}, line {number}") for number, line in enumerate(lines, start=1)]


def _parse(line: bytes, source: str) -> RoundParticipation:
    try:
        found = ROUND_TYPE.validate_json(line)
        for contribution in found.contributed.values():
            Modality(contribution.modality)
        return found
    except ValueError:
        raise DataError(
            f"{source} is not what the server writes", "fetch the run's folder again, or run the job again"
        ) from None
