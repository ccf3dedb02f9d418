"""The FLARE parts: thin adapters between FLARE's tasks and our trainer. The only package that imports nvflare."""
