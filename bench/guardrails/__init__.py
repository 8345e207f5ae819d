"""Rows of ``python -m bench guardrails``, by name: one module each."""

from bench.guardrails.cross_subject import cross_subject

ROWS = {
    "cross_subject": cross_subject,
}
