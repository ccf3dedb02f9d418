"""Keep what the sites measured in FLARE's cross-site evaluation, whatever one of them sends."""

from pathlib import Path
from typing import Any

from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.app_event_type import AppEventType
from nvflare.app_common.widgets.validation_json_generator import ValidationJsonGenerator

from fedgin.errors import one_line
from fedgin.files import whole_file
from fedgin.flare.protocol import EVALUATED, LONGEST_METRIC, SERVER_MODEL, numbers
from fedgin.train.evaluate.site_scores import SiteScores

# As the stock generator calls it.
FILE = "cross_val_results.json"


class CrossSiteResults(ValidationJsonGenerator):
    """FLARE's stock ``ValidationJsonGenerator``, which writes down whatever a site sends.

    There a collection of answers makes several sites of one, and a key that JSON does not know leaves nobody a result.
    Here an answer is one set of metrics of the site that sent it: of a job's evaluated model its
    :class:`~fedgin.train.evaluate.site_scores.SiteScores`, of another model numbers. A site with another answer is left
    out, and named in the server's log.
    """

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Hand the stock generator an answer once it is one; let it write the file whole or not at all."""
        if event_type == EventType.BEFORE_PROCESS_SUBMISSION:
            _check_model(fl_ctx.get_prop(FLContextKey.TASK_RESULT))
        elif event_type == AppEventType.VALIDATION_RESULT_RECEIVED:
            self._receive(fl_ctx)
        elif event_type == EventType.END_RUN:
            self._write(fl_ctx)
        else:
            super().handle_event(event_type, fl_ctx)

    def _receive(self, fl_ctx: FLContext) -> None:
        result: Shareable = fl_ctx.get_prop(AppConstants.VALIDATION_RESULT)
        if result.get_return_code() != ReturnCode.OK:
            return  # the RoundRecorder has told of it
        try:
            metrics = _read(result, fl_ctx.get_prop(AppConstants.MODEL_OWNER))
        except Exception:  # what a site sends may be anything
            site = fl_ctx.get_prop(AppConstants.DATA_CLIENT)
            self.log_error(fl_ctx, one_line(f"site {site}: its answer to '{AppConstants.TASK_VALIDATION}' is left out"))
            # FLARE's controller would keep it under names of the site's choice, and fail for all sites at some of them.
            result.set_return_code(ReturnCode.EXECUTION_RESULT_ERROR)
            return
        answer = DXO(DataKind.METRICS, data=metrics).to_shareable()
        fl_ctx.set_prop(AppConstants.VALIDATION_RESULT, answer, private=True, sticky=False)
        super().handle_event(AppEventType.VALIDATION_RESULT_RECEIVED, fl_ctx)

    def _write(self, fl_ctx: FLContext) -> None:
        run = Path(fl_ctx.get_engine().get_workspace().get_run_dir(fl_ctx.get_job_id()))
        with whole_file(run / self._results_dir / FILE) as part:
            self._json_file_name = part.name
            super().handle_event(EventType.END_RUN, fl_ctx)


def _check_model(result: Shareable) -> None:
    """Take a model's name that is none out of an answer: FLARE's controller would fail at it, for all sites.

    The server gives the name to the site with the task, and the site sends it back.
    """
    try:
        name = result.get_cookie(AppConstants.MODEL_OWNER, "")
    except Exception:  # what a site sends may be anything
        name = None
    if not isinstance(name, str) or not name.isprintable() or "/" in name or len(name.encode()) > LONGEST_METRIC:
        result.set_cookie_jar({AppConstants.MODEL_OWNER: ""})
        result.set_return_code(ReturnCode.EXECUTION_RESULT_ERROR)


def _read(result: Shareable, model: object) -> dict[str, Any]:
    """Return a site's answer as values that JSON knows; raises many kinds for what is none."""
    dxo = from_shareable(result)
    if dxo.data_kind != DataKind.METRICS:
        raise ValueError("no metrics")
    if model == f"{SERVER_MODEL}{EVALUATED}":
        return SiteScores.model_validate(dxo.data).model_dump(mode="json")
    return numbers(dxo.data)
