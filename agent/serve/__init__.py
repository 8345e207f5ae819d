"""Processes of a deployment: how they start, connect and stop."""
