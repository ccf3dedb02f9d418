"""What all tests share."""

from hypothesis import HealthCheck, settings

# A busy machine fails no test. The parent is what hypothesis chose, which in CI is repeatable.
settings.register_profile("untimed", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
