"""The sidebar: which platform this is, and whether it needs somebody."""

from __future__ import annotations

from html import escape

import streamlit as st

from dashboards import connection
from dashboards.components import badges
from dashboards.health import Level, findings, worst
from flightloop.errors import FlightloopError

LABEL = {Level.OK: ("all well", badges.GREEN), Level.WARNING: ("look here", badges.AMBER)}


def show() -> None:
    with st.sidebar:
        _state()


@st.fragment(run_every="5s")
def _state() -> None:
    try:
        situation = connection.situation()
        url = connection.client().base_url
    except FlightloopError:
        badges.row(badges.pill("no connection", badges.RED))
        return
    text, colour = LABEL.get(worst(findings(situation)), ("act now", badges.RED))
    labels = [badges.pill(text, colour)]
    if situation.approvals:
        labels.append(badges.pill(f"{len(situation.approvals)} to approve", badges.AMBER))
    if any(item.scope == "all" for item in situation.interrupts):
        labels.append(badges.pill("stopped", badges.RED))
    badges.row(*labels, f'<span style="opacity:.55">{escape(url.split("//")[-1])}</span>')
