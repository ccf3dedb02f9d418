"""Measurements, each run by hand as a module of its own; they print ratios and seconds, and no test depends on them."""
