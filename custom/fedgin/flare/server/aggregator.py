"""Let checked updates into the average, weighted as ``federation.client_weighting`` says, with FLARE's aggregator."""

import threading
from collections.abc import Mapping
from pathlib import Path

from nvflare.apis.dxo import DXO
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import ReservedKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.app_common.abstract.aggregator import Aggregator
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.app_event_type import AppEventType
from nvflare.app_opt.pt.decomposers import TensorDecomposer
from nvflare.fuel.utils import fobs

from fedgin.documents import read_json
from fedgin.errors import FedginError
from fedgin.flare.array_limit import ArrayLimit, bound_messages, largest_message
from fedgin.flare.jobs.checkpoint import CHECKPOINT, CLAIMS, read_claims
from fedgin.flare.jobs.encryption_library import check_encryption_installed
from fedgin.flare.jobs.files import SERVER_CONFIG
from fedgin.flare.jobs.numbers import read_numbers
from fedgin.flare.participation import Absence
from fedgin.flare.protocol import AGGREGATED, CAUSE, OUTLIERS, SESSION, UPDATE_REFUSED, VERDICT
from fedgin.flare.server.average import AverageError, WeightedAverage, to_dxo
from fedgin.flare.server.freed_memory import keep_little_memory
from fedgin.flare.server.guard import Update, UpdateGuard, UpdateRefusedError, find_outliers
from fedgin.flare.server.sender import sender
from fedgin.flare.server.turns import ModelQueue, Turns, sites_at_once
from fedgin.flare.server.update_store import UpdateStore, in_a_file
from fedgin.train.experiment import Experiment, load_experiment
from fedgin.train.initial_model import initial_model

# Folder of the open round's updates beside the checkpoint.
UPDATES = "updates"
# Bytes of a number of the model as it travels.
FLOAT32 = 4


