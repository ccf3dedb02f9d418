from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.fuel.sec.authz import AuthorizationService, Authorizer, AuthzContext, Person
from nvflare.security.security import COMMAND_CATEGORIES

from fedgin.flare.audit.security_events import SecurityEvents
from fedgin.flare.audit.security_log import Event, Kind, read_log

META = {
    "job_id": "6f7f",
    "name": "abdomen",
    "submitter_name": "lead@example.org",
    "submitter_org": "office",
    "submitter_role": "lead",
    "job_clients": [{"name": "ct-a"}],
}
SUBMITTER = ("abdomen", "6f7f", "lead@example.org", "office", "lead")


def whose(event: Event) -> tuple[str, ...]:
    return (event.job, event.job_id, event.person, event.organisation, event.role)


def at_server(**props: Any) -> FLContext:
    context = FLContext()
    manager = SimpleNamespace(get_job=lambda job_id, _: SimpleNamespace(meta=META) if job_id == "6f7f" else None)
    context.set_prop("__engine__", SimpleNamespace(job_def_manager=manager), private=True, sticky=False)
    for key, value in props.items():
        context.set_prop(getattr(FLContextKey, key), value, private=True, sticky=False)
    return context


def at_site(command: str) -> FLContext:
    return at_server(COMMAND_NAME=command, SECURITY_ITEMS={FLContextKey.JOB_META: META})


def test_the_server_records_an_offer_with_name_and_submitter(tmp_path: Path) -> None:
    SecurityEvents(str(tmp_path)).handle_event(EventType.DEPLOY_JOB_TO_SERVER, at_server(CURRENT_JOB_ID="6f7f"))
    [event] = read_log(tmp_path).events
    assert (event.kind, whose(event)) == (Kind.JOB_OFFERED, SUBMITTER)


def test_a_site_records_an_offer_and_no_other_command(tmp_path: Path) -> None:
    events = SecurityEvents(str(tmp_path))
    for command in ("check_status", "submit_job", "abort_job"):
        events.handle_event(EventType.AUTHORIZE_COMMAND_CHECK, at_site(command))
    [event] = read_log(tmp_path).events
    assert (event.kind, whose(event)) == (Kind.JOB_OFFERED, SUBMITTER)


ANSWERS = ["server: OK", "ct-a: OK", "mr-a: Error: names 'os.system'", "num_ok_sites 1 < required_min_sites 2"]


@pytest.mark.parametrize("deployed", [True, False])
def test_each_refusing_site_is_recorded_once_with_its_reason(tmp_path: Path, deployed: bool) -> None:
    """A job may run without the site, or end; it is aborted later with the same answers still in the context."""
    events = SecurityEvents(str(tmp_path))
    context = at_server(CURRENT_JOB_ID="6f7f", JOB_DEPLOY_DETAIL=ANSWERS, EVENT_DATA={"job_id": "6f7f"})
    for event_type in [EventType.JOB_DEPLOYED] * deployed + [EventType.JOB_ABORTED] * 2:
        events.handle_event(event_type, context)
    [event] = read_log(tmp_path).events
    assert (event.kind, whose(event)) == (Kind.DEPLOYMENT_REFUSED, SUBMITTER)
    assert (event.participant, event.reason) == ("mr-a", "Error: names 'os.system'")


def test_a_job_that_was_deleted_meanwhile_is_recorded_by_its_id(tmp_path: Path) -> None:
    context = at_server(JOB_DEPLOY_DETAIL=["server: no"], EVENT_DATA={"job_id": "gone"})
    SecurityEvents(str(tmp_path)).handle_event(EventType.JOB_ABORTED, context)
    assert read_log(tmp_path).events[0].job_id == "gone"


@pytest.fixture
def authoriser(monkeypatch: pytest.MonkeyPatch) -> None:
    stock = Authorizer("office", COMMAND_CATEGORIES)
    rights = {"member": {"view": "any", "submit_job": "none"}}
    assert stock.load_policy({"format_version": "1.0", "permissions": rights}) == ""
    monkeypatch.setattr(AuthorizationService, "the_authorizer", stock)


@pytest.mark.usefixtures("authoriser")
def test_a_command_that_the_role_does_not_allow_is_recorded_and_stays_refused(tmp_path: Path) -> None:
    events, member = SecurityEvents(str(tmp_path)), Person("m@example.org", "office", "member")
    asked = [AuthzContext(right=right, user=member) for right in ("check_status", "submit_job")]
    stock = [AuthorizationService.authorize(context) for context in asked]
    for _ in range(2):
        events.handle_event(EventType.SYSTEM_START, at_server())
    assert [AuthorizationService.authorize(context) for context in asked] == stock
    assert [allowed for allowed, _ in stock] == [True, False]
    [event] = read_log(tmp_path).events
    assert (event.kind, event.command) == (Kind.COMMAND_REFUSED, "submit_job")
    assert (event.person, event.organisation, event.role) == ("m@example.org", "office", "member")
    assert event.reason == stock[1][1] != ""


@pytest.mark.usefixtures("authoriser")
def test_a_log_that_cannot_be_written_changes_no_decision(tmp_path: Path) -> None:
    events = SecurityEvents(str(tmp_path / "nowhere"))
    events.handle_event(EventType.SYSTEM_START, at_server())
    context = AuthzContext(right="submit_job", user=Person("m@example.org", "office", "member"))
    assert AuthorizationService.authorize(context)[0] is False
