"""The command line: one verb a file, which parses and prints; the work is done elsewhere.

A verb imports what it works with when it runs, not before, so that help and every mistyped option come at once.
"""
