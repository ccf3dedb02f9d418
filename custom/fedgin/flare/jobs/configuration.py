"""FLARE's configuration of a job, made of its experiment and a few numbers: the only one that any participant accepts.

A class that our jobs name has arguments that they do not set, and some of those read or write files. So a job's
configuration is not searched for what is bad: it must be the one that is written here.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from nvflare.app_common.app_constant import AppConstants

from fedgin.flare.jobs.numbers import Numbers
from fedgin.flare.protocol import FEDERATED, FINGERPRINT, METRIC_LOGGED, METRICS_SENT, ORGANS
from fedgin.train.experiment import EVALUATED_MODEL, Experiment, FederationSettings
from fedgin.train.pretrained_file import MODELS

SURVEY = "nvflare.app_common.workflows.broadcast_and_process.BroadcastAndProcess"
# Seconds for the other sites once min_clients have said which organs they label, and for all of them: it takes no work.
SURVEY_WAIT, SURVEY_TIMEOUT = 30, 600
CONTROLLER = "nvflare.app_common.workflows.scatter_and_gather.ScatterAndGather"
EVALUATION = "nvflare.app_common.workflows.cross_site_model_eval.CrossSiteModelEval"
HE, PT = "nvflare.app_opt.he", "nvflare.app_opt.pt"
TRAIN, VALIDATE, SUBMIT_MODEL = AppConstants.TASK_TRAIN, AppConstants.TASK_VALIDATION, AppConstants.TASK_SUBMIT_MODEL
WIDGETS = "nvflare.app_common.widgets"
RESULTS = "fedgin.flare.server.cross_site_results.CrossSiteResults"
RECORDER = "fedgin.flare.server.round_recorder.RoundRecorder"
EXECUTOR = "fedgin.flare.client.executor.FedginExecutor"
# Ids of a workflow: after training, in a job that evaluates a model, and in one that collects fingerprints.
FINAL_EVALUATION, EVALUATION_ALONE, COLLECTION = "cross_site_eval", "evaluation", "fingerprints_of_sites"
# Where FLARE deploys these files of the job at the server.
EXPERIMENT_AT_SERVER = "{WORKSPACE}/{JOB_ID}/app_server/config/experiment.yaml"
MODEL_AT_SERVER = f"{{WORKSPACE}}/{{JOB_ID}}/app_server/config/{EVALUATED_MODEL}"
# In the server's kit, which no job can change.
MODELS_AT_SERVER = f"{{WORKSPACE}}/{MODELS.as_posix()}"
# Seconds that a site waits for the server's process of the job, which first builds the network. FLARE's own 60 are too
# few for a busy machine, and a site that gives up ends the job.
SERVER_STARTS = 600


def first_round(experiment: Experiment) -> int:
    """Return the round, counted from 0, in which a job begins."""
    return experiment.resumes.round if experiment.resumes else 0


def flare_config(experiment: Experiment, numbers: Numbers) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return ``config_fed_server.json`` and ``config_fed_client.json`` of a job.

    Args:
        experiment: of the job; says whether it trains, evaluates or collects.
        numbers: what a lead may choose.
    """
    if experiment.collects:
        return collection_server_config(numbers), collection_client_config()
    if experiment.evaluates:
        return evaluation_server_config(numbers), evaluation_client_config()
    federation = experiment.federation
    server = server_config(numbers, federation, first_round=first_round(experiment))
    return server, client_config(encrypted=federation.homomorphic_encryption)


