"""Compare arms (local, centralised, federated) on the same sites and report what was measured."""
