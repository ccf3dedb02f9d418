"""A site leaves: what the person who withdraws it is told."""

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fedgin.cli.main import app
from fedgin.flare.run.console import ConsoleError


class Server:
    """Refuses any name, and answers as FLARE's ``ServerEngine.disable_clients`` does."""

    def __init__(self, *connected: str) -> None:
        self.connected = set(connected)
        self.refused: set[str] = set()

    def disable_client(self, name: str) -> dict[str, Any]:
        answer = {
            "client_name": name,
            "state": "disabled",
            "already_disabled": name in self.refused,
            "active_session_removed": name in self.connected,
        }
        self.refused.add(name)
        self.connected.discard(name)
        return {"clients": [answer]}

    def get_connected_client_list(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name=name) for name in self.connected]


def withdraw(monkeypatch: pytest.MonkeyPatch, server: Server, site: str) -> Result:
    @contextlib.contextmanager
    def connect(kit: object) -> Iterator[Server]:
        yield server

    monkeypatch.setattr("fedgin.flare.run.console.connect", connect)
    return CliRunner().invoke(app, ["withdraw", site, "--kit", "kit"])


def test_a_connected_site_is_refused_also_when_it_is_withdrawn_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server("hospital-a", "hospital-b")
    for _ in range(2):
        done = withdraw(monkeypatch, server, "hospital-b")
        assert done.exit_code == 0, done.exception
        assert "hospital-b is refused by the server from now on" in done.output
    assert server.refused == {"hospital-b"}


def test_a_name_that_no_connected_site_has_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server("hospital-c", "hospital-a")
    done = withdraw(monkeypatch, server, "hospital-b")
    assert isinstance(done.exception, ConsoleError)
    assert done.exception.problem == (
        "no site hospital-b was connected; connected: hospital-a, hospital-c. "
        "The server refuses hospital-b all the same, should it come back"
    )
    assert "enable_client hospital-b" in done.exception.fix
    assert "is refused by the server" not in done.output