def server_config(numbers: Numbers, federation: FederationSettings, *, first_round: int = 0) -> dict[str, Any]:
    """Return ``config_fed_server.json`` of a job that trains.

    Args:
        numbers: what a lead may choose.
        federation: of the experiment; says whether updates are encrypted, and which algorithm the server follows.
        first_round: counted from 0; a resumed job begins later.
    """
    encrypted = federation.homomorphic_encryption
    own = {"experiment": EXPERIMENT_AT_SERVER}
    start = {**own, "models": MODELS_AT_SERVER}
    network = {"model": {"path": "fedgin.flare.server.model.initial_network", "args": start}}
    persistor = network | ({"filter_id": "serializer"} if encrypted else {})
    serializer = [_component("serializer", "fedgin.flare.server.encryption.CiphertextFilter")] if encrypted else []
    events = {"events": [METRICS_SENT]}
    components = [
        _component("persistor", f"{PT}.file_model_persistor.PTFileModelPersistor", persistor),
        *serializer,
        _generator(federation, network),
        _component("aggregator", "fedgin.flare.server.aggregator.ClientWeightedAggregator", own),
        _component("model_selector", "fedgin.flare.server.model_selector.AcceptedModelSelector"),
        _component("model_locator", f"{PT}.file_model_locator.PTFileModelLocator", {"pt_persistor_id": "persistor"}),
        _component("cross_site_results", RESULTS),
        _component("round_metrics", "fedgin.flare.server.round_metrics.RoundMetricsWriter"),
        _component("round_recorder", RECORDER),
        _component("checkpoint_keeper", "fedgin.flare.server.checkpoint_keeper.CheckpointKeeper"),
        _component("organ_survey", "fedgin.flare.server.organ_survey.OrganSurvey", own),
        _component("tensorboard", "nvflare.app_opt.tracking.tb.tb_receiver.TBAnalyticsReceiver", events),
    ]
    workflows = [_survey(numbers), _training(numbers, first_round), _evaluation(numbers, encrypted=encrypted)]
    return _server(numbers, workflows, components)


def evaluation_server_config(numbers: Numbers) -> dict[str, Any]:
    """Return ``config_fed_server.json`` of a job that scores a trained model: the last workflow of training, alone."""
    args = {
        "model_locator_id": "model_locator",
        "submit_model_task_name": "",
        "validation_timeout": numbers.validation_timeout,
    }
    components = [
        _component(
            "model_locator", "fedgin.flare.server.evaluated_model.EvaluatedModelLocator", {"model": MODEL_AT_SERVER}
        ),
        _component("cross_site_results", RESULTS),
        _component("round_recorder", RECORDER),
    ]
    return _server(numbers, [_component(EVALUATION_ALONE, EVALUATION, args)], components)


def collection_server_config(numbers: Numbers) -> dict[str, Any]:
    """Return ``config_fed_server.json`` of a job that asks each site once for its fingerprint."""
    components = [
        _component("collector", "fedgin.flare.server.fingerprint_collector.FingerprintCollector"),
        _component("round_recorder", RECORDER),
    ]
    return _server(numbers, [_ask(COLLECTION, "collector", FINGERPRINT, numbers)], components)


def _server(numbers: Numbers, workflows: list[dict[str, Any]], components: list[dict[str, Any]]) -> dict[str, Any]:
    server = {key: getattr(numbers, key) for key in ("heart_beat_timeout", "task_request_interval")}
    components = [*components, _component("request_pace", "fedgin.flare.server.request_pace.RequestPace")]
    return {"format_version": 2, "server": server, "workflows": workflows, "components": components}


def _generator(federation: FederationSettings, network: Mapping[str, Any]) -> dict[str, Any]:
    """Return what makes a round's model of the last one and the mean of the updates."""
    path = "nvflare.app_common.shareablegenerators.full_model_shareable_generator.FullModelShareableGenerator"
    args: dict[str, Any] = {}
    if federation.homomorphic_encryption:
        path = f"{HE}.model_shareable_generator.HEModelShareableGenerator"
    elif optimizer := federation.algorithm.server_optimizer():
        path = "fedgin.flare.server.server_optimizer.ServerOptimizer"
        # FLARE would build every class that it finds; this one it builds when the run starts, with the weights.
        args = {"optimizer_args": {**optimizer, "config_type": "dict"}, "source_model": network["model"]}
    return _component("shareable_generator", path, args)


def _component(identity: str, path: str, args: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"id": identity, "path": path, "args": dict(args or {})}


def _survey(numbers: Numbers) -> dict[str, Any]:
    return _ask("organs_of_sites", "organ_survey", ORGANS, numbers)


