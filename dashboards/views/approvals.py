"""Page of approvals: calls that wait for a person, and past decisions."""

from __future__ import annotations

from contextlib import suppress

import pandas as pd
import streamlit as st

from dashboards import connection, figures
from dashboards.components import approvals, style
from flightloop.errors import FlightloopError
from flightloop.runs import Approval

style.heading("Approvals", "calls that a person decides about")


@st.fragment(run_every="3s")
def waiting() -> None:
    with connection.answered("list the approvals"):
        page = connection.client().approvals.list(limit=50)
        for item in page.data:
            approvals.card(item)
        if page.has_more:
            st.warning("Older calls wait, too. Decide about these, or see all with `flightloop approvals`.")
        if not page.data:
            style.empty("Nothing waits", "Calls that need approval by the policy appear here.")


def decided() -> None:
    with suppress(FlightloopError):  # the top of the page reports the failure
        items = [item for item in connection.client().approvals.list(status=None).data if item.status != "pending"]
        if items:
            style.tier("Decided")
            st.dataframe(pd.DataFrame([_row(item) for item in items]), hide_index=True, width="stretch")


def _row(item: Approval) -> dict[str, str]:
    return {
        "decision": item.status,
        "tool": item.tool,
        "arguments": ", ".join(f"{name}={value}" for name, value in item.arguments.items()),
        "by": ", ".join(one.by for one in item.decisions) or item.decided_by or figures.NOTHING,
        "reason": item.decision_reason or "",
        "when": figures.ago(item.decided_at or item.expires_at),
        "run": item.run_id,
    }


waiting()
decided()
