"""A table of runs. Choosing a row opens the run."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from dashboards import figures
from dashboards.components import badges
from flightloop.content import text_of
from flightloop.runs import Run, RunStatus

SIGN = {
    RunStatus.QUEUED: "◌",
    RunStatus.RUNNING: "◐",
    RunStatus.WAITING_APPROVAL: "◆",
    RunStatus.WAITING_AGENT: "◇",
    RunStatus.SUCCEEDED: "●",
    RunStatus.FAILED: "✕",
    RunStatus.BLOCKED: "■",
    RunStatus.INTERRUPTED: "■",
    RunStatus.CANCELLED: "○",
}


def show(runs: Sequence[Run], key: str, *, callers: bool = True) -> None:
    """Shows the runs in the given order. A chosen row leads to the page of its run.

    Args:
        callers: also show the agents that the runs work for.
    """
    callers = callers and any(run.parent for run in runs)
    table = pd.DataFrame([_row(run) | ({"agent": _agents(run)} if callers else {}) for run in runs])
    coloured = table.style.map(_colour, subset=["status"])
    event = st.dataframe(
        coloured,
        hide_index=True,
        width="stretch",
        height="content",
        key=f"{key}-{runs[0].id}",
        on_select="rerun",
        selection_mode="single-row",
        column_config={
            "status": st.column_config.TextColumn("status", width=160),
            "input": st.column_config.TextColumn("input", width=165 if callers else 225),
            "agent": st.column_config.TextColumn("agent", width=135 if callers else 75),
            "steps": st.column_config.NumberColumn("steps", width=50),
            "tokens": st.column_config.NumberColumn("tokens", format="localized", width=65),
            "cost": st.column_config.TextColumn("cost", width=70),
            "confidence": st.column_config.ProgressColumn("confidence", format="%d %%", max_value=100, width=105),
            "created": st.column_config.TextColumn("created", width=80),
        },
    )
    chosen = event["selection"]["rows"]
    if chosen:
        st.switch_page("views/run.py", query_params={"id": runs[chosen[0]].id})


def _row(run: Run) -> dict[str, object]:
    return {
        "status": f"{SIGN[run.status]} {badges.STATUS[run.status][0]}",
        "input": " ".join(text_of(run.input).split())[:160],
        "agent": run.agent,
        "steps": run.usage.steps,
        "tokens": run.usage.tokens,
        "cost": figures.euros(run.usage.cost),
        "confidence": None if run.confidence is None else 100 * run.confidence,
        "created": figures.ago(run.created_at),
    }


def _agents(run: Run) -> str:
    return f"{run.agent}, for {run.parent.callers[-1].agent}" if run.parent else run.agent


def _colour(status: str) -> str:
    colour = {text: colour for text, colour in badges.STATUS.values()}.get(status.split(" ", 1)[1])
    return f"color: {colour}; font-weight: 600"
