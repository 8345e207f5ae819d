"""Chat page: talk to an agent and watch its steps and verdicts while it works."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from html import escape
from uuid import uuid4

import streamlit as st

from dashboards import connection, figures, uploads
from dashboards.attached import attached, message_text
from dashboards.components import badges, code_view, failure, image_reading, stepview, style
from dashboards.components.approvals import decide_run
from dashboards.components.follow import follow
from dashboards.generation import attempts_of, generated, prompt_of
from dashboards.steps import steps_of
from flightloop import events as ev
from flightloop.content import is_plain, text_of
from flightloop.counts import counted
from flightloop.errors import FlightloopError
from flightloop.predictions import PREDICT
from flightloop.runs import WAITING, Run, RunStatus, StopReason
from flightloop.subject import ID_CHARS, Subject, shown_subject

ASSISTANT = ":material/support_agent:"
INPUT, REFUSED = "message", "refused-message"  # keys in st.session_state


def session() -> str:
    """The session id in the URL's query, or a new one."""
    if "session" not in st.query_params:
        st.query_params["session"] = f"console-{uuid4().hex[:12]}"
    return st.query_params["session"]


def choose_agent() -> str | None:
    names: list[str] = []
    with connection.answered("list the agents"):
        names = [agent.name for agent in connection.agents()]
        if not names:
            style.empty("No agent", "A project has a file for each agent in agents/*.yaml.")
        elif PREDICT not in names:
            names.append(PREDICT)  # is built in, and reads what is uploaded
    if not names:
        return None
    wanted = st.query_params.get("agent")
    left, right = st.columns([4, 1], vertical_alignment="bottom")
    agent: str = left.selectbox("Agent", names, index=names.index(wanted) if wanted in names else 0)
    if right.button("New conversation", icon=":material/add_comment:", width="stretch"):
        st.query_params.from_dict({"agent": agent})
        st.rerun()
    return agent


def ended(run: Run) -> None:
    """Shows a finished turn: question, folded steps, answer."""
    with st.chat_message("user", avatar=":material/person:"):
        message(run)
    with st.chat_message("assistant", avatar=ASSISTANT):
        steps(run)
        if made := generated(run, done := steps_of(events_of(run))):
            code_view.show(made, attempts_of(made, done), key=run.id)
        elif run.output:
            st.markdown(stepview.plain(text_of(run.output)))
        else:
            why = run.error.message if run.error else "it ended without an answer"
            badges.row(badges.status(run.status), f"<span>{escape(why)}</span>")


def message(run: Run) -> None:
    """Shows what the user said and sent, with what was read in it."""
    said = message_text(run.input)
    made = run.status.terminal and generated(run, steps_of(events_of(run)))
    st.markdown(stepview.plain(prompt_of(said) if made else said))
    if not is_plain(run.input):
        image_reading.show(run, attached(events_of(run)), headings=False)


def steps(run: Run) -> None:
    used = run.usage
    steps, calls = counted(used.steps, "step"), counted(used.tool_calls, "tool call")
    summary = f"{steps} · {calls} · {figures.seconds(used.seconds)}"
    with st.expander(summary, icon=":material/account_tree:"):
        stepview.show(steps_of(events_of(run)), expanded=False)
        st.page_link("views/run.py", label="Open the run", icon=":material/open_in_new:", query_params={"id": run.id})


def events_of(run: Run) -> list[ev.RunEvent]:
    """The run's events so far, fetched once as long as there are no new ones."""
    kept: dict[str, tuple[int, list[ev.RunEvent]]] = st.session_state.setdefault("chat-events", {})
    if run.id not in kept or kept[run.id][0] != run.last_seq:
        kept[run.id] = run.last_seq, connection.client().runs.events(run.id)
    return kept[run.id][1]


def at_work(run: Run) -> None:
    """Shows a running turn: its steps and its text as they arrive."""
    with st.chat_message("user", avatar=":material/person:"):
        message(run)
    with st.chat_message("assistant", avatar=ASSISTANT):
        if run.status is not RunStatus.WAITING_APPROVAL and st.button(
            "Stop", icon=":material/stop_circle:", key=f"stop-{run.id}"
        ):
            with connection.answered("stop the run"):
                connection.client().runs.interrupt(run.id)
        if run.status in WAITING:
            with st.container(border=True):
                stepview.compact(steps_of(connection.client().runs.events(run.id)))
            wait(run.id)
            return
        stream(run)
    st.rerun()


