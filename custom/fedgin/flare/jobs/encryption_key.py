"""The keys for encrypted updates in a kit's startup folder; only a site's has the secret key."""

from nvflare.lighter.constants import ProvFileName

SERVER_KEY, SITE_KEY = ProvFileName.SERVER_CONTEXT_TENSEAL, ProvFileName.CLIENT_CONTEXT_TENSEAL
NO_KEY = "the project lead sets encryption_key in sites.yaml, provisions again and sends the new kits"
