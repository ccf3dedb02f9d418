"""The one family of errors a user ever has to read."""


class FedginError(Exception):
    """What is wrong and how to mend it, in one line that is safe to log.

    Args:
        problem: what is wrong; names files, keys, sites or case numbers, never a patient identifier.
        fix: what to do about it, as an imperative sentence.
    """

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(problem, fix)
        self.problem = problem
        self.fix = fix

    def __str__(self) -> str:
        """Return ``problem`` and ``fix`` on one line."""
        return " ".join(f"{self.problem.rstrip('.')}. Fix: {self.fix}".split())


class ConfigError(FedginError):
    """A setting in ``experiment.yaml``, ``site.yaml`` or another file of ours is missing, unknown or out of range."""


class DataError(FedginError):
    """An image, a label or a datalist is missing, unreadable or implausible."""


class WeightsError(FedginError):
    """Network weights are missing, damaged or do not fit the network."""


class PrivacyError(FedginError):
    """The site's privacy settings cannot be kept; nothing of the round is sent."""
