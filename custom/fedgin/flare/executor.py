"""The executor of a site: FLARE tasks become calls on a :class:`~fedgin.train.session.SiteSession`."""

import traceback
from collections.abc import Mapping
from pathlib import Path

from nvflare.apis.analytix import ANALYTIC_EVENT_TYPE, AnalyticsDataType
from nvflare.apis.dxo import DXO, DataKind, MetaKey
from nvflare.apis.executor import Executor
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.signal import Signal
from nvflare.apis.workspace import Workspace
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.widgets.streaming import create_analytic_dxo, send_analytic_dxo

from fedgin.data.site import SiteContract, load_site
from fedgin.errors import ConfigError, FedginError
from fedgin.flare.security_log import Kind, record
from fedgin.flare.weights import weights_from_shareable, weights_to_dxo
from fedgin.train.experiment import load_experiment
from fedgin.train.session import InterruptedTaskError, SiteSession

MODALITY = "fedgin_modality"
TRAINING_LOSS = "train_loss"
# Folder of a site's session in the run folder that FLARE gives a job at the site.
SESSION = "fedgin"
# Header of a failed reply: the problem and its fix, without anything of a patient.
CAUSE = "fedgin_cause"


class FedginExecutor(Executor):
    """Runs ``train``, ``validate`` and ``submit_model`` for a CT or an MR site.

    The experiment comes with the job (``app/config/experiment.yaml``), the site contract from the site
    (``local/site.yaml``). ``train`` receives full weights and returns their difference; the validation metrics that go
    with it are those of the received model, as FLARE's ``IntimeModelSelector`` expects.

    Privacy settings of the site are applied in the session, not by a result filter of FLARE's privacy scope: a filter
    runs on every answer, so a repeated task would get a second draw of noise, and ``submit_model`` weights whose
    difference it cannot know. The scope stays in force on top of it: it blocks what is no weights and no metrics.

    Errors never leave :meth:`execute` as exceptions: stock FLARE ends the whole job when a client process dies, but
    tolerates a site that answers with a return code.
    """

    def __init__(self) -> None:
        super().__init__()
        self._session: SiteSession | None = None

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        """Do one task; every failure becomes a return code and one line in the site's logs."""
        tasks = {
            AppConstants.TASK_TRAIN: self._train,
            AppConstants.TASK_VALIDATION: self._validate,
            AppConstants.TASK_SUBMIT_MODEL: self._submit_model,
        }
        if task_name not in tasks:
            cause = f"unknown task '{task_name}'. Fix: use this package's job on the server too"
            self._log_refusal(task_name, cause, fl_ctx)
            return make_reply(ReturnCode.TASK_UNKNOWN)
        try:
            return tasks[task_name](shareable, fl_ctx, abort_signal)
        except InterruptedTaskError as error:
            self.log_info(fl_ctx, str(error))
            return make_reply(ReturnCode.TASK_ABORTED)
        except FedginError as error:
            cause = str(error)
        except Exception as error:  # a site that answers with a code does not end the job; one that dies does
            cause = _without_values(error, task_name)
        self._log_refusal(task_name, cause, fl_ctx)
        return make_reply(ReturnCode.EXECUTION_EXCEPTION, {CAUSE: cause})

    def _log_refusal(self, task: str, cause: str, fl_ctx: FLContext) -> None:
        """Tell the site's log and its security log; a full disk must not turn an answer into an exception."""
        self.log_error(fl_ctx, cause)
        workspace = Path(fl_ctx.get_engine().get_workspace().get_root_dir())
        try:
            record(workspace, Kind.TASK_REFUSED, job_id=str(fl_ctx.get_job_id()), task=task, reason=cause)
        except FedginError as error:
            self.log_error(fl_ctx, str(error))

    def _train(self, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        session = self._open(fl_ctx, abort_signal)
        number = int(shareable.get_header(AppConstants.CURRENT_ROUND))
        total = int(shareable.get_header(AppConstants.NUM_ROUNDS))
        received = weights_from_shareable(shareable, source=f"round {number}")
        update = session.train(received, number, total, stop=lambda: bool(abort_signal.triggered))
        self.log_info(
            fl_ctx, f"round {number}: validation Dice {update.metrics['val_dice_mean']:.3f}, loss {update.loss:.3f}"
        )
        if update.protection:
            self.log_info(fl_ctx, f"round {number}: {update.protection}")
        self._stream({**update.metrics, TRAINING_LOSS: update.loss}, number, fl_ctx)
        meta = {
            MetaKey.NUM_STEPS_CURRENT_ROUND: update.weight,
            MetaKey.INITIAL_METRICS: {**update.metrics, TRAINING_LOSS: update.loss},
            MODALITY: session.contract.modality.value,
        }
        return weights_to_dxo(update.difference, DataKind.WEIGHT_DIFF, meta).to_shareable()

    def _stream(self, metrics: Mapping[str, float], number: int, fl_ctx: FLContext) -> None:
        """Send metrics of a round to FLARE's analytics receivers, such as TensorBoard's."""
        for tag, value in metrics.items():
            dxo = create_analytic_dxo(tag, float(value), AnalyticsDataType.SCALAR, global_step=number)
            send_analytic_dxo(self, dxo, fl_ctx, ANALYTIC_EVENT_TYPE)

    def _validate(self, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        owner = str(shareable.get_header(AppConstants.MODEL_OWNER, "model"))
        weights = weights_from_shareable(shareable, source=owner)
        metrics = self._open(fl_ctx, abort_signal).validate(
            weights, _plain(owner), stop=lambda: bool(abort_signal.triggered)
        )
        return DXO(data_kind=DataKind.METRICS, data=metrics).to_shareable()

    def _submit_model(self, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        return weights_to_dxo(self._open(fl_ctx, abort_signal).local_model(), DataKind.WEIGHTS).to_shareable()

    def _open(self, fl_ctx: FLContext, abort_signal: Signal) -> SiteSession:
        def report(done: int, total: int) -> None:
            self.log_info(fl_ctx, f"preprocessed {done} of {total} cases")
            if abort_signal.triggered:  # finished cases stay in the cache
                raise InterruptedTaskError(fl_ctx.get_identity_name())

        if self._session is None:
            workspace: Workspace = fl_ctx.get_engine().get_workspace()
            job = fl_ctx.get_job_id()
            contract = _find_contract(Path(workspace.get_site_config_dir()), fl_ctx.get_identity_name())
            self._session = SiteSession(
                load_experiment(Path(workspace.get_app_config_dir(job)) / "experiment.yaml"),
                contract,
                Path(workspace.get_run_dir(job)) / SESSION,
                progress=report,
            )
        return self._session


def _find_contract(local: Path, site: str) -> SiteContract:
    """Load ``local/site.yaml``; FLARE's simulator gives all sites one ``local``, with ``sites/NAME.yaml`` in it."""
    simulated = local / "sites" / f"{site}.yaml"
    contract = load_site(simulated if simulated.is_file() else local / "site.yaml")
    if contract.site != site:
        raise ConfigError(
            f"site.yaml is of site '{contract.site}', but FLARE knows this site as '{site}'",
            "use the kit and the site.yaml of the same site",
        )
    return contract


def _without_values(error: Exception, task: str) -> str:
    """Describe an unforeseen error by type and place; its message could quote a path or a header of a patient."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"task '{task}': unforeseen {type(error).__name__} at {Path(place.filename).name}:{place.lineno}. "
        "Fix: report it with this line; run 'fedgin train' at the site to see the whole error"
    )


def _plain(owner: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in owner)[:64]
