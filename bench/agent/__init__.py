"""Compares agent runtimes: costs of a step, and time to resume a run whose worker was killed."""
