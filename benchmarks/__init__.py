"""Ratios, measured in one run, and attacks. A package by name: a dependency installs one that is called the same."""
