"""Audit log: its verification, its latest records, and the policy behind a verdict."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from dashboards import connection, figures
from dashboards.audit_tail import AuditTail, unseen
from dashboards.components import badges, stepview, style
from flightloop.acts import Act
from flightloop.errors import NotFound
from flightloop.verdicts import Action, AuditRecord

SHOWN = 100
PROBLEMS = 10
CHOSEN = "audit-chosen"
"""Key of the record whose details are shown."""


def show(tail: AuditTail) -> None:
    """Shows what is known of the log.

    Raises:
        FlightloopError: an API request failed.
    """
    complete = tail.refresh()
    if not tail.records and not tail.problems:
        style.empty("No act yet", "Verdicts, approvals, stops, keys, policies and exports are recorded here.")
        return
    _state(tail, complete)
    chosen = st.pills("Acts", [act.value for act in Act], selection_mode="multi", key="audit-acts")
    changed = st.toggle("Only verdicts that changed something", value=True)
    records = [record for record in reversed(tail.records) if _wanted(record, chosen, changed)][:SHOWN]
    if not records:
        st.caption("None among the latest records.")
        return
    table = st.dataframe(
        pd.DataFrame([_row(record) for record in records]),
        hide_index=True,
        width="stretch",
        on_select="rerun",
        selection_mode="single-row",
        key=f"audit-{records[0].seq}-{changed}-{'-'.join(sorted(chosen))}",
    )
    if selected := table["selection"]["rows"]:
        st.session_state[CHOSEN] = records[selected[0]]  # stays when the table gets new rows
    if (record := st.session_state.get(CHOSEN)) is not None:
        _details(record)


def _state(tail: AuditTail, complete: bool) -> None:
    found = tail.problems
    if not found:
        state = badges.pill("log intact", badges.GREEN, "digests recomputed here, seals and checkpoints on the server")
    else:
        state = badges.pill(f"{len(found)} problems found", badges.RED)
    checked = tail.last_check
    mark = checked.checkpoint if checked else None
    covered = f"<span>checkpoint {mark.number} covers {mark.seq:,}</span>" if mark else ""
    behind = "" if complete else "<span>reading …</span>"
    badges.row(state, f"<span>{tail.read:,} records read, the latest below</span>", covered, behind)
    for problem in found[:PROBLEMS]:
        where = "" if problem.seq is None else f"record {problem.seq}: "
        st.error(stepview.plain(f"{where}{problem.problem}"))
    if checked is not None:
        with st.expander("What this can't tell"):
            for line in unseen(checked):
                st.markdown(f"- {stepview.plain(line)}")


def _wanted(record: AuditRecord, acts: Sequence[str], changed: bool) -> bool:
    if acts and record.act.value not in acts:
        return False
    return not changed or record.verdict is None or record.verdict.action is not Action.ALLOW


def _row(record: AuditRecord) -> dict[str, object]:
    verdict, actor = record.verdict, record.actor
    details = ", ".join(f"{name} {value}" for name, value in record.details.items() if value)
    return {
        "#": record.seq,
        "when": figures.ago(record.at),
        "act": f"{verdict.action.value} ({verdict.rail})" if verdict else record.act.value.replace("_", " "),
        "by": (actor.name or actor.kind.value) if actor else figures.NOTHING,
        "about": record.object or record.run_id or figures.NOTHING,
        "reason": verdict.reason if verdict else details,
        "sha256": record.sha256[:12],
    }


def _details(record: AuditRecord) -> None:
    stepview.document(record.model_dump(mode="json", exclude_none=True))
    verdict = record.verdict
    policy = verdict.policy_sha256 if verdict else record.details.get("policy_sha256") or record.details.get("after")
    if record.act is Act.POLICY_STORED:
        policy = record.object
    if not policy:
        return
    try:
        text = connection.client().policies.get(policy)
    except NotFound:
        st.caption(f"The text of the policy {policy[:12]} is not stored: it decided before texts were.")
        return
    st.subheader(f"Policy {stepview.plain(text.name)} · version {stepview.plain(text.version)}")
    st.caption(f"sha256 {text.sha256}")
    st.json(text.document, expanded=1)
