"""Ask every site, before the first round, which organs of the job it labels."""

from pathlib import Path

from nvflare.apis.client import Client
from nvflare.apis.dxo import from_shareable
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.app_common.abstract.response_processor import ResponseProcessor
from nvflare.widgets.info_collector import InfoCollector

from fedgin.errors import with_fix
from fedgin.flare.organ_table import FILE, OrganTable, read_answer
from fedgin.flare.protocol import ORGANS
from fedgin.train.experiment import load_experiment


class OrganSurvey(ResponseProcessor):
    """What FLARE's ``BroadcastAndProcess`` makes of the answers: a table of sites and organs.

    It is in the server's log, in ``metrics/organs.json`` of the run folder, and in the console's ``show_stats server``.
    An organ that no site labels ends the job, because its voxels would be learnt from nobody. A site that gives no
    answer does not: it is asked to train next, and says then what is wrong.

    Args:
        experiment: path of ``experiment.yaml`` on the server.
    """

    def __init__(self, experiment: str) -> None:
        super().__init__()
        self.experiment = experiment
        self._table = OrganTable([], {}, [])

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Show the table to who follows the job, once it is complete."""
        if event_type == InfoCollector.EVENT_TYPE_GET_STATS and self._table.organs:
            collector = fl_ctx.get_prop(InfoCollector.CTX_KEY_STATS_COLLECTOR)
            collector.set_info(ORGANS, self._table.values())

    def create_task_data(self, task_name: str, fl_ctx: FLContext) -> Shareable:
        """Return an empty task: a site has the experiment."""
        self._organs = load_experiment(Path(self.experiment)).organs
        self._answers: dict[str, dict[str, str]] = {}
        return Shareable()

    def process_client_response(self, client: Client, task_name: str, response: Shareable, fl_ctx: FLContext) -> bool:
        """Keep a site's answer, if it is one; an error of the site is told by the RoundRecorder."""
        if response.get_return_code() == ReturnCode.OK:
            try:
                self._answers[client.name] = read_answer(from_shareable(response).data, self._organs)
            except Exception:  # what a site sends may be anything
                self.log_error(fl_ctx, f"site {client.name} does not say which organs it labels")
        return True

    def final_process(self, fl_ctx: FLContext) -> bool:
        """Tell the table; end the job when all have answered and nobody labels an organ."""
        silent = sorted({client.name for client in fl_ctx.get_engine().get_clients()} - self._answers.keys())
        self._table = OrganTable(self._organs, dict(sorted(self._answers.items())), silent)
        workspace = fl_ctx.get_engine().get_workspace()
        self._table.write(Path(workspace.get_run_dir(fl_ctx.get_job_id())) / FILE)
        for line in self._table.lines():
            self.log_info(fl_ctx, line)
        if missing := self._table.unlabelled:
            named = ", ".join(f"'{organ}'" for organ in missing)
            fix = "write organs in the job as its sites do in 'labels' of their site.yaml, or leave these out"
            self.system_panic(with_fix(f"no site labels {named}", fix), fl_ctx)
        return True
