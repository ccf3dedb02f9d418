import json
from pathlib import Path

import pytest
from nvflare.apis.client import Client
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.widgets.info_collector import GroupInfoCollector, InfoCollector

from fedgin.flare.organ_table import FILE, OrganTable, read_table
from fedgin.flare.protocol import ORGANS
from fedgin.flare.server.organ_survey import OrganSurvey
from tests.flare.runs import JOB, lay_out, make_context
from tests.sites import tiny_experiment

SITES = ("ct-a", "mr-a")


class Survey:
    """A survey of a job on liver and spleen, its log, and the reasons for which it ended the job."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        workspace = lay_out(folder, "server", tiny_experiment())
        self.run = Path(workspace.get_run_dir(JOB))
        self.context: FLContext = make_context(workspace, "server", SITES)
        self.survey = OrganSurvey(str(Path(workspace.get_app_config_dir(JOB)) / "experiment.yaml"))
        self.log: list[str] = []
        self.panics: list[str] = []
        for name in ("log_info", "log_error"):
            monkeypatch.setattr(self.survey, name, lambda context, line: self.log.append(line))
        monkeypatch.setattr(self.survey, "system_panic", lambda reason, context: self.panics.append(reason))
        self.survey.create_task_data(ORGANS, self.context)

    def hear(self, site: str, answer: Shareable) -> None:
        assert self.survey.process_client_response(Client(site, "token"), ORGANS, answer, self.context)

    def end(self) -> list[str]:
        assert self.survey.final_process(self.context)
        return self.panics


@pytest.fixture
def survey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Survey:
    return Survey(tmp_path, monkeypatch)


def labels(**counts: object) -> Shareable:
    made: Shareable = DXO(DataKind.METRICS, data=counts).to_shareable()
    return made


def test_the_answers_are_told_kept_and_shown(survey: Survey) -> None:
    survey.hear("mr-a", labels(liver="<3"))
    survey.hear("ct-a", labels(spleen="12", liver="12"))
    assert survey.end() == []
    assert survey.log == [
        "site ct-a, 12 training cases, labels liver, spleen",
        "site mr-a, <3 training cases, labels liver; not spleen",
    ]
    kept = json.loads((survey.run / FILE).read_text())
    collector = GroupInfoCollector()
    survey.context.set_prop(InfoCollector.CTX_KEY_STATS_COLLECTOR, collector, private=True, sticky=False)
    survey.survey.handle_event(InfoCollector.EVENT_TYPE_GET_STATS, survey.context)
    assert kept == collector.info[ORGANS]
    assert read_table(kept) == OrganTable(
        ["liver", "spleen"], {"ct-a": {"liver": "12", "spleen": "12"}, "mr-a": {"liver": "<3"}}, []
    )


def test_an_organ_that_no_site_labels_ends_the_job(survey: Survey) -> None:
    for site in SITES:
        survey.hear(site, labels(liver="5"))
    [reason] = survey.end()
    assert reason.startswith("no site labels 'spleen'. Fix: write organs in the job as its sites do in 'labels'")


@pytest.mark.parametrize(
    "answer",
    [
        labels(livr="3"),
        labels(liver=3),
        labels(liver="3 patients"),
        labels(liver="3\x1b[2J"),
        Shareable(),
        make_reply(ReturnCode.EXECUTION_EXCEPTION),
    ],
)
def test_a_site_whose_answer_is_none_is_named_and_ends_nothing(survey: Survey, answer: Shareable) -> None:
    survey.hear("ct-a", labels(liver="5"))
    survey.hear("mr-a", answer)
    assert survey.end() == []
    assert survey.log[-1] == "site mr-a did not say which organs it labels"


@pytest.mark.parametrize("said", [None, [], {}, {"organs": 1, "sites": {}, "silent": []}, {"organs": [], "sites": []}])
def test_what_is_no_table_is_none(said: object) -> None:
    assert read_table(said) is None


def test_a_site_without_an_organ_of_the_job_is_told() -> None:
    assert OrganTable(["liver"], {"ct-a": {}}, []).lines() == ["site ct-a labels none of the job's organs"]
