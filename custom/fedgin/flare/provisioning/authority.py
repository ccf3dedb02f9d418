"""The project's certificate authority: FLARE's provisioning state, run as a child process."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Collection
from datetime import datetime
from pathlib import Path

import yaml
from cryptography import x509

from fedgin.errors import ConfigError, FedginError
from fedgin.files import write_text


class ProvisioningError(FedginError):
    """FLARE's provisioning failed; no kit was changed."""

    code = "FG-060"


class Authority:
    """Runs ``nvflare provision`` in a folder that only its owner can read.

    The folder holds the root's and every participant's private key, and the key of the encryption that sites share. It
    never leaves the lead's machine.

    Args:
        folder: made when missing, with mode 0700.
        project: the project's name.
    """

    def __init__(self, folder: Path, project: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        self.folder = folder
        self.workspace = folder / project
        self.state = self.workspace / "state" / "cert.json"
        self.encryption_keys = self.workspace / "state"

    def build(self, project: dict[str, object], *, renew: Collection[str] = ()) -> Path:
        """Make kits for everybody in the project file; certificates that exist stay as they are.

        Args:
            project: of ``nvflare provision``.
            renew: participants whose certificates are dropped first, so that FLARE makes new ones with new keys.

        Returns:
            Folder with one folder a participant. The caller moves what it needs and calls :meth:`discard`.

        Raises:
            ProvisioningError: FLARE refused the project; all certificates are as they were.
        """
        self.discard()
        before = self._read()
        if renew:
            self._write({name: entry for name, entry in before.items() if name not in renew})
        try:
            return self._provision(project)
        except BaseException:  # an interrupt, too, must not lose a certificate
            if before:
                self._write(before)
            raise

    def _provision(self, project: dict[str, object]) -> Path:
        file = self.folder / "project.yml"
        write_text(file, yaml.safe_dump(project, sort_keys=False))
        command = [sys.executable, "-m", "nvflare.cli", "provision", "-p", str(file), "-w", str(self.folder), "--force"]
        # FLARE's command keeps settings under HOME; the lead's own HOME is left alone.
        env = {**os.environ, "HOME": str(self.folder)}
        done = subprocess.run(command, env=env, capture_output=True, text=True, umask=0o077, check=False)
        self._protect()
        made = sorted(self.workspace.glob("prod_*"))
        if done.returncode != 0 or not made:
            lines = (done.stdout + done.stderr).strip().splitlines()
            raise ProvisioningError(
                f"FLARE's provisioning ended with code {done.returncode}: {' | '.join(lines[-3:])}",
                "correct sites.yaml or the policies; kits issued before are as they were",
            )
        return made[-1]

    def _write(self, state: dict[str, object]) -> None:
        write_text(self.state, json.dumps(state))
        self._protect()

    def expiry(self, name: str) -> datetime | None:
        """Return the end of a certificate's validity, or ``None`` when there is none yet."""
        certificate = self._certificate(name)
        return None if certificate is None else certificate.not_valid_after_utc

    def hosts(self, name: str) -> set[str] | None:
        """Return the names and addresses that a certificate holds, or ``None`` when there is none yet."""
        certificate = self._certificate(name)
        if certificate is None:
            return None
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return {str(host.value) for host in found}

    def _certificate(self, name: str) -> x509.Certificate | None:
        entry = self._read().get(name)
        if not isinstance(entry, dict):
            return None
        return x509.load_pem_x509_certificate(entry["cert"].encode("ascii"))

    def discard(self) -> None:
        """Remove unpacked kits: each holds a private key."""
        for folder in self.workspace.glob("prod_*"):
            shutil.rmtree(folder)

    def _read(self) -> dict[str, object]:
        if not self.state.is_file():
            return {}
        try:
            values: dict[str, object] = json.loads(self.state.read_text(encoding="utf-8"))
        except (UnicodeDecodeError, json.JSONDecodeError):
            raise ConfigError(f"{self.state}: damaged", "restore it from the backup of this folder") from None
        return values

    def _protect(self) -> None:
        """FLARE writes all private keys readable by everybody."""
        for folder, _, files in os.walk(self.folder):
            Path(folder).chmod(0o700)
            for name in files:
                path = Path(folder, name)
                path.chmod(0o700 if path.stat().st_mode & 0o100 else 0o600)
