"""Networks by name: :mod:`~fedgin.nets.settings` says which one, :mod:`~fedgin.nets.registry` builds it."""
