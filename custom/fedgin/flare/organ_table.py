"""Which site labels which organ of a job, with how many cases: ``metrics/organs.json`` in the server's run folder."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedgin.files import write_text

FILE = Path("metrics") / "organs.json"
COUNT = re.compile(r"[<>]?[0-9]{1,9}")


@dataclass(frozen=True)
class OrganTable:
    """What the sites answered before the first round.

    Attributes:
        organs: of the job, in its order.
        sites: by site, the organs that it labels, each with the number of the site's training cases; ``<3`` for a
            small one. In how many of them the organ is, nobody has counted.
        silent: sites that gave no answer.
    """

    organs: Sequence[str]
    sites: Mapping[str, Mapping[str, str]]
    silent: Sequence[str]

    @property
    def unlabelled(self) -> list[str]:
        """Organs that no site labels; none where a site gave no answer."""
        return (
            []
            if self.silent
            else [organ for organ in self.organs if not any(organ in labelled for labelled in self.sites.values())]
        )

    def lines(self) -> list[str]:
        """Return a line for each site, as logs and consoles have it."""
        found = [self._line(site, labelled) for site, labelled in self.sites.items()]
        return found + [f"site {site} did not say which organs it labels" for site in self.silent]

    def _line(self, site: str, labelled: Mapping[str, str]) -> str:
        if not labelled:
            return f"site {site} labels none of the job's organs"
        cases = " or ".join(dict.fromkeys(labelled.values()))
        others = [organ for organ in self.organs if organ not in labelled]
        without = f"; not {', '.join(others)}" if others else ""
        return f"site {site}, {cases} training cases, labels {', '.join(labelled)}{without}"

    def values(self) -> dict[str, Any]:
        """Return the table as JSON values; :func:`read_table` reads them."""
        return {"organs": list(self.organs), "sites": {**self.sites}, "silent": list(self.silent)}

    def write(self, path: Path) -> None:
        """Write the table as JSON; the folder is made."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(self.values(), indent=2) + "\n")


def read_answer(said: object, organs: Sequence[str]) -> dict[str, str]:
    """Read what a site says of the organs of a job.

    Raises:
        ValueError: it says something else.
    """
    if not isinstance(said, Mapping) or not {*said} <= {*organs}:
        raise ValueError("organs that are not the job's")
    if not all(isinstance(count, str) and COUNT.fullmatch(count) for count in said.values()):
        raise ValueError("not a count")
    return {organ: said[organ] for organ in organs if organ in said}


def read_table(said: object) -> OrganTable | None:
    """Read the values of a table, or nothing when they are none."""
    try:
        values = dict(said) if isinstance(said, Mapping) else {}
        organs = [str(organ) for organ in values["organs"]]
        sites = {str(site): read_answer(answer, organs) for site, answer in values["sites"].items()}
        return OrganTable(organs, sites, [str(site) for site in values["silent"]])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