def _ask(identity: str, processor: str, task: str, numbers: Numbers) -> dict[str, Any]:
    """Return the workflow that gives every site a task once, and all answers to a component."""
    args = {
        "processor": processor,
        "task_name": task,
        "min_responses_required": numbers.min_clients,
        "wait_time_after_min_received": SURVEY_WAIT,
        "timeout": SURVEY_TIMEOUT,
    }
    return _component(identity, SURVEY, args)


def _training(numbers: Numbers, first_round: int) -> dict[str, Any]:
    args = {
        "min_clients": numbers.min_clients,
        "num_rounds": numbers.num_rounds,
        "start_round": first_round,
        "wait_time_after_min_received": numbers.wait_time_after_min_received,
        "train_timeout": numbers.train_timeout,
        "aggregator_id": "aggregator",
        "persistor_id": "persistor",
        "shareable_generator_id": "shareable_generator",
        "train_task_name": TRAIN,
        "task_check_period": numbers.task_check_period,
        "memory_gc_rounds": 5,
    }
    return _component("scatter_and_gather", CONTROLLER, args)


def _evaluation(numbers: Numbers, *, encrypted: bool) -> dict[str, Any]:
    # No site of an encrypted job is asked for its own model, which would be readable.
    own = {"submit_model_task_name": ""} if encrypted else {"submit_model_timeout": numbers.submit_model_timeout}
    args = {"model_locator_id": "model_locator", **own, "validation_timeout": numbers.validation_timeout}
    return _component(FINAL_EVALUATION, EVALUATION, args)


def client_config(*, encrypted: bool) -> dict[str, Any]:
    """Return ``config_fed_client.json`` of a job that trains.

    The filters of an encrypted job run at the sites, in their defaults: all layers are encrypted, each multiplied by
    the site's own weight.
    """
    tasks = [ORGANS, TRAIN, VALIDATE] if encrypted else [ORGANS, TRAIN, VALIDATE, SUBMIT_MODEL]
    events = {"events_to_convert": [METRIC_LOGGED], "fed_event_prefix": FEDERATED}
    converter = f"{WIDGETS}.convert_to_fed_event.ConvertToFedEvent"
    return {
        "format_version": 2,
        "max_runner_sync_timeout": SERVER_STARTS,
        "executors": [_executor(tasks)],
        "task_result_filters": [_filter([TRAIN], f"{HE}.model_encryptor.HEModelEncryptor")] if encrypted else [],
        "task_data_filters": [_filter([TRAIN, VALIDATE], f"{HE}.model_decryptor.HEModelDecryptor")]
        if encrypted
        else [],
        "components": [_component("analytics_to_server", converter, events)],
    }


def evaluation_client_config() -> dict[str, Any]:
    """Return ``config_fed_client.json`` of a job that scores a trained model: no site can be asked to train."""
    return {
        "format_version": 2,
        "max_runner_sync_timeout": SERVER_STARTS,
        "executors": [_executor([VALIDATE])],
        "task_result_filters": [],
        "task_data_filters": [],
        "components": [],
    }


def collection_client_config() -> dict[str, Any]:
    """Return ``config_fed_client.json`` of a job that collects fingerprints: no site can be asked for anything else."""
    return evaluation_client_config() | {"executors": [_executor([FINGERPRINT])]}


def _executor(tasks: list[str]) -> dict[str, Any]:
    return {"tasks": tasks, "executor": {"path": EXECUTOR, "args": {}}}


def _filter(tasks: list[str], path: str) -> dict[str, Any]:
    return {"tasks": tasks, "filters": [{"path": path, "args": {}}]}


def named_classes(configuration: Any) -> Iterator[str]:
    """Yield every class of a configuration that was made here, however deep."""
    if isinstance(configuration, dict):
        path = configuration.get("path")
        yield from [path] if isinstance(path, str) else []
        configuration = list(configuration.values())
    if isinstance(configuration, list):
        for part in configuration:
            yield from named_classes(part)
