"""Page of a run: what it did, step by step, and actions on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import streamlit as st

from dashboards import connection, figures
from dashboards.attached import attached, message_text
from dashboards.components import badges, code_view, failure, image_reading, runtable, stepview, style, timeline
from dashboards.components.approvals import decide_run
from dashboards.components.cards import Reading, box, strip
from dashboards.generation import attempts_of, generated, prompt_of
from dashboards.health import now
from dashboards.steps import bars_of, steps_of
from flightloop.content import TextPart
from flightloop.errors import FlightloopError
from flightloop.events import RunEvent
from flightloop.runs import WAITING, Run, RunStatus, RunUsage
from flightloop.subject import shown_subject
from flightloop.usage import Amounts

Kind = Literal["primary", "secondary"]
RESUMABLE = (RunStatus.INTERRUPTED, RunStatus.FAILED)


def events_of(run: Run) -> list[RunEvent]:
    """The run's events so far. Only new ones are fetched."""
    kept: dict[str, list[RunEvent]] = st.session_state.setdefault("events", {})
    if run.id not in kept:
        kept.clear()
    events = kept.setdefault(run.id, [])
    events += connection.client().runs.events(run.id, after=events[-1].seq if events else 0)
    return events


def header(run: Run) -> None:
    style.heading("Run", f"{run.id} · {run.agent} · created {figures.ago(run.created_at)}")
    why = f"{run.stop_reason.value.replace('_', ' ')}" if run.stop_reason else ""
    plan = [badges.pill(f"plan: {' → '.join(run.plan)}", badges.GREY)] if run.plan else []
    badges.row(badges.status(run.status), f"<span>{why}</span>", *plan)
    if run.erased_at:
        told = f"Erased {figures.ago(run.erased_at)}: texts, arguments, results and images are gone, for good."
        st.info(told, icon=":material/delete_forever:")
    if run.error:
        st.error(stepview.plain(f"{run.error.code}: {run.error.message}"), icon=":material/error:")


def actions(run: Run) -> None:
    """Shows buttons for what this run's status allows."""
    api = connection.client().runs
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.page_link("views/runs.py", label="All runs", icon=":material/arrow_back:")
        if run.parent:
            caller = run.parent.callers[-1]
            works_for, query = f"Works for {caller.agent}", {"id": caller.run_id}
            st.page_link("views/run.py", label=works_for, icon=":material/account_tree:", query_params=query)
        if not run.status.terminal:
            _button("Cancel at the next step", ":material/cancel:", lambda: api.cancel(run.id))
            _button("Stop now", ":material/emergency_home:", lambda: api.interrupt(run.id), kind="primary")
        if (
            run.status in RESUMABLE and not run.parent and not run.erased_at
        ):  # a calling run has already received this run's result
            _button("Resume", ":material/play_arrow:", lambda: api.resume(run.id), kind="primary")
        if run.status.terminal and not run.erased_at:
            _rating(run)
            solved = st.popover("Outcome", icon=":material/fact_check:")
            with solved:
                st.caption("Is the outcome what the user wanted?")
                _button("Solved", ":material/check:", lambda: api.outcome(run.id, solved=True, by="console"))
                _button("Not solved", ":material/close:", lambda: api.outcome(run.id, solved=False, by="console"))
        st.page_link(
            "views/chat.py",
            label="Conversation",
            icon=":material/forum:",
            query_params={"session": run.session_id, "agent": run.parent.callers[0].agent if run.parent else run.agent},
        )


def _button(label: str, icon: str, act: Callable[[], object], kind: Kind = "secondary") -> None:
    if st.button(label, icon=icon, type=kind, key=f"act-{label}"):
        try:
            act()
        except FlightloopError as error:
            failure.show(label.lower(), error)
        else:
            st.rerun()


def _rating(run: Run) -> None:
    given = f"Rated {run.feedback.score} of 5" if run.feedback else "Rate"
    with st.popover(given, icon=":material/star:"), st.form("rating", border=False):
        stars = st.feedback("stars", default=run.feedback.score - 1 if run.feedback else None)
        resolved = st.toggle("The user's question is resolved", value=run.feedback.resolved if run.feedback else True)
        comment = st.text_input("Comment", max_chars=2000)
        if st.form_submit_button("Save") and stars is not None:
            with connection.answered("save the rating"):
                connection.client().runs.feedback(run.id, score=stars + 1, resolved=resolved, comment=comment or None)
                st.rerun()


