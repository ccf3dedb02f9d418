"""The builder of the key for encrypted jobs, apart from the others because it needs TenSEAL."""

from pathlib import Path

import tenseal
from nvflare.lighter.ctx import ProvisionContext
from nvflare.lighter.entity import Project
from nvflare.lighter.impl.he import HEBuilder

from fedgin.files import whole_file


class EncryptionKeyBuilder(HEBuilder):
    """FLARE's keys for homomorphic encryption, made once: the stock builder makes another one for every new kit.

    Sites get the secret key, which they share; the server gets what it needs to add and multiply.

    Args:
        file: where the key is kept, on the lead's machine alone.
    """

    def __init__(self, file: str) -> None:
        super().__init__()
        self.file = Path(file)

    def initialize(self, project: Project, ctx: ProvisionContext) -> None:
        """Read the key, or make it."""
        if self.file.is_file():
            self._context = tenseal.context_from(self.file.read_bytes())
            return
        super().initialize(project, ctx)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(self.file) as part:
            part.write_bytes(self.get_serialized_context(is_client=True))
