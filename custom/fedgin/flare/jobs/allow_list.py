"""The classes that our jobs may name. FLARE refuses every other one, at the server and at each site."""

from collections.abc import Iterator
from typing import Any

ALLOWED_CLASSES = (
    "fedgin.flare.server.aggregator.ClientWeightedAggregator",
    "fedgin.flare.server.encryption.CiphertextFilter",
    "fedgin.flare.client.executor.FedginExecutor",
    "fedgin.flare.server.model.initial_network",
    "fedgin.flare.server.model_selector.AcceptedModelSelector",
    "fedgin.flare.server.round_recorder.RoundRecorder",
    "fedgin.flare.server.checkpoint_keeper.CheckpointKeeper",
    "nvflare.app_common.shareablegenerators.full_model_shareable_generator.FullModelShareableGenerator",
    "nvflare.app_common.widgets.convert_to_fed_event.ConvertToFedEvent",
    "nvflare.app_common.widgets.metrics_artifact_writer.MetricsArtifactWriter",
    "nvflare.app_common.widgets.validation_json_generator.ValidationJsonGenerator",
    "nvflare.app_common.workflows.cross_site_model_eval.CrossSiteModelEval",
    "nvflare.app_common.workflows.scatter_and_gather.ScatterAndGather",
    "nvflare.app_opt.he.model_decryptor.HEModelDecryptor",
    "nvflare.app_opt.he.model_encryptor.HEModelEncryptor",
    "nvflare.app_opt.he.model_shareable_generator.HEModelShareableGenerator",
    "nvflare.app_opt.pt.file_model_locator.PTFileModelLocator",
    "nvflare.app_opt.pt.file_model_persistor.PTFileModelPersistor",
    "nvflare.app_opt.tracking.tb.tb_receiver.TBAnalyticsReceiver",
)
# Keys under which FLARE's configurations name something to import.
CLASS_KEYS = ("path", "class_path", "name")


def resources() -> dict[str, object]:
    """Return the part of FLARE's ``local/resources.json`` that makes it enforce :data:`ALLOWED_CLASSES`."""
    return {"class_allow_list": list(ALLOWED_CLASSES), "class_list_enforcement_mode": "enforce"}


def named_classes(configuration: Any) -> Iterator[str]:
    """Yield every class name of a configuration, however deep; FLARE finds its own classes by a bare name, too."""
    elements = [configuration]
    for element in elements:
        if isinstance(element, dict):
            yield from (element[key] for key in CLASS_KEYS if isinstance(element.get(key), str))
            elements += element.values()
        elif isinstance(element, list):
            elements += element
