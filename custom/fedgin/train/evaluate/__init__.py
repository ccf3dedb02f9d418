"""Segment cases with a network and score them."""
