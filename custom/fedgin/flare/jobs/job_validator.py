"""What a job may be: checked by the server, and then by every site, before the job is deployed there.

FLARE enforces the class allow-list as well, but only when the job's process starts; the reason then stays in the log of
that site and the whole job ends. A validator's answer goes back to the project lead with the name of the site.
"""

import contextlib
from pathlib import Path

from nvflare.apis.app_validation import AppValidator
from nvflare.lighter.utils import verify_folder_signature_and_get_signers

from fedgin.config import load_settings
from fedgin.data.site import SiteContract, load_site
from fedgin.errors import ConfigError, FedginError
from fedgin.files import hash_files
from fedgin.flare.audit.security_log import Kind, record
from fedgin.flare.jobs.application import Application, read_application
from fedgin.flare.jobs.configuration import flare_config, named_classes
from fedgin.flare.jobs.encryption_key import NO_KEY, SERVER_KEY, SITE_KEY
from fedgin.flare.jobs.encryption_library import check_encryption_installed
from fedgin.flare.jobs.files import SIGNATURE_FILES
from fedgin.flare.jobs.installed import check_installed, count_parameters
from fedgin.flare.jobs.limits import check_allowed
from fedgin.kit_path import check_kit_path
from fedgin.manifest import check_manifest
from fedgin.train.pretrained_file import MODELS

# No job names it: what trains at a site runs in a process of its own, and what that needs is looked for as well.
TRAINS = "fedgin.train.site.session.SiteSession"


class JobValidator(AppValidator):
    """Refuse a job that is not exactly one of this package, or that does not fit this participant.

    Nothing of the job is imported or run: only the classes of our jobs are imported, in a process of their own, to see
    that they are installed. The decision goes into the security log; a job that cannot be recorded is refused.

    Args:
        kit: the unpacked kit; by default the working folder, which FLARE's server and client set to their ``-m``
            folder before they read ``resources.json``.
    """

    def __init__(self, kit: str = ".") -> None:
        super().__init__()
        self.kit = Path(kit).resolve()

    def validate(self, app_folder: str) -> tuple[str, dict[str, object]]:
        """Return the first cause and its fix, or an empty text; the text goes to the project lead.

        Args:
            app_folder: the application's folder, with ``config`` in it.
        """
        app = Path(app_folder)
        refusal = self._refusal(app)
        try:
            record(self.kit, Kind.JOB_REFUSED if refusal else Kind.JOB_ACCEPTED, **self._facts(app), reason=refusal)
        except FedginError as error:
            refusal = refusal or str(error)
        return refusal, {}

    def _refusal(self, app: Path) -> str:
        try:
            check_kit_path(self.kit)
            check_manifest(self.kit / "startup")
            application, parameters = _check_application(app, self.kit)
            if (self.kit / "startup" / "fed_client.json").is_file():
                contract = _check_contract(self.kit / "local" / "site.yaml")
                check_allowed(contract, application, parameters)
        except FedginError as error:
            return str(error.below(app, self.kit))
        except Exception as error:  # its text could quote a path of this machine
            unforeseen = FedginError(
                f"the job was not checked: unforeseen {type(error).__name__}",
                "run 'fedgin site doctor' here and report this line",
            )
            return str(unforeseen)
        return ""

    def _facts(self, app: Path) -> dict[str, str]:
        """Say which job it is, and whose: of the signature's certificate, not of the job's own words."""
        _, signers = verify_folder_signature_and_get_signers(str(app), str(self.kit / "startup" / "rootCA.pem"))
        names, organisations, roles = (", ".join(signer[part] for signer in signers) for part in range(3))
        return {
            # FLARE unpacks the application into RUN/app_NAME, and names the run after the job.
            "job_id": app.parent.name,
            "person": names,
            "organisation": organisations,
            "role": roles,
            "app_sha256": _app_hash(app),
        }


def _app_hash(app: Path) -> str:
    """Hash the job without its signatures: the same for the lead's folder, the server and every site."""
    files = [path for path in app.rglob("*") if path.is_file() and not path.is_symlink()]
    with contextlib.suppress(OSError):
        return hash_files(app, [path for path in files if path.name not in SIGNATURE_FILES])
    return ""


def _check_application(app: Path, kit: Path) -> tuple[Application, int]:
    """Return what a job says, and the number of its network's weights."""
    read = read_application(app)
    encrypted = read.experiment.federation.homomorphic_encryption
    if encrypted:
        check_encryption_installed()
    classes = [*named_classes([*flare_config(read.experiment, read.numbers)]), TRAINS]
    if read.experiment.collects:
        check_installed(classes)
        return read, 0
    parameters = count_parameters(read.experiment, classes, models=kit / MODELS)
    if encrypted and not any((kit / "startup" / key).is_file() for key in (SERVER_KEY, SITE_KEY)):
        raise ConfigError("this kit has no key of the encryption", NO_KEY)
    return read, parameters


def _check_contract(path: Path) -> SiteContract:
    """Check ``site.yaml``; its keys may be named to the project lead, the site's folders may not."""
    contract = load_settings(path, SiteContract)
    try:
        load_site(path)
    except ConfigError:
        raise ConfigError(
            f"{path}: 'data_root' or 'datalist' is not there", "run 'fedgin site doctor' at the site"
        ) from None
    return contract
