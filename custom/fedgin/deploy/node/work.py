"""The work of a DICOM node: segment what is complete, send what is ready, forget what is done."""

import logging
import time
from collections.abc import Callable

from fedgin.deploy.node.listener import Listener
from fedgin.deploy.node.sender import send
from fedgin.deploy.node.settings import NodeSettings
from fedgin.deploy.node.spool import Phase, Spool, SpooledStudy, StudyState
from fedgin.deploy.predict import Segmenter
from fedgin.deploy.results import REPORT_IT, Result, predict
from fedgin.errors import FedginError, NotWrittenError, unforeseen
from fedgin.folders import whole_folder

LOG = logging.getLogger("fedgin.node")
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 900.0
# Attempts after which the pause is the longest; powers of more overflow after some days.
MANY = 10
POLL_SECONDS = 0.5


class Worker:
    """Does what the spool asks for, one study after the other. Whatever goes wrong with one stops no other.

    Args:
        settings: of the node.
        spool: with the studies.
        listener: knows who is still connected.
        segmenter: of the bundle.
        clock: time in seconds since the epoch.
    """

    def __init__(
        self,
        settings: NodeSettings,
        spool: Spool,
        listener: Listener,
        segmenter: Segmenter,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.spool = spool
        self.listener = listener
        self.segmenter = segmenter
        self.clock = clock
        # In memory, because nothing can be noted on a full disk: how long a study waits now, and until when.
        self._pauses: dict[str, tuple[float, float]] = {}

    def run(self, stop: Callable[[], bool]) -> None:
        """Work until ``stop`` says true, which is asked between two studies."""
        self.spool.finish()
        while not stop():
            for study in self.spool.studies():
                if not stop():
                    self.step(study)
            time.sleep(POLL_SECONDS)

    def step(self, study: SpooledStudy) -> None:
        """Do the next thing of a study that can be done now, if there is one."""
        state, now = study.state, self.clock()
        pause, until = self._pauses.get(study.key, (0.0, 0.0))
        if now < until:
            return
        try:
            self._do_next(study, state, now)
            self._pauses.pop(study.key, None)
        except Exception as error:  # a node never dies of a study
            pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, 2.0 * pause))
            self._pauses[study.key] = pause, self.clock() + pause
            LOG.error("study %s: %s; it is tried again in %.0f s", study.key, _problem_of(error), pause)

    def _do_next(self, study: SpooledStudy, state: StudyState, now: float) -> None:
        if study.fingerprint() != state.images:  # whatever becomes of results that are not of all its images
            if self._is_complete(study, now):
                self._segment(study)
        elif state.phase is Phase.TO_SEND:
            if now >= state.next_try:
                self._send(study, state)
        elif now - state.since > 3600.0 * self.settings.keep_hours and not self.listener.is_sending(study):
            self._forget(study, state)

    def _is_complete(self, study: SpooledStudy, now: float) -> bool:
        came = study.last_received()
        return bool(came) and now - came >= self.settings.quiet_seconds and not self.listener.is_sending(study)

    def _segment(self, study: SpooledStudy) -> None:
        images, problem = study.fingerprint(), ""
        results: list[Result] = []
        try:
            with whole_folder(study.results, holds=f"results {images}", overwrite=True) as part:
                results = predict(self.segmenter, study.images, part, lambda what, done, total: None)
        except (OSError, NotWrittenError):
            raise  # the study is sound
        except FedginError as error:
            problem = str(error)
        except Exception as error:  # a node never dies of a study
            problem = str(unforeseen(error, "segment", REPORT_IT))
        problem = problem or "; ".join(f"{item.name}: {item.problem}" for item in results if item.problem)
        pending = [name for item in results for name in item.files if name.endswith(".dcm")]
        phase = Phase.TO_SEND if pending else Phase.FAILED
        study.save(StudyState(images=images, phase=phase, pending=pending, since=self.clock(), problem=problem))
        LOG.info("study %s: %d objects to send%s", study.key, len(pending), f"; {problem}" if problem else "")

    def _send(self, study: SpooledStudy, state: StudyState) -> None:
        for name in state.pending:
            problem = send(self.settings, study.results / name)
            if problem:
                pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(state.attempts, MANY))
                changes = {"attempts": state.attempts + 1, "next_try": self.clock() + pause, "unsent": problem}
                study.save(state.model_copy(update=changes))
                LOG.warning("study %s: %s; next try in %.0f s", study.key, problem, pause)
                return
            pending = [other for other in state.pending if other != name]
            state = state.model_copy(update={"pending": pending, "attempts": 0, "unsent": ""})
            study.save(state)
        study.save(state.model_copy(update={"phase": Phase.SENT, "since": self.clock()}))
        LOG.info("study %s: sent", study.key)

    def _forget(self, study: SpooledStudy, state: StudyState) -> None:
        if self.spool.remove(study, state.images):
            done = "its results were sent" if state.phase is Phase.SENT else f"it failed: {state.problem}"
            LOG.info("study %s: forgotten, %g hours after %s", study.key, self.settings.keep_hours, done)


def _problem_of(error: Exception) -> str:
    """Return what may be logged of an error: nothing of what a library quotes."""
    if isinstance(error, FedginError):
        return error.problem
    return (isinstance(error, OSError) and error.strerror) or unforeseen(error, "go on with it", REPORT_IT).problem
