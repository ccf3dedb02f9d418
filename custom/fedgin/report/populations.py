"""How a report names the arms that it compares: by their training patients, and by the organ of their networks."""

from fedgin.page import in_words
from fedgin.study.population import Population


def heading(population: Population) -> str:
    """Return what stands above a table; nothing where all patients train networks for all organs.

    >>> heading(Population("5ct_per_mr", "left_kidney")), heading(Population("1ct_1mr")), heading(Population())
    ('Training patients: 5ct per mr; one network for: left kidney', 'Training patients: 1ct 1mr', '')
    """
    if population == Population():
        return ""
    organ = f"; one network for: {in_words(population.organ)}" if population.organ else ""
    return f"Training patients: {in_words(population.patients)}{organ}"


def suffix(population: Population) -> str:
    """Return what follows the name of a regime.

    >>> suffix(Population("5ct_per_mr", "left_kidney")), suffix(Population("all", "liver")), suffix(Population())
    (', 5ct per mr, left kidney', ', liver', '')
    """
    said = [population.patients] * (population.patients != "all") + [population.organ] * bool(population.organ)
    return "".join(f", {in_words(name)}" for name in said)
