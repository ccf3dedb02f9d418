"""From ``sites.yaml`` to startup kits: FLARE's own provisioning, with our policies and without its known gaps."""
