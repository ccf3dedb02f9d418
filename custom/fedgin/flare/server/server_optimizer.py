"""The server's optimiser of FedAvgM and FedAdam: FLARE's stock FedOpt, on the model that the federation has."""

import torch
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.app_common.abstract.learnable import Learnable
from nvflare.app_common.abstract.model import ModelLearnableKey
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_opt.pt.fedopt import PTFedOptModelShareableGenerator

from fedgin.train.checkpoint import load_weights


class ServerOptimizer(PTFedOptModelShareableGenerator):
    """Takes the mean difference of a round as the gradient of the global model.

    FLARE's part keeps a model of its own, in which it moves the weights alone. Statistics of normalisation layers would
    fall back to their initial values in a round in which no site of a modality sends any, so this one begins each round
    with the whole global model. The optimiser's moments are in memory only: a resumed job begins without.
    """

    def shareable_to_learnable(self, shareable: Shareable, fl_ctx: FLContext) -> Learnable:
        """Return the new global model."""
        weights = fl_ctx.get_prop(AppConstants.GLOBAL_MODEL)[ModelLearnableKey.WEIGHTS]
        tensors = {name: torch.as_tensor(value) for name, value in weights.items()}
        load_weights(self.model, tensors, source="the global model")
        return super().shareable_to_learnable(shareable, fl_ctx)
