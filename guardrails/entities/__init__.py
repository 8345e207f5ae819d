"""Finds names, addresses and other entities that no pattern describes, with a small tagger."""
