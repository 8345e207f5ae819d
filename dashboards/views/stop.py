"""Page of the emergency stop: ends running work within one token, and refuses new work until it is cleared."""

from __future__ import annotations

from contextlib import suppress
from html import escape
from typing import Literal

import streamlit as st

from dashboards import connection, figures
from dashboards.components import failure, style
from dashboards.components.cards import box
from flightloop.errors import FlightloopError
from flightloop.runs import REASON_CHARS, Interrupt
from flightloop.subject import ID_CHARS

Scope = Literal["all", "agent", "session", "subject"]
SCOPES: dict[Scope, str] = {
    "all": "Everything",
    "agent": "One agent",
    "session": "One session",
    "subject": "One subject",
}

style.heading("Emergency stop", "ends runs and completions within a token; stays in force until it is cleared")


@st.fragment(run_every="3s")
def latched() -> None:
    with connection.answered("list what is stopped"):
        items = connection.client().interrupts.list().data
        if not items:
            st.html(
                '<div class="fl-banner fl-ok"><i class="fl-dot"></i><div><b>Nothing is stopped</b><br>'
                '<span class="fl-sub">Runs and completions are admitted.</span></div></div>'
            )
        for item in items:
            _latched(item)


def _latched(item: Interrupt) -> None:
    what = "Everything is stopped" if item.scope == "all" else f"The {item.scope} {item.target} is stopped"
    if item.tenant_id == "*":
        what += " by the deployment"
    by = f" by {item.created_by}" if item.created_by else ""
    reason = f" · {item.reason}" if item.reason else ""
    detail = f"{figures.ago(item.created_at)}{by}{reason} · {item.id}"
    text, why, action = st.columns([4, 2, 1], vertical_alignment="center")
    text.html(
        f'<div class="fl-banner fl-critical"><i class="fl-dot"></i><div><b>{escape(what)}</b><br>'
        f'<span class="fl-sub">{escape(detail)}</span></div></div>'
    )
    reason = why.text_input(
        "Reason to clear",
        max_chars=REASON_CHARS,
        placeholder="Reason to clear, kept with the stop",
        label_visibility="collapsed",
        key=f"why-{item.id}",
    )
    if action.button("Clear", key=f"clear-{item.id}", icon=":material/lock_open:", width="stretch"):
        with connection.answered("clear the interrupt"):
            connection.client().interrupts.clear(item.id, reason=reason)
            st.rerun()


def stop() -> None:
    with box("Stop", key="stop"):
        scope: Scope = st.segmented_control(
            "What to stop", list(SCOPES), default="all", required=True, format_func=SCOPES.__getitem__, key="scope"
        )
        target = _target(scope)
        reason = st.text_input(
            "Reason", max_chars=REASON_CHARS, placeholder="Kept with the interrupt and shown to everyone"
        )
        what = "everything" if scope == "all" else f"the {scope} {target or '…'}"
        if not st.session_state.get("armed"):
            ready = scope == "all" or bool(target)
            if st.button(
                f"STOP {what}",
                type="primary",
                icon=":material/emergency_home:",
                disabled=not ready,
                width="stretch",
                key="arm",
            ):
                st.session_state["armed"] = True
                st.rerun()
            return
        st.warning(
            f"This stops {what} at once and refuses new work until somebody clears it.", icon=":material/warning:"
        )
        yes, no = st.columns(2)
        if yes.button(f"Yes, stop {what} now", type="primary", width="stretch", key="confirm"):
            _raise(scope, target, reason)
        if no.button("Keep running", width="stretch", key="keep"):
            st.session_state["armed"] = False
            st.rerun()


def _target(scope: Scope) -> str | None:
    if scope == "agent":
        with connection.answered("list the agents"):
            found: str | None = st.selectbox("Agent", [agent.name for agent in connection.agents()])
            return found
    if scope == "session":
        return st.text_input("Session", placeholder="ses_…", max_chars=128).strip() or None
    if scope == "subject":
        return st.text_input("Subject", placeholder="id of the end user", max_chars=ID_CHARS).strip() or None
    return None


def _raise(scope: Scope, target: str | None, reason: str) -> None:
    st.session_state["armed"] = False
    try:
        connection.client().interrupts.create(scope=scope, target=target, reason=reason)
    except FlightloopError as error:
        failure.show("stop", error)
    else:
        st.rerun()


def past() -> None:
    with suppress(FlightloopError):  # the top of the page reports the failure
        items = [item for item in connection.client().interrupts.list(active=False).data if item.cleared_at]
        if items:
            style.tier("Earlier")
            rows = [
                {
                    "scope": item.scope,
                    "target": item.target or figures.NOTHING,
                    "reason": item.reason,
                    "by": item.created_by,
                    "stopped": f"{item.created_at.astimezone():%d %b %H:%M:%S}",
                    "cleared": f"{item.cleared_at.astimezone():%d %b %H:%M:%S}" if item.cleared_at else "",
                    "cleared by": item.cleared_by,
                    "why": item.clear_reason,
                }
                for item in items[:50]
            ]
            st.dataframe(rows, hide_index=True, width="stretch")


latched()
stop()
past()
