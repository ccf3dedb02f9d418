"""What the arms that a study compares have in common."""

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Population:
    """Training patients, and an organ of their own.

    Attributes:
        patients: ``all``, or such as ``10ct_2mr`` or ``5ct_per_mr``.
        organ: the only one that a network segments; empty for all of the job.

    Example:
        >>> str(Population("5ct_per_mr", "left_kidney")), str(Population())
        ('5ct_per_mr_left_kidney', 'all')
    """

    patients: str = "all"
    organ: str = ""

    def __str__(self) -> str:
        """Return the part of an arm's name."""
        return f"{self.patients}_{self.organ}" if self.organ else self.patients
