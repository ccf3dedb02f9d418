"""Print what the sites scored of a bundle's model."""

from rich.console import Console
from rich.table import Table

from fedgin.errors import one_line
from fedgin.flare.jobs.job import Job
from fedgin.flare.run.outcome import REPORT
from fedgin.flare.run.results import RunResult


def write_evaluation(console: Console, job: Job, job_id: str, result: RunResult, *, fault: str = "") -> None:
    """Write report and tables into the folder of a result, and print the Dice of each organ at each site.

    Args:
        console: the console to print to.
        job: as it ran.
        job_id: FLARE's.
        result: the result of a job that evaluated a model; nothing is written of one without a score.
        fault: what keeps it from being a success.
    """
    from fedgin.report.evaluation_page import not_scored, write_evaluation_report
    from fedgin.report.evaluation_table import LEGEND, pooled_modalities, site_table
    from fedgin.train.evaluate.site_scores import NOT_TOLD

    scores = result.scores
    if not scores:
        return
    report = write_evaluation_report(result.folder / REPORT, job, job_id, result, fault=fault)
    table = Table(title="Dice on the sites' own test cases, mean over patients")
    table.add_column("organ")
    for name, site in scores.items():
        table.add_column(f"{one_line(name)}\n{site.modality}, {site.patients} patients", justify="right")
    for modality in pooled_modalities(scores):
        table.add_column(f"mean over\n{modality} sites", justify="right")
    rows = [[row.organ, *(cell.text() for cell in row.cells)] for row in site_table(scores, job.experiment.organs)]
    for row in rows:
        table.add_row(*row)
    console.print(table)
    if any(text.endswith(NOT_TOLD) for row in rows for text in row):
        console.print(LEGEND)
    for line in not_scored(job, scores):
        console.print(f"not scored, or new to the model: {line}")
    console.print(f"Report: {report}")