@st.fragment(run_every="2s")
def wait(run_id: str) -> None:
    """Shows pending approvals of the run and its sub-runs. Reruns the page once the run no longer waits."""
    with connection.answered("look at the run"):
        run = connection.client().runs.get(run_id)
        if run.status not in WAITING:
            st.rerun()
        if run.status is RunStatus.WAITING_AGENT:
            st.caption("Another agent works on it …")
        decide_run(run)


def stream(run: Run) -> None:
    """Shows events until the run ends or waits for a person or another agent."""
    place, answer = st.status("Thinking …", expanded=True), st.empty()
    inside = place.empty()
    events: list[ev.RunEvent] = []
    said = ""
    for event in follow(connection.client(), run.id):
        if event is None:
            place.update(label=f"{doing(events)} · asked {figures.ago(run.created_at)}", expanded=True)
            continue
        if isinstance(event, ev.DeltaEvent):
            said += event.text
            answer.markdown(f"{stepview.plain(said)}▌")
            continue
        events.append(event)
        said = ""
        with inside.container():
            stepview.compact(steps_of(events))
        place.update(label=doing(events), expanded=True)
        if isinstance(event, ev.RunReleased) and waits(run.id):
            return


def waits(run_id: str) -> bool:
    """Whether the run waits now; its events may show an earlier wait."""
    return connection.client().runs.get(run_id).status in WAITING


def doing(events: list[ev.RunEvent]) -> str:
    """Label of the agent's current activity, derived from its last event."""
    match events[-1] if events else None:
        case None | ev.RunCreated() | ev.RunResumed() | ev.RunReleased():
            return "Waits for a worker …"
        case ev.ToolIntent(tool=tool):
            return f"Calls {tool} …"
        case ev.Judged() | ev.Replied():
            return "Checks …"
        case _:
            return "Thinks …"


def conversation(agent: str, session_id: str) -> None:
    found = connection.client().runs.list(session_id=session_id, limit=200).data
    runs = [run for run in found if not run.parent][:30]  # the others come from an agent, not from the user
    for run in reversed(runs):
        if run.status.terminal:
            ended(run)
        else:
            at_work(run)
    if runs and runs[0].stop_reason is StopReason.CONFIRMATION:
        agree(runs[0])
    if not runs:
        style.empty(f"Talk to {agent}", "Its plan, its tool calls and every verdict appear here while it works.")


def agree(run: Run) -> None:
    """A button that says yes to the calls that a run asks about."""
    if st.button("Yes", icon=":material/check:", key=f"yes-{run.id}", help="Make the calls as they are shown"):
        send(run.agent, run.session_id, run.subject, "yes", ())
        st.rerun()


def choose_subject(session_id: str) -> Subject | str | None:
    """The end user on whose behalf the agent acts: the session's, or for a new one the id that the visitor types."""
    with connection.answered("look at the session"):
        found = connection.client().runs.list(session_id=session_id, limit=1).data
        if found:
            if found[0].subject:
                badges.row(badges.pill(f"for {shown_subject(found[0].subject)}", badges.BLUE))
            return found[0].subject
    typed = st.text_input(
        "On behalf of",
        placeholder="an end user's id; empty: nobody in particular",
        help="The agent then sees and changes what the policy binds to this user.",
        max_chars=ID_CHARS,
        key=f"subject-{session_id}",
    )
    return typed.strip() or None


def send(agent: str, session_id: str, subject: Subject | str | None, text: str, files: Sequence[uploads.File]) -> None:
    """Starts a run with a message. A message that is refused is put back into the input, and the page says why."""
    try:
        content = uploads.content_of(text, files)
        with st.spinner("Reading what you sent …") if files else nullcontext():
            connection.client().runs.create(agent=agent, input=content, session_id=session_id, subject=subject)
    except FlightloopError as error:
        st.session_state[REFUSED] = error, text
        st.rerun()


def page() -> None:
    style.heading("Chat", "talk to an agent and watch every step")
    agent = choose_agent()
    if agent is None:
        return
    session_id = session()
    subject = choose_subject(session_id)
    st.caption(uploads.LIMITS)
    error, text = st.session_state.pop(REFUSED, (None, ""))
    if error:
        st.session_state[INPUT] = text
    asked = st.chat_input(
        f"Message to {agent}",
        key=INPUT,
        max_chars=20_000,
        accept_file="multiple",
        file_type=uploads.TYPES,
        max_upload_size=uploads.MEGABYTES,
    )
    if asked and (asked.text.strip() or asked.files):
        send(agent, session_id, subject, asked.text, asked.files)
    try:
        conversation(agent, session_id)
    except FlightloopError as failed:
        failure.show("talk to the agent", failed)
    if error:  # at the end, where the page is scrolled to
        failure.show("send the message", error)


page()
