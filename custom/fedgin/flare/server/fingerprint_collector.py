"""Ask every site for its fingerprint, which it sends if it has agreed to."""

from pathlib import Path

from nvflare.apis.client import Client
from nvflare.apis.dxo import from_shareable
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.app_common.abstract.response_processor import ResponseProcessor

from fedgin.errors import one_line
from fedgin.flare.collection import FILE, NO_ANSWER, Collection, read_answer
from fedgin.flare.protocol import CAUSE, FINGERPRINT

LONGEST_CAUSE = 400


class FingerprintCollector(ResponseProcessor):
    """What FLARE's ``BroadcastAndProcess`` makes of the answers: ``metrics/fingerprints.json`` of the run folder.

    Nobody looks at a fingerprint here. Who sent none is in the file with the reason; that ends nothing.
    """

    def create_task_data(self, task_name: str, fl_ctx: FLContext) -> Shareable:
        """Return an empty task."""
        self._found: dict[str, object] = {}
        self._refused: dict[str, str] = {}
        return Shareable()

    def process_client_response(self, client: Client, task_name: str, response: Shareable, fl_ctx: FLContext) -> bool:
        """Keep a site's answer, or why there is none."""
        if response.get_return_code() != ReturnCode.OK:
            cause = response.get_header(CAUSE, f"return code {response.get_return_code()}")
            self._refused[client.name] = one_line(str(cause)[:LONGEST_CAUSE])
            return True
        try:
            self._found[client.name] = read_answer(from_shareable(response).data[FINGERPRINT])
        except Exception:  # what a site sends may be anything
            self._refused[client.name] = "its answer is no fingerprint"
            self.log_error(fl_ctx, f"site {client.name}: its answer is no fingerprint")
        return True

    def final_process(self, fl_ctx: FLContext) -> bool:
        """Write the answers."""
        asked = {client.name for client in fl_ctx.get_engine().get_clients()}
        silent = asked - self._found.keys() - self._refused.keys()
        refused = {**self._refused, **dict.fromkeys(silent, NO_ANSWER)}
        workspace = fl_ctx.get_engine().get_workspace()
        found = Collection(dict(sorted(self._found.items())), dict(sorted(refused.items())))
        found.write(Path(workspace.get_run_dir(fl_ctx.get_job_id())) / FILE)
        self.log_info(fl_ctx, f"{len(self._found)} of {len(asked)} sites sent their fingerprint")
        return True
