"""Tuning: what the routed experts learn from conversations."""
