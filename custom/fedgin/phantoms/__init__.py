"""Procedural CT and MR phantoms of abdomen and heart for the demo and the tests.

A phantom is drawn from formulas, published tissue tables and a seed; no patient data is involved and no result on
phantoms says anything about patients. :func:`fedgin.phantoms.site.write_site` writes a whole site.
"""
