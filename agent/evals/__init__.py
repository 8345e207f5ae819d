"""Evaluations: plays a project's tasks and judges the results."""
