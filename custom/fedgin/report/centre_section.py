"""The part of a study's report that is about centres: a sentence, a figure and tables."""

from collections.abc import Sequence
from typing import Any

from fedgin.page import in_words
from fedgin.report.forest import draw_forest, shown
from fedgin.report.populations import suffix
from fedgin.study.centre_tables import CentreResult, Results, centre_results, contributions, observations
from fedgin.study.centres import NotEstimated, Summary
from fedgin.study.plan import Regime
from fedgin.study.random_effects import SIGNIFICANT
from fedgin.study.tables import REFERENCE, Group
from fedgin.study.variance_split import split_variance

# The first that a study has is shown.
_ORDER = [Regime.FEDERATED, Regime.CENTRAL, Regime.MR_ONLY, Regime.CT_ONLY]


def centre_section(results: Results) -> dict[str, Any]:
    """Return what the templates show under ``centres``: of one group in full, of all groups the summaries."""
    found = centre_results(results)
    chosen = _chosen(found)
    summary = chosen.centres.summary
    content = {
        "conclusion": conclude_centres(chosen),
        "untaught": say_untaught(found),
        "forest": "",
        "parts": [],
        "rows": found,
        "contributions": contributions(results),
        "chosen": chosen,
        "named": named,
        "runs_of": runs_of,
        "p_value": p_value,
        "shown": shown,
    }
    if isinstance(summary, NotEstimated):
        return content
    seen = observations(results, chosen.group)
    forest = draw_forest(chosen.centres, summary, label="mean Dice")
    return content | {"forest": forest, "parts": split_variance(seen) if seen else []}


def _chosen(found: Sequence[CentreResult]) -> CentreResult:
    """Return what says most about a new centre: sites that were not seen, then the reference method's federation."""
    first = found[0].group.population
    return min(
        (result for result in found if result.group.population == first),
        key=lambda result: (
            not result.unseen,
            _ORDER.index(result.group.regime),
            result.group.method != REFERENCE,
        ),
    )


def named(result: CentreResult) -> str:
    """Return what a result is of, such as ``federated gin, each site left out``."""
    return f"{runs_of(result.group)}, {'each site left out' if result.unseen else 'all sites'}"


def runs_of(group: Group) -> str:
    """Return which runs a group has, such as ``federated gin``."""
    return f"{in_words(group.regime)} {in_words(group.method)}{suffix(group.population)}"


def p_value(p: float) -> str:
    """Return a p-value as papers write it, with three digits.

    >>> p_value(0.0312), p_value(1e-9)
    ('0.031', '< 0.001')
    """
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def conclude_centres(result: CentreResult) -> str:
    """Return what sites say about a further centre, in a sentence or two."""
    summary = result.centres.summary
    if isinstance(summary, NotEstimated):
        return f"What a further centre can expect {summary}."
    (low, high), mean = shown(summary.new_site), summary.combined.mean
    place = "that does not train" if result.unseen else "like these"
    said = (
        f"A further centre {place} can expect a mean Dice between {low:.2f} and {high:.2f} (95 % prediction interval; "
        f"the mean over {len(result.centres.sites)} sites is {mean:.2f})."
    )
    return f"{said} {_sites_differ(summary)}"


def say_untaught(found: Sequence[CentreResult]) -> str:
    """Return a sentence about the organs that are compared nowhere at a site; nothing where all are."""
    organs: dict[str, dict[str, None]] = {}
    for result in found:
        for site, untaught in result.untaught.items():
            organs.setdefault(site, {}).update(dict.fromkeys(untaught))
    said = [f"{', '.join(map(in_words, names))} at {site}" for site, names in organs.items()]
    return f"What no other site teaches is left out of the means over sites: {'; '.join(said)}." if said else ""


def _sites_differ(summary: Summary) -> str:
    combined = summary.combined
    numbers = f"I² {100 * combined.i2:.0f} %, p {'= ' if combined.p >= 0.001 else ''}{p_value(combined.p)}"
    if combined.p >= SIGNIFICANT:
        return f"Sites were not found to differ by more than their patients do ({numbers}), which proves no equality."
    said = f"Sites differ by more than their patients do ({numbers})"
    if not summary.apart:
        return f"{said}."
    return f"{said}; {' and '.join(summary.apart)} stand{'s' if len(summary.apart) == 1 else ''} out."
