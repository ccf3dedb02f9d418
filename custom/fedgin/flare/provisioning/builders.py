"""Builders for ``nvflare provision`` that close the gaps of a stock startup kit."""

import datetime
import json
from pathlib import Path
from typing import Any

import yaml
from nvflare.lighter.constants import CtxKey, ProvFileName
from nvflare.lighter.ctx import ProvisionContext
from nvflare.lighter.entity import Participant, Project
from nvflare.lighter.impl.cert import CertBuilder
from nvflare.lighter.spec import Builder
from nvflare.lighter.utils import sign_folders

from fedgin.flare.provisioning.policies import apply_policies
from fedgin.flare.provisioning.start_scripts import always_verify, guard_start
from fedgin.manifest import add_file_names, write_manifest

SITE_YAML = """# Complete this file, save it as site.yaml beside it, then run: fedgin site validate local/site.yaml
site: {name}
modality: {modality}
data_root: /data/abdomen
datalist: datalist.json
labels: {{liver: 1, spleen: 2}}   # how this site numbers organs
device: auto
cache_dir: {cache}   # never in the data, which may be read-only; validation and privacy ledger lie beside it
"""
# What the service and the container of a site may write besides the kit; its parent would be too much.
CACHE = "/srv/fedgin/work/cache"
# How long the server waits for a site's answer. FLARE's 10 s are too few for a site's first job: it loads PyTorch and
# MONAI to check it, and a site that does not answer in time fails the whole job. 60 s were too few for two sites on two
# cores that other work kept busy.
ANSWER_SECONDS = 180.0


class DatedCertBuilder(CertBuilder):
    """FLARE's certificates with a validity of the project's own; the stock builder knows 360 days only.

    Args:
        valid_days: the days of validity of the participants' certificates; never beyond the root's.
        root_valid_days: the days of validity of the root's certificate.
    """

    def __init__(self, valid_days: int, root_valid_days: int) -> None:
        super().__init__(root_valid_days=root_valid_days)
        self.valid_days = valid_days

    def _generate_cert(self, *args: Any, ca: bool = False, **kwargs: Any) -> Any:
        if not ca:
            begin = kwargs["not_valid_before"]
            end = begin + datetime.timedelta(days=self.valid_days)
            kwargs["not_valid_after"] = min(end, self.root_cert.not_valid_after_utc)
        return CertBuilder._generate_cert(*args, ca=ca, **kwargs)


class PolicyBuilder(Builder):
    """Put the project's policies and the manifest of the expected package into every kit.

    Args:
        policies: folder with ``server/`` and ``site/``.
        storage: the project's folder on the server.
        withdrawn: sites that the server refuses.
    """

    def __init__(self, policies: str, storage: str, withdrawn: list[str]) -> None:
        super().__init__()
        self.policies = Path(policies)
        self.storage = Path(storage)
        self.withdrawn = withdrawn

    def build(self, project: Project, ctx: ProvisionContext) -> None:
        """Write the server's, every site's and every person's part."""
        server = project.get_server()
        apply_policies(Path(ctx.get_local_dir(server)), self.policies / "server", storage=self.storage)
        refused = Path(ctx.get_ws_dir(server)) / "disabled_clients.json"
        refused.write_text(json.dumps({"disabled_clients": sorted(self.withdrawn)}), encoding="utf-8")
        _wait_for_answers(Path(ctx.get_kit_dir(server)) / ProvFileName.FED_SERVER_JSON)
        write_manifest(Path(ctx.get_kit_dir(server)))
        for client in project.get_clients():
            self._build_site(client, ctx)
        for participant in project.get_all_participants():
            guard_start(Path(ctx.get_kit_dir(participant)))

    def _build_site(self, client: Participant, ctx: ProvisionContext) -> None:
        local = Path(ctx.get_local_dir(client))
        apply_policies(local, self.policies / "site")
        contract = client.get_prop("contract")
        if contract:  # of a rehearsal on one machine, where the lead knows the sites' folders
            (local / "site.yaml").write_text(yaml.safe_dump(contract, sort_keys=False), encoding="utf-8")
        else:
            text = SITE_YAML.format(name=client.name, modality=client.get_prop("modality"), cache=CACHE)
            (local / "site.yaml.example").write_text(text, encoding="utf-8")
        write_manifest(Path(ctx.get_kit_dir(client)))


class KitSignatureBuilder(Builder):
    """Sign the ``startup`` folder of every kit, and let it be checked at every start.

    Since FLARE 2.9 a plain kit has no signature, and an edited one starts. With a signature FLARE's own start refuses
    changed settings, keys and certificates, and our own start changed scripts.
    """

    def build(self, project: Project, ctx: ProvisionContext) -> None:
        """Sign every participant's ``startup`` folder with the root's key."""
        key = ctx.get(CtxKey.ROOT_PRI_KEY)
        for participant in project.get_all_participants():
            folder = Path(ctx.get_kit_dir(participant))
            always_verify(folder)
            add_file_names(folder)
            sign_folders(str(folder), key, signature_file=ProvFileName.SIGNATURE_JSON)


def _wait_for_answers(config: Path) -> None:
    values = json.loads(config.read_text(encoding="utf-8"))
    for server in values["servers"]:
        server["admin_timeout"] = ANSWER_SECONDS
    config.write_text(json.dumps(values, indent=2, sort_keys=True), encoding="utf-8")
