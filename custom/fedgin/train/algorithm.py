"""How a federation learns from its sites' updates: ``federation.algorithm`` of an experiment."""

from typing import Any, Literal

from pydantic import Field, model_validator

from fedgin.config import Settings

# Which keys an algorithm has besides its name, with their defaults, those of the papers.
PARAMETERS: dict[str, dict[str, float]] = {
    "fedavg": {},
    "fedprox": {"mu": 0.01},
    "fedavgm": {"learning_rate": 1.0, "momentum": 0.9},
    "fedadam": {"learning_rate": 0.01, "momentum": 0.9},
}
# Of FedAdam: the decay of the squared updates, and what is added to their root so that small ones stay small.
BETA2, TAU = 0.99, 1e-3


class AlgorithmSettings(Settings):
    """The averaging of a federation, or what replaces a part of it.

    ``fedavg``: the server's model moves by the weighted mean of the sites' differences (McMahan et al., AISTATS 2017,
    arXiv 1602.05629). ``fedprox``: the same, and a term in the site's loss, mu / 2 * ||w - w_received||^2, holds it
    near the model that it received (Li et al., MLSys 2020, arXiv 1812.06127). ``fedavgm`` and ``fedadam``: the mean
    difference is the server's gradient, for SGD with momentum (Hsu et al., arXiv 1909.06335) or for Adam (Reddi et al.,
    ICLR 2021, arXiv 2003.00295).

    Attributes:
        name: the algorithm.
        mu: of fedprox; its weight, 0.01 by default.
        learning_rate: of fedavgm and fedadam; the server's, 1.0 and 0.01 by default.
        momentum: of fedavgm and fedadam; share of the earlier direction that is kept, 0.9 by default.

    Example:
        >>> AlgorithmSettings(name="fedprox").parameters
        {'mu': 0.01}
        >>> AlgorithmSettings(name="fedavgm", momentum=0.5).parameters
        {'learning_rate': 1.0, 'momentum': 0.5}
    """

    name: Literal["fedavg", "fedprox", "fedavgm", "fedadam"] = "fedavg"
    mu: float | None = Field(default=None, gt=0.0, le=10.0)
    learning_rate: float | None = Field(default=None, gt=0.0, le=10.0)
    momentum: float | None = Field(default=None, ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _keys_are_the_algorithm_s(self) -> "AlgorithmSettings":
        own = PARAMETERS[self.name]
        foreign = sorted(self._given().keys() - own.keys())
        if foreign:
            takes = f"takes {' and '.join(own)}" if own else "takes no parameter"
            raise ValueError(f"{self.name} has no {' and '.join(foreign)}: it {takes}")
        return self

    def _given(self) -> dict[str, float]:
        return self.model_dump(exclude={"name"}, exclude_none=True)

    @property
    def parameters(self) -> dict[str, float]:
        """Every parameter of the algorithm, with its default where none is given."""
        return PARAMETERS[self.name] | self._given()

    def server_optimizer(self) -> dict[str, Any] | None:
        """Return class and arguments of the server's optimiser; None where the server averages."""
        values = self.parameters
        if self.name == "fedavgm":
            return {"path": "torch.optim.SGD", "args": {"lr": values["learning_rate"], "momentum": values["momentum"]}}
        if self.name == "fedadam":
            betas = [values["momentum"], BETA2]
            return {"path": "torch.optim.Adam", "args": {"lr": values["learning_rate"], "betas": betas, "eps": TAU}}
        return None
