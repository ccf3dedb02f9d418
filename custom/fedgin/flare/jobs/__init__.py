"""What a job is, and what it may be."""
