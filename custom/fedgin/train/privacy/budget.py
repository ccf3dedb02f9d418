"""Count what a site has given away: (epsilon, delta) of all noisy updates that were ever sent from one dataset.

The protected unit is the **whole dataset of the site**: for any two datasets that the site could hold, what the server
sees is (epsilon, delta)-indistinguishable, hence also for a dataset with and without one patient. Two updates of norm
C at most are up to 2 C apart, so noise of ``noise_multiplier`` times C is ``noise_multiplier`` / 2 times the
sensitivity. The smaller sensitivity C belongs to "this update or none at all", which a server that sees the site
taking part does not ask. No sampling amplifies anything: a site takes part in every round (rate 1).
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from pydantic import Field, ValidationError

from fedgin.config import Settings
from fedgin.data.privacy import Privacy
from fedgin.data.site import SiteContract
from fedgin.errors import PrivacyError
from fedgin.files import flush, locked, whole_file

# Orders of Renyi's divergence, close together from 1.00001 to 10001; the best one depends on noise and rounds.
ORDERS = [float(order) for order in 1.0 + np.geomspace(1e-5, 1e4, 600)]


def epsilon(multipliers: Sequence[float], delta: float) -> float:
    """Return epsilon of all updates together, by Renyi differential privacy.

    Opacus' accountant adds up alpha / (2 s**2) of each, s = multiplier / 2 (Mironov 2017, proposition 7), and converts
    the sum (Balle et al. 2020, theorem 21). An upper bound, about a tenth above the exact value.

    Args:
        multipliers: noise multiplier of each update sent.
        delta: chance in (0, 1) that the bound does not hold.
    """
    # Importing Opacus takes as long as importing PyTorch; only sites that add noise pay for it.
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    for multiplier in multipliers:
        accountant.step(noise_multiplier=multiplier / 2.0, sample_rate=1.0)
    spent = float(accountant.get_epsilon(delta, alphas=ORDERS))
    # The conversion gives less than 0 where delta alone is more than the noise needs. NaN stays NaN, over any budget.
    return 0.0 if spent < 0.0 else spent


class Charge(Settings):
    """One noisy update: when it was made, for which experiment and round, and with how much noise."""

    time: str = Field(max_length=40)
    experiment: str = Field(max_length=64)
    round: int = Field(ge=0)
    noise_multiplier: float = Field(ge=1e-4, le=1e3)


class _Content(Settings):
    charges: tuple[Charge, ...]
    sha256: str


class PrivacyLedger:
    """The file in which a site counts its noisy updates, over all jobs on one dataset.

    It guards the site against its own mistakes: a damaged or edited file stops every further round. It cannot guard
    against an owner who deletes it.

    Args:
        path: made with the first charge.
        counted: a file of the site's kit with the number of charges, so that a ledger which was left behind, such as
            with another ``cache_dir``, does not begin again at 0. ``None`` counts nothing.
    """

    def __init__(self, path: Path, counted: Path | None = None) -> None:
        self.path = path
        self.counted = counted

    def check(self, privacy: Privacy) -> None:
        """See that one more round fits into the budget, before hours are spent on training it.

        Raises:
            PrivacyError: it does not, or the ledger is damaged.
        """
        self._spend(self._read(), privacy)

    def charge(self, privacy: Privacy, experiment: str, round_number: int) -> float:
        """Write one more update down and return epsilon with it; call this before the update is sent.

        Raises:
            PrivacyError: over the budget, or the ledger is damaged or cannot be written; the update must not be sent.
        """
        time = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            with self._alone():
                charges = self._read()
                spent = self._spend(charges, privacy)
                assert privacy.noise_multiplier is not None
                charge = Charge(
                    time=time, experiment=experiment, round=round_number, noise_multiplier=privacy.noise_multiplier
                )
                self._keep((*charges, charge))
        except OSError as error:
            fix = "free disk space and check the folder's permissions; nothing was sent"
            place = Path(error.filename).name if error.filename else self.path.name
            raise PrivacyError(f"the privacy ledger {place} cannot be written", fix) from None
        return spent

    def _spend(self, charges: Sequence[Charge], privacy: Privacy) -> float:
        assert privacy.noise_multiplier is not None
        assert privacy.delta is not None
        assert privacy.epsilon_budget is not None
        spent = epsilon([*(charge.noise_multiplier for charge in charges), privacy.noise_multiplier], privacy.delta)
        # Written so that NaN, too, is over the budget.
        if not spent <= privacy.epsilon_budget:
            raise PrivacyError(
                f"the privacy budget is spent: one more round makes epsilon {spent:.4g} at delta {privacy.delta:g}, "
                f"the site allows {privacy.epsilon_budget:g}",
                "leave the job, or let those who answer for the data decide on another epsilon_budget",
            )
        return spent

    def _read(self) -> tuple[Charge, ...]:
        sent = self._count()  # first: another job writes it last
        charges = self._kept() if self.path.exists() else ()
        if len(charges) < sent:
            raise PrivacyError(
                f"the privacy ledger {self.path.name} has {len(charges)} of the {sent} noisy updates that this site "
                "has sent",
                "move the folder fedgin-privacy along with cache_dir, or restore it from a backup; if site.yaml has "
                f"another dataset than before, move {self.counted.name if self.counted else ''} away",
            )
        return charges

    def _count(self) -> int:
        if self.counted is None or not self.counted.exists():
            return 0
        try:
            return int(self.counted.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            fix = "write the number of charges of the ledger into it"
            raise PrivacyError(f"{self.counted.name} beside site.yaml is damaged", fix) from None

    def _kept(self) -> tuple[Charge, ...]:
        try:
            content = _Content.model_validate_json(self.path.read_bytes())
        except (OSError, ValidationError):
            content = None
        if content is None or content.sha256 != _digest(content.charges):
            fix = "restore it from a backup; without it nobody knows what was spent"
            raise PrivacyError(f"the privacy ledger {self.path.name} is damaged or was edited", fix)
        return content.charges

    def _keep(self, charges: tuple[Charge, ...]) -> None:
        """Write the ledger and the count, or neither: a charge is final, so that the count is on the disk before it."""
        if self.counted is None:
            self._write(charges)
            return
        with whole_file(self.counted) as part:
            part.write_text(f"{len(charges)}\n", encoding="utf-8")
            flush(part)
            self._write(charges)

    def _write(self, charges: tuple[Charge, ...]) -> None:
        content = _Content(charges=charges, sha256=_digest(charges))
        with whole_file(self.path) as part, part.open("w", encoding="utf-8") as file:
            file.write(content.model_dump_json(indent=1) + "\n")
            file.flush()
            # A charge must survive a power loss: the update may have been sent by then.
            os.fsync(file.fileno())

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep a second job on the same dataset from charging at the same time."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.path.with_suffix(".lock")):
            yield


def ledger_of(contract: SiteContract, source: Path | None = None) -> PrivacyLedger:
    """Return the ledger of a site's dataset: beside the cache, not in it, because caches get deleted.

    Args:
        contract: of the site.
        source: its ``site.yaml``, beside which charges are counted, too.
    """
    counted = source.with_suffix(".charges") if source else None
    return PrivacyLedger(contract.cache_dir.parent / "fedgin-privacy" / "ledger.json", counted)


def _digest(charges: Sequence[Charge]) -> str:
    text = json.dumps([charge.model_dump() for charge in charges], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
