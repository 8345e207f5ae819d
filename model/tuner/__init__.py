"""Tuning: trains the routed experts on conversations."""
