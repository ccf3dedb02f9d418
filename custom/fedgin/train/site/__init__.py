"""A site's part in a federation, without FLARE."""
