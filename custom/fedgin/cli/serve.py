"""``fedgin serve``: a DICOM node that segments what it is sent."""

import logging
import os
import signal
import stat
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from fedgin.cli.format import Format
from fedgin.cli.options import Output
from fedgin.cli.tables import print_rows
from fedgin.errors import DataError

if TYPE_CHECKING:
    from fedgin.deploy.node.settings import NodeSettings


def serve(
    bundle: Annotated[Path, typer.Argument(help="Folder that 'fedgin export' wrote.")],
    config: Annotated[Path, typer.Option(help="node.yaml: who may send, where results go.")],
    status: Annotated[bool, typer.Option("--status", help="Print what is in the spool, and end.")] = False,
    output: Output = Format.TEXT,
) -> None:
    """Receive studies over DICOM, segment each, and send SEG and SR to the archive.

    What was acknowledged is on disk first. Results that cannot be sent are tried again. Ctrl-C ends the node; the next
    start goes on.

    Example: fedgin serve bundle --config node.yaml
    """
    from fedgin.data.dicom.header import quiet_reading
    from fedgin.deploy.bundle import NOT_A_DEVICE
    from fedgin.deploy.node.settings import load_node
    from fedgin.folders import folder_to_itself

    console = Console(highlight=False, soft_wrap=True)
    settings = load_node(config)
    if status:
        _print_status(settings, output)
        return
    console.print(NOT_A_DEVICE)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("fedgin.node").setLevel(logging.INFO)
    # Its lines quote what peers say.
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    # For the whole process: its threads read headers at any time.
    with quiet_reading(), folder_to_itself(settings.spool, "the spool of a DICOM node"):
        _close_to_others(settings.spool)
        _serve(bundle, settings, console)


def _close_to_others(spool: Path) -> None:
    """Let nobody but its user and group read the spool: it holds patient data, whatever the umask is.

    Raises:
        DataError: others can read it, and it is somebody else's folder.
    """
    mode = spool.stat().st_mode
    if not mode & 0o007:
        return  # of a group, such as a container's volume
    try:
        spool.chmod(stat.S_IMODE(mode) & ~0o077)
    except PermissionError:
        fix = f"let its owner run 'chmod o-rwx {spool}', or choose another 'spool'"
        raise DataError("everybody on this machine can read the spool", fix) from None


def _serve(bundle: Path, settings: "NodeSettings", console: Console) -> None:
    from fedgin.deploy.node.listener import Listener
    from fedgin.deploy.node.spool import Spool
    from fedgin.deploy.node.work import Worker
    from fedgin.deploy.predict import open_segmenter

    spool, stop = Spool(settings.spool), threading.Event()
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda *_: stop.set())
    segmenter = open_segmenter(bundle)
    listener = Listener(settings, spool)
    listener.start()
    console.print(f"{settings.ae_title} listens on {settings.address}:{settings.port}")
    try:
        Worker(settings, spool, listener, segmenter).run(stop.is_set)
    finally:
        listener.stop()
    console.print("Stopped. What is in the spool goes on with the next start.")


def _print_status(settings: "NodeSettings", output: Format) -> None:
    from fedgin.deploy.node.spool import Spool

    if os.path.lexists(settings.spool) and not os.access(settings.spool, os.R_OK | os.X_OK):
        raise DataError("the spool may be read by its user and group alone", "run this as the node's user")
    rows = []
    for key, images, state in Spool(settings.spool).rows():
        wait = max(0.0, state.next_try - time.time())
        when = f"in {wait:.0f} s" if state.pending else ""
        rows.append((key, images, state.phase.value, len(state.pending), when, state.said()))
    print_rows(("study", "images", "phase", "to send", "next try", "what happened"), rows, output)
