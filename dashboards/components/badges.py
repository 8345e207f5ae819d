"""Statuses and verdicts as small coloured labels, the same on all pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape

import streamlit as st

from flightloop.runs import RunStatus
from flightloop.verdicts import Action, Verdict

GREEN, BLUE, AMBER, RED, GREY, VIOLET = "#12A594", "#4F6BED", "#E5A000", "#E5484D", "#7C8496", "#7C66DC"

STATUS = {
    RunStatus.QUEUED: ("queued", GREY),
    RunStatus.RUNNING: ("running", BLUE),
    RunStatus.WAITING_APPROVAL: ("waits for approval", AMBER),
    RunStatus.WAITING_AGENT: ("waits for another agent", BLUE),
    RunStatus.SUCCEEDED: ("succeeded", GREEN),
    RunStatus.FAILED: ("failed", RED),
    RunStatus.BLOCKED: ("blocked", VIOLET),
    RunStatus.INTERRUPTED: ("stopped", RED),
    RunStatus.CANCELLED: ("cancelled", GREY),
}
ACTION = {Action.ALLOW: GREEN, Action.REDACT: AMBER, Action.ASK: AMBER, Action.BLOCK: RED}
CALL = {
    "ok": ("done", GREEN),
    "failed": ("failed", RED),
    "denied": ("denied", RED),
    "waiting": ("waits for approval", AMBER),
    "running": ("running", BLUE),
    "proposed": ("proposed", GREY),
}


def pill(text: str, colour: str, hint: str = "") -> str:
    """HTML of a label."""
    return f'<span class="fl-pill" style="--c:{colour}" title="{escape(hint)}">{escape(text)}</span>'


def status(value: RunStatus) -> str:
    return pill(*STATUS[value])


def row(*labels: str) -> None:
    """Shows labels side by side."""
    st.html(f'<div class="fl-pills">{"".join(labels)}</div>')


def verdicts(found: Sequence[Verdict]) -> list[str]:
    """A label for each verdict that changed something, and one per stage with the number of passed checks."""
    passed = Counter(verdict.stage for verdict in found if verdict.action is Action.ALLOW)
    labels = [
        pill(f"{verdict.rail}: {verdict.action.value}", ACTION[verdict.action], verdict.reason)
        for verdict in found
        if verdict.action is not Action.ALLOW
    ]
    for stage, count in passed.items():
        rails = ", ".join(each.rail for each in found if each.stage is stage and each.action is Action.ALLOW)
        checks = "1 check" if count == 1 else f"{count} checks"
        labels.append(pill(f"✓ {checks} of {stage.value.replace('_', ' ')}", GREEN, rails))
    return labels