def readings(run: Run) -> list[Reading]:
    own, others, bound = run.usage, run.delegated, run.budget
    used = Amounts.of(own) + Amounts.of(others)
    prompt, new = own.prompt_tokens + others.prompt_tokens, own.completion_tokens + others.completion_tokens
    return [
        Reading("Steps", f"{used.steps} / {bound.steps}" if bound.steps else f"{used.steps}", "Used of the budget."),
        Reading("Tool calls", f"{own.tool_calls + others.tool_calls}"),
        Reading("Tokens", figures.count(used.tokens), f"{prompt:,} prompt, {new:,} new"),
        Reading("Working time", figures.seconds(used.seconds), "Time that a worker held the run."),
        Reading("Cost", figures.euros(used.cost)),
        Reading("Confidence", figures.share(run.confidence), "Mean over its decisions."),
    ]


DOING = {
    RunStatus.WAITING_APPROVAL: "waits for a person",
    RunStatus.WAITING_AGENT: "waits for another agent that works on a call …",
}


def body(run: Run) -> None:
    events = events_of(run)
    steps = steps_of(events)
    strip(readings(run), key="run")
    if run.delegated.steps:
        st.caption(f"Of this, its sub-runs used {_used(run.delegated)}")
    doing = "" if run.status.terminal else DOING.get(run.status, "at work …")
    made = generated(run, steps)
    if made:
        stepview.conversation([TextPart(text=prompt_of(message_text(run.input)))], None)
        code_view.show(made, attempts_of(made, steps), key=run.id)
    else:
        stepview.conversation(run.input, run.output, waiting=doing)
    image_reading.show(run, attached(events))
    if run.status in WAITING:
        decide_run(run)
    bars = bars_of(events, run.ended_at or now())
    if bars:
        with box("Timeline", key="timeline"):
            timeline.waterfall(bars)
    if any(call.performed_by for step in steps for call in step.calls.values()):
        subruns(run)
    style.tier("Steps")
    stepview.show(steps)
    with st.expander("Details", icon=":material/info:"):
        asked_by = run.parent.run_id if run.parent else ""
        details = {
            "run": run.id,
            "works for": asked_by,
            "subject": shown_subject(run.subject),
            "session": run.session_id,
            "policy": run.policy_sha256,
        }
        style.pairs({name: value for name, value in details.items() if value})
        if run.subject and run.subject.claims:
            st.caption("Claims about the subject, as the caller's key vouched for them")
            style.pairs({name: str(value) for name, value in run.subject.claims.items()})
        if run.metadata:
            st.caption("Metadata, as the caller wrote it")
            style.pairs(run.metadata)


def subruns(run: Run) -> None:
    """Shows the sub-runs of other agents. For a fork, shows none: they belong to the original run."""
    found = connection.client().runs.list(parent=run.id, limit=200)
    if found.data:
        style.tier("Runs that work for it")
        runtable.show(found.data, key="subruns", callers=False)
    if found.has_more:
        st.caption("The latest 200.")


def _used(usage: RunUsage) -> str:
    steps = "1 step" if usage.steps == 1 else f"{usage.steps} steps"
    tokens, took = f"{figures.count(usage.tokens)} tokens", figures.seconds(usage.seconds)
    return " · ".join([steps, tokens, took, figures.euros(usage.cost)])


def page() -> None:
    run_id = st.query_params.get("id")
    if not run_id:
        style.heading("Run")
        style.empty("No run chosen", "Choose one on the page Runs.")
        st.page_link("views/runs.py", label="All runs", icon=":material/arrow_back:")
        return
    with connection.answered(f"show the run {run_id}"):
        run = connection.client().runs.get(run_id)
        st.fragment(show, run_every=None if run.status.terminal else "1s")(run_id, run.status)


def show(run_id: str, began_as: RunStatus) -> None:
    with connection.answered(f"show the run {run_id}"):
        run = connection.client().runs.get(run_id)
        header(run)
        actions(run)
        body(run)
        if run.status.terminal and not began_as.terminal:
            st.rerun()  # once more, then without refreshing


page()
