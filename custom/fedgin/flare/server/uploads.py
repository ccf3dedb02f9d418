"""A bound on the files that FLARE's server takes: those of logged-in consoles, as large as a job may be, a few at once.

FLARE opens a file in the temporary folder of the server for whoever sends a first piece, writes whatever comes, and
looks at the session when all is there. So anyone with a kit could fill the disk. It also leaves the file of each job
that is refused.

Who is refused gets the reason with the answer, as FLARE's own refusal of a job: :mod:`fedgin.flare.run.upload_answer`
reads it at the console.
"""

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from nvflare.apis.event_type import EventType
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.streaming import ConsumerFactory, ObjectConsumer, StreamContext, StreamContextKey
from nvflare.app_common.streamers.streamer_base import KEY_DATA, KEY_FILE_LOCATION, KEY_FILE_SIZE
from nvflare.fuel.hci.conn import Connection
from nvflare.fuel.hci.proto import StreamChannel, make_meta

from fedgin.errors import ConfigError, FedginError, NotWrittenError
from fedgin.flare.jobs.archive import LARGEST_FILE, LARGEST_WEIGHTS

# The weights of a job, and its few small files.
LARGEST_UPLOAD = LARGEST_WEIGHTS + 16 * LARGEST_FILE
AT_ONCE = 4
FIX = "submit jobs with 'fedgin run' or FLARE's console"
ROOM = "make room on the server's disk, where its temporary folder is"
# In FLARE's context of a file, which no sender sees.
REFUSAL = "fedgin_refusal"


class Uploads(FLComponent):
    """Part of the server kit's ``resources.json``."""

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Bound what FLARE's server takes; it begins to take files later."""
        if event_type == EventType.SYSTEM_START:
            engine: Any = fl_ctx.get_engine()
            bound_uploads(engine.run_manager.object_streamer, lambda said: _logged_in(engine.server, said))


def bound_uploads(streamer: Any, logged_in: Callable[[Any], str | None]) -> None:
    """Bound the files of consoles that will be taken.

    Args:
        streamer: FLARE's ``ObjectStreamer``.
        logged_in: whose session the command that comes with a file is of; None of nobody's.
    """
    register = streamer.register_stream_processing

    def bounded(channel: str, topic: str, factory: ConsumerFactory, **options: Any) -> None:
        if channel == StreamChannel.UPLOAD:
            factory = _Uploads(factory, logged_in)
            options["stream_done_cb"] = _if_whole(options["stream_done_cb"])
        register(channel=channel, topic=topic, factory=factory, **options)

    streamer.register_stream_processing = bounded


def _if_whole(submit: Callable[..., Any]) -> Callable[..., Any]:
    """FLARE would submit what came of a file that was refused, too; here the answer says why it was."""

    def done(stream_ctx: StreamContext, fl_ctx: FLContext, **more: Any) -> Any:
        if stream_ctx[StreamContextKey.RC] == ReturnCode.OK:
            return submit(stream_ctx, fl_ctx, **more)
        return stream_ctx.get(REFUSAL)

    return done


@contextlib.contextmanager
def _told_why(stream_ctx: StreamContext) -> Iterator[None]:
    """Note for the answer why a file is refused, which FLARE only logs."""
    try:
        yield
    except (FedginError, OSError) as error:
        if isinstance(error, OSError):
            said: FedginError = NotWrittenError(f"the server cannot write the job: {error.strerror}", ROOM)
        else:
            said = error
        stream_ctx[REFUSAL] = refusal(str(said))
        raise


def refusal(reason: str) -> str:
    """Return what FLARE's console takes for the server's answer to a command that failed."""
    conn = Connection()
    conn.append_error(reason, meta=make_meta("upload", info=reason))
    return str(conn.close())


def _logged_in(server: Any, said: Any) -> str | None:
    admin = server.admin_server
    _, _, conn = admin._create_conn(said)
    session = admin.sess_mgr.get_session(conn.get_token(), admin.get_id_asserter())
    return None if session is None else str(session.user_name)


