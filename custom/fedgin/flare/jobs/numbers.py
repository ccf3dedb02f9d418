"""The numbers of a job's FLARE configuration that a lead may choose, with their bounds."""

from typing import Any

from annotated_types import Ge, Le
from pydantic import Field, StrictFloat, StrictInt, ValidationError

from fedgin.config import Settings
from fedgin.errors import ConfigError
from fedgin.flare.jobs.files import SERVER_CONFIG

MOST_SITES = 10_000
WEEK = 7 * 24 * 3600
FIX = "start from a folder under jobs/; docs/project-lead.md lists the numbers that may be changed"


class Numbers(Settings):
    """The numbers of ``config_fed_server.json`` that a lead may choose, under FLARE's own names.

    Attributes:
        num_rounds: that are trained; of a resumed job those that are left.
        min_clients: updates without which a round is not closed; in ``meta.json``, too.
        wait_time_after_min_received: seconds for the other sites, once ``min_clients`` have answered.
        train_timeout: seconds after which a round is closed; 0 is never.
        submit_model_timeout: seconds in which a site sends its own model for the final comparison.
        validation_timeout: seconds in which a site measures the final models.
        heart_beat_timeout: seconds of silence after which the job's server takes a site for dead.
        task_request_interval: seconds between the first questions of a site for work.
        task_check_period: seconds between two looks of the server at what has come in.
    """

    num_rounds: StrictInt = Field(ge=1, le=100_000)
    min_clients: StrictInt = Field(ge=1, le=MOST_SITES)
    wait_time_after_min_received: StrictInt = Field(default=600, ge=0, le=WEEK)
    train_timeout: StrictInt = Field(default=0, ge=0, le=WEEK)
    submit_model_timeout: StrictInt = Field(default=600, ge=10, le=WEEK)
    validation_timeout: StrictInt = Field(default=3600, ge=10, le=WEEK)
    heart_beat_timeout: StrictInt = Field(default=60, ge=10, le=WEEK)
    task_request_interval: StrictInt | StrictFloat = Field(default=0.1, ge=0.05, le=60)
    task_check_period: StrictInt | StrictFloat = Field(default=0.1, ge=0.05, le=60)


# Where each number stands in config_fed_server.json of a job that trains, that collects, and that evaluates.
_SERVER_PLACES: dict[str, tuple[str | int, ...]] = {
    name: ("server", name) for name in ("heart_beat_timeout", "task_request_interval")
}
_PLACES: dict[str, tuple[str | int, ...]] = {
    **{
        name: ("workflows", 1, "args", name)
        for name in ("num_rounds", "min_clients", "wait_time_after_min_received", "train_timeout", "task_check_period")
    },
    **{name: ("workflows", 2, "args", name) for name in ("submit_model_timeout", "validation_timeout")},
    **_SERVER_PLACES,
}
_COLLECTION_PLACES: dict[str, tuple[str | int, ...]] = {
    "min_clients": ("workflows", 0, "args", "min_responses_required"),
    **_SERVER_PLACES,
}
_EVALUATION_PLACES: dict[str, tuple[str | int, ...]] = {
    "validation_timeout": ("workflows", 0, "args", "validation_timeout"),
    **_SERVER_PLACES,
}


def read_numbers(server: object, *, evaluates: bool = False, collects: bool = False) -> Numbers:
    """Take the numbers out of ``config_fed_server.json``, whatever else is in it.

    Args:
        server: what the file says.
        evaluates: whether it is of a job that evaluates. Such a job asks each site once, in one round; how many sites
            it needs stands in ``meta.json`` only.
        collects: whether it is of a job that collects fingerprints, which asks each site once, too.

    Raises:
        ConfigError: a number is no number or out of its bounds, or there is no ``num_rounds`` or ``min_clients``.
    """
    places = _EVALUATION_PLACES if evaluates else _COLLECTION_PLACES if collects else _PLACES
    found: dict[str, Any] = {"num_rounds": 1, "min_clients": 1} if evaluates else {"num_rounds": 1} if collects else {}
    found |= {name: _at(server, place) for name, place in places.items()}
    try:
        return Numbers.model_validate({name: value for name, value in found.items() if value is not None})
    except ValidationError as error:
        # The union of int and float names both of its members.
        names = dict.fromkeys(str(fault["loc"][0]) for fault in error.errors(include_url=False))
        bounds = "; ".join(f"'{name}' {_bounds(name)}" for name in names)
        raise ConfigError(f"{SERVER_CONFIG}: {bounds}", FIX) from None


def _at(values: Any, place: tuple[str | int, ...]) -> Any:
    for part in place:
        known = isinstance(values, dict) and part in values
        listed = isinstance(values, list) and isinstance(part, int) and part < len(values)
        if not (known or listed):
            return None
        values = values[part]
    return values


def _bounds(name: str) -> str:
    field = Numbers.model_fields[name]
    least = next(part.ge for part in field.metadata if isinstance(part, Ge))
    most = next(part.le for part in field.metadata if isinstance(part, Le))
    whole = "whole " if field.annotation is int else ""
    return f"must be a {whole}number from {least} to {most}"
