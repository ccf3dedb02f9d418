"""What the project lead starts: submit, follow, simulate, read results."""
