"""The one family of errors a user ever has to read."""

import traceback
from pathlib import Path

LONGEST = 3000
_SEE_THE_WHOLE = "report it with this line; run 'fedgin train' at the site to see the whole error"


class FedginError(Exception):
    """What is wrong and how to mend it, in one line that is safe to log.

    Problem and fix may quote keys and names from outside: what no terminal should get is replaced by ``?``, and a text
    ends after :data:`LONGEST` characters.

    Args:
        problem: what is wrong; names files, keys, sites or case numbers, never a patient identifier.
        fix: what to do about it, as an imperative sentence.

    Attributes:
        code: of this kind of error; docs/faults.md has a row for each.
    """

    code = "FG-001"

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(problem, fix)
        self.problem = _printable(problem)
        self.fix = _printable(fix)

    def __str__(self) -> str:
        """Return problem, fix and code on one line."""
        return f"{with_fix(self.problem, self.fix)} [{self.code}]"

    def below(self, *folders: Path) -> "FedginError":
        """Return it with files named as seen from these folders; a machine's paths are no business of another's."""
        problem = self.problem
        for folder in folders:
            problem = problem.replace(f"{folder}/", "")
        named = FedginError(problem, self.fix)
        named.code = self.code
        return named


def with_fix(problem: str, fix: str) -> str:
    """Return both on one line, as every log and message has them."""
    return " ".join(f"{problem.rstrip('.')}. Fix: {fix}".split())


def _printable(text: str) -> str:
    shown = "".join(letter if letter.isprintable() or letter in "\n\t" else "?" for letter in text[: LONGEST + 1])
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 3] + "..."


class ConfigError(FedginError):
    """A setting in ``experiment.yaml``, ``site.yaml`` or another file of ours is missing, unknown or out of range."""

    code = "FG-010"


class DataError(FedginError):
    """An image, a label or a datalist is missing, unreadable or implausible."""

    code = "FG-020"


class NotWrittenError(DataError):
    """The disk is full, or a folder cannot be written: no fault of an image, and the next one would fail as well."""

    code = "FG-023"


class WeightsError(FedginError):
    """Network weights are missing, damaged or do not fit the network."""

    code = "FG-030"


class PrivacyError(FedginError):
    """The site's privacy settings cannot be kept; nothing of the round is sent."""

    code = "FG-040"


def unforeseen(error: Exception, task: str, fix: str = _SEE_THE_WHOLE) -> FedginError:
    """Describe an unforeseen error by type and place; its message could quote a path or a header of a patient."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return FedginError(
        f"task '{task}': unforeseen {type(error).__name__} at {Path(place.filename).name}:{place.lineno}",
        fix,
    )


def one_line(text: str) -> str:
    """Replace what could steer a terminal or begin a new line: escapes, control characters, line ends."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
