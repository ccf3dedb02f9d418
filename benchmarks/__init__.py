"""Ratios, measured in one run, and attacks. A package by name, because opacus installs one that is called the same."""
