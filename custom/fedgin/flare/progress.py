"""Tell the project lead, while a job runs, which site did what, and keep what a resumed job needs."""

from pathlib import Path
from typing import Any

from nvflare.apis.dxo import MetaKey, from_shareable
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_constant import FLContextKey, ReservedKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.app_event_type import AppEventType
from nvflare.widgets.info_collector import InfoCollector

from fedgin.flare.checkpoint import CHECKPOINT, keep_checkpoint
from fedgin.flare.executor import CAUSE, SESSION

# The part of `show_stats server` that is ours.
STATS = "fedgin"
LONGEST_CAUSE = 400


class RoundProgress(FLComponent):
    """Logs each site's answer on the server, and shows all of them in the console's ``show_stats server``.

    A site's failure is one line with the site, the task and the site's own reason; stock FLARE keeps that reason in the
    site's log. After each round the global model is kept as :func:`fedgin.flare.checkpoint.keep_checkpoint` says.
    """

    def __init__(self) -> None:
        super().__init__()
        self._rounds: dict[str, dict[str, dict[str, float]]] = {}
        self._failures: list[str] = []

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Note an answer, or show what has been noted."""
        if event_type == EventType.BEFORE_PROCESS_SUBMISSION:
            self._note(fl_ctx)
        elif event_type == AppEventType.ROUND_DONE:
            self._keep(fl_ctx)
        elif event_type == InfoCollector.EVENT_TYPE_GET_STATS:
            collector = fl_ctx.get_prop(InfoCollector.CTX_KEY_STATS_COLLECTOR)
            collector.set_info(STATS, {"rounds": dict(self._rounds), "failures": list(self._failures)})

    def _keep(self, fl_ctx: FLContext) -> None:
        run = Path(fl_ctx.get_engine().get_workspace().get_run_dir(fl_ctx.get_job_id()))
        try:
            keep_checkpoint(fl_ctx, run / SESSION / CHECKPOINT)
        except OSError as error:
            # Sites keep the optimiser of two rounds: a job that went on could not be resumed from an older checkpoint.
            cause = f"the round's checkpoint was not written: {error.strerror}. Fix: free disk space, 'fedgin resume'"
            self.system_panic(cause, fl_ctx)

    def _note(self, fl_ctx: FLContext) -> None:
        result: Shareable = fl_ctx.get_prop(FLContextKey.TASK_RESULT)
        site = str(result.get_peer_prop(ReservedKey.IDENTITY_NAME, "unknown"))
        task = str(fl_ctx.get_prop(FLContextKey.TASK_NAME))
        code = result.get_return_code()
        if code != ReturnCode.OK:
            cause = str(result.get_header(CAUSE, f"return code {code}"))
            self._failures.append(f"site {site}, task {task}: {cause[:LONGEST_CAUSE]}")
            self.log_error(fl_ctx, self._failures[-1])
        elif task == AppConstants.TASK_TRAIN:
            self._note_update(site, result, fl_ctx)

    def _note_update(self, site: str, result: Shareable, fl_ctx: FLContext) -> None:
        metrics: Any = from_shareable(result).get_meta_prop(MetaKey.INITIAL_METRICS, {})
        number = str(fl_ctx.get_prop(AppConstants.CURRENT_ROUND))
        numbers = {str(name): float(value) for name, value in dict(metrics).items()}
        self._rounds.setdefault(number, {})[site] = numbers
        shown = ", ".join(f"{name} {value:.3f}" for name, value in numbers.items())
        self.log_info(fl_ctx, f"round {number}: site {site} sent its update; {shown}")
