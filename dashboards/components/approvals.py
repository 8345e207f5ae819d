"""Shows a call that waits for approval, with what a person needs to decide."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Literal

import streamlit as st

from dashboards import connection, figures
from dashboards.components import badges, failure, stepview, style
from dashboards.components.cards import box
from dashboards.health import now
from flightloop.errors import FlightloopError
from flightloop.provenance import Origin, Source
from flightloop.runs import Approval, Run, RunStatus
from flightloop.shown import shown
from flightloop.subject import shown_subject


def card(item: Approval) -> None:
    """Shows the call, the reason for asking, and the two buttons."""
    left = (item.expires_at - now()).total_seconds()
    time_left = ("expired", badges.RED) if left <= 0 else (f"{figures.seconds(left)} left", badges.AMBER)
    with box("", key=f"approval-{item.id}"):
        badges.row(
            f"<b>{escape(item.tool)}</b>",
            badges.pill(item.agent, badges.BLUE),
            *([badges.pill(f"for {shown_subject(item.subject)}", badges.BLUE)] if item.subject else []),
            badges.pill(*time_left),
            f'<span style="opacity:.6">asked {figures.ago(item.created_at)}</span>',
        )
        _words(item)
        _rules(item)
        for figure in item.figures:
            st.caption(stepview.plain(figure))
        _persons(item)
        # JSON distinguishes 5 from "5" and shows blanks and line breaks.
        style.pairs({name: json.dumps(value, ensure_ascii=False) for name, value in item.arguments.items()})
        _sources(item.sources)
        _dry_run(item)
        reason = st.text_input(
            "Reason",
            key=f"reason-{item.id}",
            placeholder="Reason, kept with the decision",
            label_visibility="collapsed",
        )
        with st.container(horizontal=True, gap="small", vertical_alignment="center"):
            if st.button("Approve", type="primary", icon=":material/check:", key=f"approve-{item.id}"):
                _decide(item, "approve", reason)
            if st.button("Deny", icon=":material/close:", key=f"deny-{item.id}"):
                _decide(item, "deny", reason)
            st.page_link(
                "views/run.py", label="See the run", icon=":material/account_tree:", query_params={"id": item.run_id}
            )


def _words(item: Approval) -> None:
    """Shows the user's latest message as a quotation."""
    if item.words:
        st.caption("The user wrote")
        with st.container(border=True):
            st.markdown(stepview.plain(shown(item.words)))


def _rules(item: Approval) -> None:
    """Shows each rule that asks for a person, with its rail."""
    for asked in item.asked or [item.reason]:
        st.markdown(stepview.plain(shown(asked)))


def _dry_run(item: Approval) -> None:
    """Shows the changes that the call would make. They are text of a tool, so they are shown as code."""
    if item.dry_run is None:
        return
    st.caption(f"What would change, as {stepview.plain(item.dry_run.tool)} tells it")
    if item.dry_run.ok:
        st.code(shown(item.dry_run.text), language=None, wrap_lines=True)
    else:
        st.caption(f":material/warning: {stepview.plain(shown(item.dry_run.told))}")


def _persons(item: Approval) -> None:
    """Shows the decisions that are needed, and those that were made."""
    if item.progress:
        st.caption(f":material/group: {stepview.plain(shown(item.progress))}")
    for one in item.decisions:
        said = f"{one.by} approved {figures.ago(one.at)}" + (f": {one.reason}" if one.reason else "")
        st.caption(f":material/check: {stepview.plain(shown(said))}")


def _sources(sources: Sequence[Source]) -> None:
    """Shows the sources of the values. Those that nobody vouches for come first and stand out."""
    trusted = (Origin.USER, Origin.RECORD)
    for source in sorted(sources, key=lambda one: one.origin in trusted):
        sign = ":material/check:" if source.origin in trusted else ":material/warning:"
        st.caption(f"{sign} {stepview.plain(shown(source.text))}")


def _decide(item: Approval, decision: Literal["approve", "deny"], reason: str) -> None:
    try:
        decided = connection.client().approvals.decide(item.id, decision=decision, reason=reason or None)
    except FlightloopError as error:
        failure.show(f"{decision} this call", error)
        return
    done = "approved by you; another person must approve" if decided.status == "pending" else decided.status
    st.toast(f"{item.tool} {done}", icon=":material/check:")
    st.rerun()


def decide_run(run: Run) -> None:
    """Shows the pending calls of a run and of its sub-runs."""
    api = connection.client()
    waiting = api.runs.list(session_id=run.session_id, status=RunStatus.WAITING_APPROVAL, limit=200).data
    concerned = {each.id for each in waiting if run.id in (each.id, *_callers(each))}
    for item in api.approvals.list(limit=200).data if concerned else ():
        if item.run_id in concerned:
            card(item)


def _callers(run: Run) -> list[str]:
    return [caller.run_id for caller in run.parent.callers] if run.parent else []
