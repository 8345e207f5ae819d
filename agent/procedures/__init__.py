"""Procedures: programs that decide the steps of a run in place of a model's plan."""
