"""The command line: one verb a file, parsing and printing only."""
