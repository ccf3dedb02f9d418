"""Kits that are started twice, on a used port, or where they cannot run; with real processes, ports and locks."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedgin.deploy.holder import LOCK, running
from fedgin.deploy.start import KitStartError, hold
from fedgin.errors import ConfigError

# A module of Python's own stands for FLARE's server: it listens on the port that it is given.
STARTER = [sys.executable, "-m", "fedgin.deploy.start"]


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free: int = probe.getsockname()[1]
        return free


def site_kit(folder: Path) -> Path:
    (folder / "startup").mkdir(parents=True)
    return folder


def server_kit(folder: Path, port: int) -> Path:
    settings = {"servers": [{"service": {"target": f"server.example.org:{port}"}}]}
    (site_kit(folder) / "startup" / "fed_server.json").write_text(json.dumps(settings))
    return folder


@contextlib.contextmanager
def started(kit: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [*STARTER, str(kit), "http.server", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while not answers(port):
                assert process.poll() is None
                time.sleep(0.05)
            yield process
        finally:
            process.kill()


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def test_a_second_server_on_a_port_ends_with_one_line_and_the_first_goes_on(tmp_path: Path, port: int) -> None:
    first, second = (server_kit(tmp_path / name, port) for name in ("first", "second"))
    with started(first, port) as process:
        done = subprocess.run([*STARTER, str(second), "http.server"], capture_output=True, text=True, check=False)
        assert answers(port)
        assert running(first) == f"process {process.pid} on {socket.gethostname()}"
    assert done.returncode == 2
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith(f"fedgin: port {port} is held by process {process.pid} (")
    assert "Fix: stop that one first, or give this server another 'server.port'" in line


def test_a_kit_that_runs_is_not_started_again_until_its_process_is_gone(tmp_path: Path, port: int) -> None:
    kit = server_kit(tmp_path / "kit", port)
    with started(kit, port) as process:
        with pytest.raises(KitStartError, match=rf"runs already: process {process.pid} on "):
            hold(kit)
        process.kill()
        process.wait()
        hold(kit).close()
    assert running(kit) == ""


def test_a_port_is_used_also_where_its_listener_would_share_it(tmp_path: Path) -> None:
    """As FLARE's does: the kernel would let a second one listen, too."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(KitStartError, match=rf"held by process {os.getpid()} \("):
            hold(server_kit(tmp_path / "kit", listener.getsockname()[1]))


def test_of_two_servers_that_start_at_once_one_is_refused(tmp_path: Path, port: int) -> None:
    with (
        hold(server_kit(tmp_path / "first", port)),
        pytest.raises(KitStartError, match=f"port {port} is held by a server that is just starting"),
    ):
        hold(server_kit(tmp_path / "second", port))
    hold(tmp_path / "second").close()


def test_a_job_that_outlives_its_parent_holds_neither_kit_nor_port(tmp_path: Path, port: int) -> None:
    kit = server_kit(tmp_path / "kit", port)
    held = hold(kit)
    # FLARE spawns jobs without closing what they would inherit.
    with subprocess.Popen(["sleep", "60"], close_fds=False) as job:
        held.close()
        hold(kit).close()
        job.kill()


def test_a_kit_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    kit = site_kit(tmp_path / "kit")
    (kit / LOCK).mkdir()  # root may write into a read-only folder
    with pytest.raises(KitStartError, match=r"cannot be written \(Is a directory\).*Fix: let user"):
        hold(kit)


@pytest.mark.parametrize("text", ["", "{}", '{"servers": []}', '{"servers": [{"service": {"target": "nowhere"}}]}'])
def test_damaged_settings_of_a_server_are_named(tmp_path: Path, text: str) -> None:
    kit = server_kit(tmp_path / "kit", 8002)
    (kit / "startup" / "fed_server.json").write_text(text)
    with pytest.raises(KitStartError, match=r"fed_server\.json names no port"):
        hold(kit)


@pytest.mark.parametrize("name", ["two words", "hash#1", "a'b", 'a"b', "back\\slash", "new\nline"])
def test_a_path_from_which_no_job_would_start_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"can start no job from the path of this kit.*Fix: move it"):
        hold(site_kit(tmp_path / name))


@pytest.mark.parametrize("name", ["kit", "größe", "a-b_c.d@e+f,g=h%i", "$dollar&(x)*?"])
def test_any_other_path_will_do(tmp_path: Path, name: str) -> None:
    hold(site_kit(tmp_path / name)).close()
