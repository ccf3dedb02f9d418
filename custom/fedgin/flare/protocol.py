"""The names that site, server and lead agree on: headers, keys of a DXO, events, metrics."""

import itertools
from collections.abc import Mapping
from numbers import Real

# Keys in the meta of a site's update (a DXO): its modality, what it trained on, and the entries that it keeps back.
MODALITY = "fedgin_modality"
TRAINED = "fedgin_trained"
WITHHELD = "fedgin_withheld"
# Metrics that go with an update: the training loss, and the mean Dice on the site's validation cases.
TRAINING_LOSS = "train_loss"
DICE = "val_dice_mean"
# Folder of ours in the run folder that FLARE gives a job, at a site and at the server.
SESSION = "fedgin"
# Header of a failed reply: the problem and its fix, without anything of a patient.
CAUSE = "fedgin_cause"
# Event by which the server tells a site that its update was refused, with the reason under CAUSE.
UPDATE_REFUSED = "fedgin_update_refused"
# FLARE's event with a metric of a site, as it has it at the site, and its name when it comes to the server.
METRIC_LOGGED, FEDERATED = "analytix_log_stats", "fed."
METRICS_SENT = FEDERATED + METRIC_LOGGED
# What FLARE's cross-site evaluation puts before the names of the server's models.
SERVER_MODEL = "SRV_"
# The model of a job that scores one, by its name at the server.
EVALUATED = "evaluated_model"
# Properties of the server's FLContext for FLARE's events that follow: the Contribution or the Absence that the
# aggregator's accept() came to, the list of Absences that its aggregate() came to, and whether it made an average.
VERDICT = "fedgin_verdict"
OUTLIERS = "fedgin_outliers"
AGGREGATED = "fedgin_aggregated"
# The task in which a site says which organs it labels, and the part of `show_stats server` with all answers.
ORGANS = "fedgin_organs"
# The task in which a site that has agreed to it sends its fingerprint, and the key of the answer.
FINGERPRINT = "fedgin_fingerprint"
# The part of `show_stats server` that is ours.
STATS = "fedgin"


# A hundred organs have some metrics each; more names would hide from the lead what a round came to.
MOST_METRICS = 1024
LONGEST_METRIC = 120


def numbers(metrics: Mapping[str, object]) -> dict[str, float]:
    """Keep the metrics that are numbers: FLARE lets a site report words, too.

    Of more than :data:`MOST_METRICS` the first are kept, and the mean Dice and the training loss wherever they stand.

    Raises:
        OverflowError: a number is too large for a float.
    """
    found = {name: value for name, value in metrics.items() if isinstance(value, Real) and _is_short(name)}
    first = {name: found[name] for name in (DICE, TRAINING_LOSS) if name in found}
    rest = (name for name in found if name not in first)
    kept = {*first, *itertools.islice(rest, MOST_METRICS - len(first))}
    return {str(name): float(value) for name, value in found.items() if name in kept}


def _is_short(name: object) -> bool:
    return len(str(name)) <= LONGEST_METRIC
