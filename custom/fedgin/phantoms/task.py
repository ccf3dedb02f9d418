"""The tasks that come with jobs and phantoms."""

from enum import StrEnum


class Task(StrEnum):
    """What is segmented; its jobs are ``TASK_fedavg`` and ``TASK_fedgin``."""

    ABDOMEN = "abdomen"
    HEART = "heart"
