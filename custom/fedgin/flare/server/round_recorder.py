"""Tell the project lead, while a job runs and after it, which site did what."""

from functools import partial
from pathlib import Path

from nvflare.apis.dxo import from_shareable
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_constant import FLContextKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.workspace import Workspace
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.app_event_type import AppEventType
from nvflare.widgets.info_collector import InfoCollector

from fedgin.errors import one_line
from fedgin.flare.audit.security_log import Kind, record_or_tell
from fedgin.flare.federated_events import accept_ours_alone
from fedgin.flare.participation import FILE, Absence, Contribution, ParticipationLog
from fedgin.flare.protocol import AGGREGATED, CAUSE, MOST_METRICS, OUTLIERS, STATS, VERDICT
from fedgin.flare.server.round_metrics import sent_metrics
from fedgin.flare.server.sender import refuse_other_names, sender
from fedgin.train.evaluate.site_scores import SiteScores

LONGEST_CAUSE = 400


class RoundRecorder(FLComponent):
    """Logs each site's answer on the server, and shows all of them in the console's ``show_stats server``.

    A site's failure is one line with the site, the task and the site's own reason; stock FLARE keeps that reason in the
    site's log. Failures and refused updates are in the server's security log, too. Who took part in a round is written
    to ``metrics/participation.jsonl`` when the round ends, also when it ends the job. In a job that evaluates a model
    it shows what each site has scored.

    What sites say is cut to 400 characters and loses its line ends and escapes before it is logged or shown.
    """

    def __init__(self) -> None:
        super().__init__()
        accept_ours_alone()
        refuse_other_names()
        self._log: ParticipationLog | None = None
        self._rounds: dict[str, dict[str, dict[str, float]]] = {}
        self._failures: list[str] = []
        self._expected: list[str] = []
        self._scored: dict[str, str] = {}

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Note an answer, the server's verdict on it or the end of a round, or show what has been noted."""
        handlers = {
            EventType.START_RUN: self._open,
            AppEventType.ROUND_STARTED: self._start_round,
            EventType.BEFORE_PROCESS_SUBMISSION: self._note,
            AppEventType.AFTER_CONTRIBUTION_ACCEPT: self._note_verdict,
            AppEventType.AFTER_AGGREGATION: self._close_round,
            EventType.END_RUN: self._end,
            InfoCollector.EVENT_TYPE_GET_STATS: self._show,
        }
        if event_type in handlers:
            handlers[event_type](fl_ctx)

    def _open(self, fl_ctx: FLContext) -> None:
        workspace: Workspace = fl_ctx.get_engine().get_workspace()
        self._log = ParticipationLog(Path(workspace.get_run_dir(fl_ctx.get_job_id())) / FILE)

    def _start_round(self, fl_ctx: FLContext) -> None:
        self._expected = sorted(client.name for client in fl_ctx.get_engine().get_clients())
        self._participation.start(int(fl_ctx.get_prop(AppConstants.CURRENT_ROUND)), self._expected)

    def _show(self, fl_ctx: FLContext) -> None:
        collector = fl_ctx.get_prop(InfoCollector.CTX_KEY_STATS_COLLECTOR)
        shown = {
            # A job that evaluates has no round that starts.
            "expected": self._expected or sorted(client.name for client in fl_ctx.get_engine().get_clients()),
            "rounds": dict(self._rounds),
            "scored": dict(self._scored),
            "failures": list(self._failures),
        }
        collector.set_info(STATS, shown)

    def _note_verdict(self, fl_ctx: FLContext) -> None:
        """Note what the aggregator, which has just left it in the context, made of an update."""
        verdict = fl_ctx.get_prop(VERDICT)
        if isinstance(verdict, Absence):
            self._note_refusal(verdict, fl_ctx)
            self._participation.refuse(verdict.site, verdict.reason)
        elif isinstance(verdict, Contribution):
            result: Shareable = fl_ctx.get_prop(AppConstants.TRAINING_RESULT)
            self._participation.contribute(sender(result), verdict)

    def _note_refusal(self, absence: Absence, fl_ctx: FLContext) -> None:
        round_number = int(fl_ctx.get_prop(AppConstants.CURRENT_ROUND))
        line = f"site {absence.site}, round {round_number + 1}: the update was refused: {absence.reason}"
        self._failures.append(_shown(line))
        self._record(Kind.UPDATE_REFUSED, fl_ctx, participant=absence.site, round=round_number, reason=absence.reason)

    def _record(self, kind: Kind, fl_ctx: FLContext, **facts: str | int) -> None:
        """Tell the server's security log; the round goes on when it cannot be written."""
        workspace = Path(fl_ctx.get_engine().get_workspace().get_root_dir())
        tell = partial(self.log_error, fl_ctx)
        record_or_tell(workspace, tell, kind, job_id=str(fl_ctx.get_job_id()), **facts)

    def _close_round(self, fl_ctx: FLContext) -> None:
        for outlier in fl_ctx.get_prop(OUTLIERS, []):
            self._note_refusal(outlier, fl_ctx)
            self._participation.refuse(outlier.site, outlier.reason, withdrawn=True)
        self._participation.close(aggregated=bool(fl_ctx.get_prop(AGGREGATED, False)))

    def _end(self, fl_ctx: FLContext) -> None:
        self._participation.close(aggregated=False)

    @property
    def _participation(self) -> ParticipationLog:
        assert self._log is not None, "FLARE starts a run before anything else happens in it"
        return self._log

    def _note(self, fl_ctx: FLContext) -> None:
        result: Shareable = fl_ctx.get_prop(FLContextKey.TASK_RESULT)
        site = sender(result)
        task = _shown(fl_ctx.get_prop(FLContextKey.TASK_NAME))
        code = result.get_return_code()
        if code != ReturnCode.OK:
            cause = _shown(result.get_header(CAUSE, f"return code {code}"))
            self._failures.append(f"site {site}, task {task}: {cause}")
            self.log_error(fl_ctx, self._failures[-1])
            self._record(Kind.TASK_REFUSED, fl_ctx, participant=site, task=task, reason=cause)
            if task == AppConstants.TASK_TRAIN:
                self._participation.fail(site, cause)
        elif task == AppConstants.TASK_TRAIN:
            self._note_update(site, result, fl_ctx)
        elif task == AppConstants.TASK_VALIDATION:
            self._note_scores(site, result, fl_ctx)

    def _note_update(self, site: str, result: Shareable, fl_ctx: FLContext) -> None:
        metrics, more = sent_metrics(result)
        round_number = int(fl_ctx.get_prop(AppConstants.CURRENT_ROUND))
        if more:
            said = f"it sent {more} metrics more than the {MOST_METRICS} that are kept"
            self._failures.append(_shown(f"site {site}, round {round_number + 1}: {said}"))
            self.log_error(fl_ctx, self._failures[-1])
        self._rounds.setdefault(str(round_number), {})[site] = metrics
        shown = ", ".join(f"{name} {value:.3f}" for name, value in metrics.items())
        self.log_info(fl_ctx, f"round {round_number + 1}: site {site} sent its update; {_shown(shown)}")

    def _note_scores(self, site: str, result: Shareable, fl_ctx: FLContext) -> None:
        """Note what a site scored in a job that evaluates; after training, sites answer with other metrics."""
        try:
            scores = SiteScores.model_validate(from_shareable(result).data)
        except Exception:  # what a site sends may be anything; whether it counts is found with the result
            return
        self._scored[site] = _shown(scores.in_words())
        self.log_info(fl_ctx, f"site {site} has scored the model: {self._scored[site]}")


def _shown(said: object) -> str:
    return one_line(str(said)[:LONGEST_CAUSE])
