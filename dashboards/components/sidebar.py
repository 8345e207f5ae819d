"""The sidebar: the platform, whether it needs attention, and the visitor's key."""

from __future__ import annotations

from html import escape

import streamlit as st

from dashboards import connection, login
from dashboards.components import badges
from dashboards.health import Level, findings, worst
from flightloop.errors import FlightloopError
from flightloop.keys import Role

LABEL = {Level.OK: ("all well", badges.GREEN), Level.WARNING: ("look here", badges.AMBER)}
ROLE = {Role.VIEWER: badges.GREY, Role.APPROVER: badges.AMBER, Role.OPERATOR: badges.BLUE, Role.ADMIN: badges.VIOLET}


def show() -> None:
    with st.sidebar:
        _state()
        _visitor()


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


def _visitor() -> None:
    caller = connection.current().caller
    with st.container(key="visitor"):
        tenant = f'<span style="opacity:.55">tenant {escape(caller.tenant_id)}</span>'
        badges.row(f"<b>{escape(caller.name)}</b>", badges.pill(caller.role, ROLE[caller.role]), tenant)
        st.button("Log out", icon=":material/logout:", key="log-out", width="stretch", on_click=login.log_out)
