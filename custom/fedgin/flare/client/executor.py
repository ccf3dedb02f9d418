"""The executor of a site: FLARE tasks become calls on a :class:`~fedgin.flare.client.site_process.SiteProcess`."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from nvflare.apis.analytix import ANALYTIC_EVENT_TYPE, AnalyticsDataType
from nvflare.apis.dxo import DXO, DataKind, MetaKey
from nvflare.apis.event_type import EventType
from nvflare.apis.executor import Executor
from nvflare.apis.fl_constant import FLContextKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.signal import Signal
from nvflare.apis.workspace import Workspace
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.widgets.streaming import create_analytic_dxo, send_analytic_dxo

from fedgin.data.datalist import parse_datalist
from fedgin.data.limits import LimitError, Limits
from fedgin.data.site import SiteContract, load_site
from fedgin.data.small_groups import suppress
from fedgin.errors import ConfigError, FedginError, one_line, unforeseen, with_fix
from fedgin.flare.array_limit import ArrayLimit
from fedgin.flare.audit.security_log import Kind, record_or_tell
from fedgin.flare.client.sending_time import allow_time
from fedgin.flare.client.site_process import Places, SiteProcess
from fedgin.flare.client.weights import weights_from_shareable, weights_to_dxo
from fedgin.flare.federated_events import accept_ours_alone
from fedgin.flare.jobs.application import Application, read_application
from fedgin.flare.jobs.configuration import first_round
from fedgin.flare.jobs.files import EXPERIMENT
from fedgin.flare.jobs.limits import check_allowed
from fedgin.flare.light_messages import lighten_messages
from fedgin.flare.protocol import (
    CAUSE,
    DICE,
    FINGERPRINT,
    MODALITY,
    ORGANS,
    SERVER_MODEL,
    SESSION,
    TRAINED,
    TRAINING_LOSS,
    UPDATE_REFUSED,
    WITHHELD,
)
from fedgin.train.site.update import InterruptedTaskError


class FedginExecutor(Executor):
    """Runs ``train``, ``validate`` and ``submit_model`` for a CT or an MR site.

    The experiment comes with the job (``app/config/experiment.yaml``), the site contract from the site
    (``local/site.yaml``). ``train`` receives full weights and returns their difference; the validation metrics that go
    with it are those of the received model, as FLARE's ``IntimeModelSelector`` expects.

    Whether the site allows the job is asked before the first task, too, not by the
    :class:`~fedgin.flare.jobs.job_validator.JobValidator` alone: at its server's word FLARE starts any job that lies in
    the kit, such as one of last year, without deploying it again.

    Privacy settings of the site are applied in the session, not by a result filter of FLARE's privacy scope: a filter
    runs on every answer, so a repeated task would get a second draw of noise, and ``submit_model`` weights whose
    difference it cannot know. The scope stays in force on top of it: it blocks what is no weights and no metrics.

    Errors never leave :meth:`execute` as exceptions, and training has a process of its own: stock FLARE ends the whole
    job when a client process dies, but tolerates a site that answers with a return code.
    """

    def __init__(self) -> None:
        super().__init__()
        accept_ours_alone()
        lighten_messages()
        self._process: SiteProcess | None = None
        self._application: Application | None = None
        self._modality = ""
        self._limits = Limits()
        self._arrays: ArrayLimit | None = None
        # FLARE makes an executor when it starts a job at the site, and starts it once.
        self._started = time.monotonic()

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Bound and end what a run takes of the site, give results their time, and log what the server refused."""
        if event_type == EventType.START_RUN:
            self._bound(fl_ctx)
        elif event_type == EventType.END_RUN:
            self._end()
        elif event_type == EventType.AFTER_TASK_RESULT_FILTER:
            allow_time(fl_ctx)
        elif event_type == UPDATE_REFUSED:
            notice: Shareable = fl_ctx.get_prop(FLContextKey.EVENT_DATA)
            self._log_refusal("", one_line(str(notice.get_header(CAUSE))), fl_ctx, Kind.UPDATE_REFUSED)

    def _bound(self, fl_ctx: FLContext) -> None:
        """Fetch no larger model than the site's limits allow; a network has other entries beside its weights."""
        try:
            most = 2 * _load_contract(*_contract_of(fl_ctx)).limits.parameters
        except FedginError:  # the first task says what is wrong
            most = 0
        self._arrays = ArrayLimit(most, lambda line: self.log_error(fl_ctx, line))
        self._arrays.start()

    def _end(self) -> None:
        if self._arrays is not None:
            self._arrays.stop()
        if self._process is not None:
            self._process.close()

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        """Do one task; every failure becomes a return code and one line in the site's logs."""
        tasks = {
            ORGANS: self._organs,
            FINGERPRINT: self._fingerprint,
            AppConstants.TASK_TRAIN: self._train,
            AppConstants.TASK_VALIDATION: self._validate,
            AppConstants.TASK_SUBMIT_MODEL: self._submit_model,
        }
        if task_name not in tasks:
            cause = with_fix(f"unknown task '{task_name}'", "use this package's job on the server too")
            self._log_refusal(task_name, cause, fl_ctx)
            return make_reply(ReturnCode.TASK_UNKNOWN)
        try:
            self._allowed(fl_ctx)
            return tasks[task_name](shareable, fl_ctx, abort_signal)
        except InterruptedTaskError as error:
            if abort_signal.triggered or not self._overdue():
                self.log_info(fl_ctx, str(error))
                return make_reply(ReturnCode.TASK_ABORTED)
            hours = f"the site has worked {self._limits.hours:g} hours for this job, 'limits.hours' of its site.yaml"
            cause = str(LimitError(hours, "raise it at the site, then 'fedgin resume'"))
        except FedginError as error:
            cause = str(error.below(_kit(fl_ctx)))
        except Exception as error:  # a site that answers with a code does not end the job; one that dies does
            cause = str(unforeseen(error, task_name))
        self._log_refusal(task_name, cause, fl_ctx)
        return make_reply(ReturnCode.EXECUTION_EXCEPTION, {CAUSE: cause})

    def _log_refusal(self, task: str, cause: str, fl_ctx: FLContext, kind: Kind = Kind.TASK_REFUSED) -> None:
        """Tell the site's log and its security log; a full disk must not turn an answer into an exception."""
        self.log_error(fl_ctx, cause)
        tell, job_id = partial(self.log_error, fl_ctx), str(fl_ctx.get_job_id())
        record_or_tell(_kit(fl_ctx), tell, kind, job_id=job_id, task=task, reason=cause)

    def _allowed(self, fl_ctx: FLContext) -> Application:
        """Return what the job says, as it was deployed here; a site that pauses later goes on with it."""
        if self._application is None:
            application = read_application(_app(fl_ctx))
            # Nothing of a network is built here: the session counts its weights.
            check_allowed(_load_contract(*_contract_of(fl_ctx)), application, parameters=0)
            self._application = application
        return self._application

    def _organs(self, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        """Say which organs of the job the site labels, and in how many training cases; nothing is opened for it."""
        contract = _load_contract(*_contract_of(fl_ctx))
        cases = str(suppress(len(parse_datalist(contract.datalist).training)))
        organs = self._allowed(fl_ctx).experiment.organs
        return DXO(DataKind.METRICS, data=dict.fromkeys(contract.labels.keys() & organs, cases)).to_shareable()

    def _fingerprint(self, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        """Send what the last validation has found fit to be shared, if the site has agreed to that."""
        from fedgin.data.validation.record import (
            agreed_fingerprint,  # with what reads images, which no other task needs
        )

        values = agreed_fingerprint(_load_contract(*_contract_of(fl_ctx)))
        return DXO(DataKind.METRICS, data={FINGERPRINT: values}).to_shareable()

    def _train(self, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        process = self._open(fl_ctx)
        application = self._allowed(fl_ctx)
        round_number, rounds = _round(shareable, application), application.numbers.num_rounds
        received = weights_from_shareable(shareable, source=f"round {round_number + 1}")
        update = process.train(received, round_number, rounds, stop=self._stop(abort_signal))
        self.log_info(
            fl_ctx,
            f"round {round_number + 1}: validation Dice {update.metrics[DICE]:.3f}, loss {update.loss:.3f}",
        )
        if update.protection:
            self.log_info(fl_ctx, f"round {round_number + 1}: {update.protection}")
        self._stream({**update.metrics, TRAINING_LOSS: update.loss}, round_number, fl_ctx)
        meta = {
            MetaKey.NUM_STEPS_CURRENT_ROUND: update.weight,
            MetaKey.INITIAL_METRICS: {**update.metrics, TRAINING_LOSS: update.loss},
            MODALITY: self._modality,
            TRAINED: update.trained,
            WITHHELD: update.withheld,
        }
        return weights_to_dxo(update.difference, DataKind.WEIGHT_DIFF, meta).to_shareable()

    def _stream(self, metrics: Mapping[str, float], round_number: int, fl_ctx: FLContext) -> None:
        """Send metrics of a round to FLARE's analytics receivers, such as TensorBoard's."""
        for tag, value in metrics.items():
            dxo = create_analytic_dxo(tag, float(value), AnalyticsDataType.SCALAR, global_step=round_number)
            send_analytic_dxo(self, dxo, fl_ctx, ANALYTIC_EVENT_TYPE)

    def _validate(self, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        owner = str(shareable.get_header(AppConstants.MODEL_OWNER, "model"))
        weights = weights_from_shareable(shareable, source=owner)
        metrics = self._open(fl_ctx).validate(
            weights,
            _plain(owner),
            candidate=owner.startswith(SERVER_MODEL),
            stop=self._stop(abort_signal),
        )
        return DXO(data_kind=DataKind.METRICS, data=metrics).to_shareable()

    def _submit_model(self, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        weights = self._open(fl_ctx).local_model(stop=self._stop(abort_signal))
        return weights_to_dxo(weights, DataKind.WEIGHTS).to_shareable()

    def _stop(self, abort_signal: Signal) -> Callable[[], bool]:
        return lambda: bool(abort_signal.triggered) or self._overdue()

    def _overdue(self) -> bool:
        return time.monotonic() - self._started > self._limits.seconds

    def _open(self, fl_ctx: FLContext) -> SiteProcess:
        if self._process is None:
            workspace: Workspace = fl_ctx.get_engine().get_workspace()
            path, site = _contract_of(fl_ctx)
            contract = _load_contract(path, site)
            self._modality, self._limits = contract.modality.value, contract.limits
            run = Path(workspace.get_run_dir(fl_ctx.get_job_id()))
            places = Places(_app(fl_ctx) / "config" / EXPERIMENT, path, run / SESSION, runs=run.parent)
            self._process = SiteProcess(site, places, log=lambda line: self.log_info(fl_ctx, line))
        return self._process


def _round(shareable: Shareable, application: Application) -> int:
    """Return the round that the server asks for, if the job that was deployed here has it."""
    header, fix = AppConstants.CURRENT_ROUND, "use this package's job on the server too"
    number = shareable.get_header(header)
    if isinstance(number, bool) or not isinstance(number, int):
        raise ConfigError(f"the task's header '{header}' is no count", fix)
    first = first_round(application.experiment)
    if not first <= number < first + application.numbers.num_rounds:
        last = first + application.numbers.num_rounds
        raise ConfigError(f"the task is for round {number + 1:,}, but the job has rounds {first + 1} to {last}", fix)
    return number


def _kit(fl_ctx: FLContext) -> Path:
    return Path(fl_ctx.get_engine().get_workspace().get_root_dir())


def _app(fl_ctx: FLContext) -> Path:
    workspace: Workspace = fl_ctx.get_engine().get_workspace()
    return Path(workspace.get_app_dir(fl_ctx.get_job_id()))


def _contract_of(fl_ctx: FLContext) -> tuple[Path, str]:
    workspace: Workspace = fl_ctx.get_engine().get_workspace()
    site = str(fl_ctx.get_identity_name())
    return _contract_path(Path(workspace.get_site_config_dir()), site), site


def _contract_path(local: Path, site: str) -> Path:
    """Return ``local/site.yaml``; FLARE's simulator gives all sites one ``local``, with ``sites/NAME.yaml`` in it."""
    simulated = local / "sites" / f"{site}.yaml"
    return simulated if simulated.is_file() else local / "site.yaml"


def _load_contract(path: Path, site: str) -> SiteContract:
    contract = load_site(path)
    if contract.site != site:
        raise ConfigError(
            f"site.yaml is of site '{contract.site}', but FLARE knows this site as '{site}'",
            "use the kit and the site.yaml of the same site",
        )
    return contract


def _plain(owner: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in owner)[:64]