class ClientWeightedAggregator(Aggregator):
    """FLARE's stock ``InTimeAccumulateWeightedAggregator``, behind a guard, one for all sites or one per modality.

    ``modality_balanced``: a site's update counts by its slices inside its modality, and the result is the plain mean of
    the modalities' means, so that few MR slices are not drowned by many CT slices. ``samples`` and ``uniform``: one
    stock aggregator for all sites, which weighs them by what they report. See :mod:`fedgin.flare.server.average`, and
    :mod:`fedgin.flare.server.encryption` for updates that the server cannot read.

    Stock FLARE adds what it gets while it checks it. Here an update is checked whole
    (:class:`~fedgin.flare.server.guard.UpdateGuard`), then kept until the round is closed, because its size can only be
    judged beside the others'. The average therefore is what it would be without a refused site, and does not depend on
    the order of arrival. What is kept lies in files of the run's folder: the price is disk, not memory.

    A refused site is told with the event :data:`~fedgin.flare.protocol.UPDATE_REFUSED`, and the round goes on. It ends
    the job when fewer updates remain than the controller's ``min_clients``: stock FLARE would finish the round and call
    an untrained model a success.

    Args:
        experiment: path of ``experiment.yaml`` on the server; the controller's configuration lies beside it.
    """

    def __init__(self, experiment: str) -> None:
        super().__init__()
        self.experiment = experiment
        self._lock = threading.Lock()
        self._sites: set[str] = set()
        self._updates: dict[str, Update] = {}
        self._sizes: list[float] = []
        self._closed = -1
        self._average: WeightedAverage | None = None
        self._bounds: tuple[ArrayLimit | ModelQueue, ...] = ()

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Prepare a run, and end it; note at the start of each round which sites FLARE deployed the job to."""
        if event_type == EventType.START_RUN:
            try:
                self._prepare(load_experiment(Path(self.experiment)), fl_ctx)
            except FedginError as error:  # FLARE would log it and start the rounds
                self.system_panic(str(error), fl_ctx)
        elif event_type == AppEventType.ROUND_STARTED:
            self._sites |= {client.name for client in fl_ctx.get_engine().get_clients()}
        elif event_type == EventType.END_RUN and self._bounds:
            for bound in self._bounds:
                bound.stop()
            self._store.clear()
        if self._average is not None:
            self._average.handle_event(event_type, fl_ctx)

    def _prepare(self, experiment: Experiment, fl_ctx: FLContext) -> None:
        earlier = read_claims(Path(self.experiment).with_name(CHECKPOINT)) if experiment.resumes else {}
        balanced = experiment.federation.client_weighting == "modality_balanced"
        if experiment.federation.homomorphic_encryption:
            check_encryption_installed()
            from fedgin.flare.server.encryption import EncryptedAverage, EncryptedUpdateGuard, server_key

            self._guard: UpdateGuard = EncryptedUpdateGuard(experiment, earlier, server_key(fl_ctx))
            self._average = EncryptedAverage(balanced=balanced, entries=initial_model(experiment).weights)
        else:
            self._guard = UpdateGuard(experiment, earlier)
            self._average = WeightedAverage(balanced=balanced)
        run = Path(fl_ctx.get_engine().get_workspace().get_run_dir(fl_ctx.get_job_id()))
        self._store = UpdateStore(run / SESSION / UPDATES, self._guard.unpack)
        self._bound_transfers(experiment, run, fl_ctx)
        self._ratio = experiment.federation.max_norm_ratio
        config = Path(self.experiment).with_name(SERVER_CONFIG)
        self._min_clients = read_numbers(read_json(config, source=SERVER_CONFIG)).min_clients

    def _bound_transfers(self, experiment: Experiment, run: Path, fl_ctx: FLContext) -> None:
        sizes = [value.size for value in initial_model(experiment).weights.values()]
        fobs.register(TensorDecomposer)  # as FLARE's persistor does later, so that it is bound, too
        at_once = sites_at_once(FLOAT32 * sum(sizes))
        keep_little_memory()  # a simulator reads no kit, which does it in a server's processes
        limit = ArrayLimit(sum(sizes), lambda line: self.log_error(fl_ctx, line), Turns(at_once).turn, in_a_file(run))
        self._bounds = (limit, ModelQueue(at_once))
        for bound in self._bounds:
            bound.start()
        most = largest_message(sizes, encrypted=experiment.federation.homomorphic_encryption)
        bound_messages(fl_ctx.get_engine().get_cell(), most)

    def accept(self, shareable: Shareable, fl_ctx: FLContext) -> bool:
        """Keep an update that passes every check, or refuse it; :meth:`aggregate` compares the sizes."""
        site, round_number = sender(shareable), _round(fl_ctx)
        try:
            with self._lock:
                self._updates[site] = update = self._judge(site, round_number, shareable)
        except UpdateRefusedError as refusal:
            absence = self._refuse(site, round_number, str(refusal), fl_ctx)
            fl_ctx.set_prop(VERDICT, absence, private=True, sticky=False)
            return False
        fl_ctx.set_prop(VERDICT, update.contribution, private=True, sticky=False)
        return True

    def aggregate(self, fl_ctx: FLContext) -> Shareable:
        """Return the weighted mean of this round's updates as a DXO of weight differences, or stop the job."""
        round_number = _round(fl_ctx)
        with self._lock:
            updates, self._updates, self._closed = self._updates, {}, round_number
        kept = self._without_outliers(updates, round_number, fl_ctx)
        try:
            mean = self._mean_of(kept, round_number, fl_ctx)
        except AverageError as error:
            fl_ctx.set_prop(AGGREGATED, False, private=True, sticky=False)
            self.system_panic(f"round {round_number + 1}: {error}", fl_ctx)
            return to_dxo({}).to_shareable()
        finally:
            self._store.clear()
        fl_ctx.set_prop(AGGREGATED, True, private=True, sticky=False)
        self._sizes = list(_sizes(kept).values())
        for site, update in kept.items():
            self._guard.remember(site, update)
        fl_ctx.set_prop(CLAIMS, dict(self._guard.claims), private=True, sticky=False)
        return mean.to_shareable()

    def _mean_of(self, updates: Mapping[str, Update], round_number: int, fl_ctx: FLContext) -> DXO:
        if len(updates) < self._min_clients:
            raise AverageError(
                f"{len(updates)} of at least {self._min_clients} updates can be averaged",
                "read above which site was refused, failed or sent nothing",
            )
        assert self._average is not None, "FLARE starts a run before its first round"
        return self._average.of(updates, round_number, fl_ctx)

    def _without_outliers(
        self, updates: Mapping[str, Update], round_number: int, fl_ctx: FLContext
    ) -> dict[str, Update]:
        outliers = find_outliers(_sizes(updates), self._sizes, self._ratio)
        refused = [self._refuse(site, round_number, reason, fl_ctx) for site, reason in sorted(outliers.items())]
        fl_ctx.set_prop(OUTLIERS, refused, private=True, sticky=False)
        return {site: updates[site] for site in sorted(updates.keys() - outliers.keys())}

    def _judge(self, site: str, round_number: int, shareable: Shareable) -> Update:
        try:
            self._check_turn(site, round_number, shareable)
            return self._store.keep(self._guard.check(site, shareable))
        except UpdateRefusedError:
            raise
        except Exception as error:  # FLARE closes a round at once when accept() raises, whoever has not answered yet
            raise UpdateRefusedError(f"unforeseen {type(error).__name__} when it was checked", "report this") from None

    def _check_turn(self, site: str, round_number: int, shareable: Shareable) -> None:
        named = shareable.get_peer_prop(ReservedKey.IDENTITY_NAME, None)
        if not isinstance(named, str) or named != site:
            raise UpdateRefusedError(f"it names itself {named!r}"[:80], "run the site with its own kit")
        if site not in self._sites:
            raise UpdateRefusedError("the job was not deployed to this site", "submit a job that names it")
        sent = shareable.get_cookie(AppConstants.CONTRIBUTION_ROUND)
        if type(sent) is not int or sent != round_number or round_number == self._closed:
            told = sent + 1 if type(sent) is int else sent
            raise UpdateRefusedError(f"it is late, of round {told!r}"[:80], "give the round more time")
        if site in self._updates:
            raise UpdateRefusedError("it is the second of the round", "run one client with the site's kit")

    def _refuse(self, site: str, round_number: int, reason: str, fl_ctx: FLContext) -> Absence:
        self.log_error(fl_ctx, f"round {round_number + 1}: the update of site {site} is refused: {reason}")
        if site in self._sites:
            notice = Shareable()
            notice.set_header(CAUSE, f"round {round_number + 1}: the update was refused: {reason}")
            self.fire_fed_event(UPDATE_REFUSED, notice, fl_ctx, targets=[site])
        return Absence(site, reason)


def _round(fl_ctx: FLContext) -> int:
    return int(fl_ctx.get_prop(AppConstants.CURRENT_ROUND))


def _sizes(updates: Mapping[str, Update]) -> dict[str, float]:
    """Return the sizes that can be compared; an encrypted update has none."""
    return {site: update.size for site, update in updates.items() if update.size is not None}