class _Upload(ObjectConsumer):
    """One file; FLARE's own consumer writes it."""

    def __init__(self, stock: ObjectConsumer, stream_ctx: StreamContext, size: int, person: str) -> None:
        self._stock, self._stream, self._left, self._ended = stock, stream_ctx, size, False
        self.person = person

    def consume(self, shareable: Shareable, stream_ctx: StreamContext, fl_ctx: FLContext) -> tuple[bool, Shareable]:
        data = shareable.get(KEY_DATA)
        # FLARE's consumer writes an array whole, and counts its rows.
        self._left -= 0 if data is None else memoryview(data).nbytes
        with _told_why(stream_ctx):
            if self._ended or self._left < 0:
                raise ConfigError("the file is larger than was said, or too many came at once", FIX)
            proceed, reply = self._stock.consume(shareable, stream_ctx, fl_ctx)
        return proceed, reply

    def finalize(self, stream_ctx: StreamContext, fl_ctx: FLContext) -> None:
        with _told_why(stream_ctx):  # what is left of the file may be written only here
            self._stock.finalize(stream_ctx, fl_ctx)

    def end(self) -> None:
        """Remove the file, unless a job of the server's store has become of it."""
        self._ended = True
        with contextlib.suppress(OSError):  # it closes all the same
            self._stock.finalize(self._stream, FLContext())  # an open file keeps its place on the disk
        Path(self._stream[KEY_FILE_LOCATION]).unlink(missing_ok=True)

    def give_up(self) -> None:
        """Remove the file, and let FLARE forget what came with it, under the lock that the caller holds now."""
        self.end()
        forget = self._stream[StreamContextKey.END_STREAM]
        threading.Thread(target=forget, args=(ReturnCode.TASK_ABORTED, FLContext()), daemon=True).start()


class _Refused(ObjectConsumer):
    """Takes nothing of a file: FLARE sends no reason where there is no consumer."""

    def __init__(self, error: FedginError | OSError) -> None:
        self._error = error

    def consume(self, shareable: Shareable, stream_ctx: StreamContext, fl_ctx: FLContext) -> tuple[bool, Shareable]:
        with _told_why(stream_ctx):
            raise self._error

    def finalize(self, stream_ctx: StreamContext, fl_ctx: FLContext) -> None:
        pass


class _Uploads(ConsumerFactory):
    def __init__(self, stock: ConsumerFactory, logged_in: Callable[[Any], str | None]) -> None:
        self._stock = stock
        self._logged_in = logged_in
        self._lock = threading.Lock()
        self._open: list[_Upload] = []

    def get_consumer(self, stream_ctx: StreamContext, fl_ctx: FLContext) -> ObjectConsumer:
        """Open a file; where there are too many, the oldest is given up of the person who sends most.

        What cannot be taken, such as a file of nobody who is logged in, gets a consumer that says so.
        """
        try:
            person, size = self._check(stream_ctx)
            stock = self._stock.get_consumer(stream_ctx, fl_ctx)
        except (FedginError, OSError) as error:
            return _Refused(error)
        made = _Upload(stock, stream_ctx, size, person)
        with self._lock:
            self._open.append(made)
            given_up = self._pop_one_too_many()
        if given_up:
            given_up.give_up()
        return made

    def _check(self, stream_ctx: StreamContext) -> tuple[str, int]:
        """Return who sends a file, and its size in bytes.

        Raises:
            ConfigError: the sender is no console with a session, or the file is too large.
        """
        person = self._logged_in(stream_ctx.get("conn_data"))
        if person is None:
            raise ConfigError("a file came from nobody who is logged in", "log in again")
        size = stream_ctx.get(KEY_FILE_SIZE)
        if not isinstance(size, int) or not 0 <= size <= LARGEST_UPLOAD:
            raise ConfigError(f"the job has more than {LARGEST_UPLOAD:,} bytes", FIX)
        return person, size

    def _pop_one_too_many(self) -> _Upload | None:
        """Nobody takes the place of others: who sends many files crowds out their own."""
        if len(self._open) <= AT_ONCE:
            return None
        [(person, _)] = Counter(upload.person for upload in self._open).most_common(1)
        number = next(number for number, upload in enumerate(self._open) if upload.person == person)
        return self._open.pop(number)

    def return_consumer(self, consumer: ObjectConsumer, stream_ctx: StreamContext, fl_ctx: FLContext) -> None:
        """Remove what is left of a file once FLARE has done with it."""
        if isinstance(consumer, _Upload):
            with self._lock:
                self._open = [upload for upload in self._open if upload is not consumer]
            consumer.end()
