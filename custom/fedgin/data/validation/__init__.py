"""Prove that a site's dataset is right before it trains: every case is checked, and every finding says what to do."""

from fedgin.data.validation.findings import Finding, Severity, worst
from fedgin.data.validation.run import Validation, validate_site

__all__ = ["Finding", "Severity", "Validation", "validate_site", "worst"]
