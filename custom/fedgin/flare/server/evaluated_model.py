"""The model that a job scores, for FLARE's cross-site evaluation at the server."""

from pathlib import Path

import safetensors.numpy
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.fl_context import FLContext
from nvflare.app_common.abstract.model_locator import ModelLocator

from fedgin.errors import WeightsError
from fedgin.flare.protocol import EVALUATED


class EvaluatedModelLocator(ModelLocator):
    """Gives the weights that came with the job; FLARE's own locator looks for what a training left.

    Args:
        model: the file with the weights, as safetensors.
    """

    def __init__(self, model: str) -> None:
        super().__init__()
        self.model = Path(model)

    def get_model_names(self, fl_ctx: FLContext) -> list[str]:
        """Return the one model."""
        return [EVALUATED]

    def locate_model(self, model_name: str, fl_ctx: FLContext) -> DXO:
        """Return its weights as NumPy arrays.

        Raises:
            WeightsError: the file is missing or damaged; the job then ends.
        """
        try:
            weights = safetensors.numpy.load_file(self.model)
        except Exception:  # a damaged file raises many kinds
            raise WeightsError(f"{self.model.name} is missing or damaged", "submit the job again") from None
        return DXO(data_kind=DataKind.WEIGHTS, data=weights)
