"""Measures what the guard finds and what it loses: one module a row, or a few rows that belong together."""

from bench.guardrails.egress import measure as egress

ROWS = {"egress": egress}
"""Functions that measure rows, by name; each takes a console and returns rows."""
