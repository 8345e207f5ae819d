"""Rows of ``python -m bench guardrails``, by name: one module each, or a few rows that belong together."""

from bench.guardrails.agentdojo import agentdojo
from bench.guardrails.cross_subject import cross_subject
from bench.guardrails.detection import detection
from bench.guardrails.disguises import disguises_found
from bench.guardrails.egress import egress
from bench.guardrails.faults import faults_executed
from bench.guardrails.hostile_text import hostile_text
from bench.guardrails.injected_writes import injected_writes
from bench.guardrails.personal_data import ordinary_texts, personal_data
from bench.guardrails.step_times import step_times
from bench.guardrails.tampering import tampering

ROWS = {
    "cross_subject": cross_subject,
    "egress": egress,
    "injected_writes": injected_writes,
    "tampering_missed": tampering,
    "disguises_found": disguises_found,
    "faults_executed": faults_executed,
    "hostile_text_ms": hostile_text,
    "rails_ms": step_times,
    "agentdojo": agentdojo,
}
DATA_ROWS = {"pii": personal_data, "pii_ordinary": ordinary_texts, "detection": detection}
"""Rows that need a data set."""
