"""Shows the steps of a run: decisions, verdicts, calls with arguments and results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any
from urllib.parse import quote

import streamlit as st

from dashboards import figures
from dashboards.attached import message_text
from dashboards.components import badges
from dashboards.steps import CallView, StepView
from flightloop import events as ev
from flightloop.approvals import why_asked
from flightloop.content import Content, text_of
from flightloop.shown import shown
from flightloop.verdicts import Action

ICONS = {"Plan": ":material/map:", "Reply": ":material/chat:", "Input": ":material/input:"}
LONGEST_JSON = 20_000
AGENT_RUN = "Another agent's run"


def show(steps: Sequence[StepView], *, expanded: bool = True) -> None:
    for step in steps:
        title = step.title if step.number == 0 else f"{step.number} · {step.title}"
        with st.expander(plain(title), expanded=expanded, icon=ICONS.get(step.title, ":material/build:")):
            _decision(step)
            if step.verdicts:
                badges.row(*badges.verdicts(step.verdicts))
                _reasons(step)
            for call in step.calls.values():
                _call(call)
            if step.compacted:
                _compacted(step.compacted)


def compact(steps: Sequence[StepView]) -> None:
    """Shows a few lines per step, for a running run."""
    st.html(f'<div class="fl-steps">{"".join(_line(step) for step in steps)}</div>')


def _line(step: StepView) -> str:
    said = step.decision.goal if isinstance(step.decision, ev.Planned) else ""
    head = f'<b>{escape(step.title)}</b><span style="opacity:.7">{escape(said)}</span>'
    rows = [f'<div class="fl-pills">{head}{"".join(badges.verdicts(step.verdicts))}</div>']
    for call in step.calls.values():
        given = ", ".join(f"{name}={value}" for name, value in call.arguments.items())
        state = badges.pill(*badges.CALL[call.state])
        labels = f"{state}{''.join(badges.verdicts(call.verdicts))}{_agent_run(call)}"
        rows.append(f'<div class="fl-pills"><code>{escape(call.tool)}({escape(given[:160])})</code>{labels}</div>')
        if call.result:
            told = json.dumps(call.result.content, ensure_ascii=False) if call.result.ok else call.result.error or ""
            rows.append(f"<code>→ {escape(told[:240])}</code>")
    number = str(step.number) if step.number else ""
    return f'<div class="fl-step"><i>{number}</i><div>{"".join(rows)}</div></div>'


def _agent_run(call: CallView) -> str:
    return f'<a href="run?id={quote(call.performed_by)}">{AGENT_RUN}</a>' if call.performed_by else ""


def _decision(step: StepView) -> None:
    decision = step.decision
    if decision is None:
        return
    if isinstance(decision, ev.Planned):
        st.markdown(f"**Goal** {plain(decision.goal)}")
        if decision.tools:
            badges.row(*(badges.pill(tool, badges.BLUE) for tool in decision.tools))
    elif isinstance(decision, ev.Replied) or decision.text:
        st.markdown(plain(decision.text))
    st.caption(_model(decision.model))


def _compacted(event: ev.ContextCompacted) -> None:
    runs = f" and {len(event.runs)} earlier runs of the session" if event.runs else ""
    st.caption(
        f"A summary replaces {event.through_step} steps{runs} in the model's context:"
        f" {event.tokens_before} → {event.tokens_after} of {event.limit} tokens"
    )
    if event.digest:
        st.code("\n".join(event.digest), language=None, wrap_lines=True)


def _model(call: ev.ModelCall) -> str:
    parts = [
        f"{call.usage.prompt_tokens} + {call.usage.completion_tokens} tokens",
        figures.seconds(call.seconds),
    ]
    if call.ttft_seconds is not None:
        parts.append(f"first token {figures.seconds(call.ttft_seconds)}")
    if call.confidence is not None:
        parts.append(f"confidence {call.confidence:.0%}")
    if call.withheld is not None:
        parts.append(f"calls withheld at a confidence of {call.withheld:.0%}")
    if call.mean_entropy is not None:
        parts.append(f"entropy {call.mean_entropy:.2f} nats")
    return " · ".join([*parts, figures.euros(call.cost)])


def _reasons(step: StepView) -> None:
    for verdict in step.verdicts:
        if verdict.action is not Action.ALLOW and verdict.reason:
            st.caption(plain(f"{verdict.rail}: {verdict.reason}"))


def _call(call: CallView) -> None:
    with st.container(border=True):
        state = badges.pill(*badges.CALL[call.state])
        took = f"<span>{figures.seconds(call.result.seconds)}</span>" if call.result else ""
        badges.row(f"<b>{escape(call.tool)}</b>", state, took, *badges.verdicts(call.verdicts))
        if call.performed_by:
            query = {"id": call.performed_by}
            st.page_link("views/run.py", label=AGENT_RUN, icon=":material/account_tree:", query_params=query)
        left, right = st.columns(2, gap="medium")
        with left:
            st.caption("Arguments")
            document(call.arguments)
        with right:
            st.caption("Result")
            _result(call)
        _persons(call)
        if call.result and call.result.traceback:
            with st.expander("Traceback", icon=":material/bug_report:"):
                st.code(shown(call.result.traceback), language=None, wrap_lines=True)


def _persons(call: CallView) -> None:
    """Who decided about the call."""
    for given in call.given:
        st.caption(plain(shown(f"{given.by} approved, {given.given} of {given.needed}. {given.reason or ''}")))
    if call.decided and call.decided.by:
        done = "approved" if call.decided.decision == "approve" else "denied"
        st.caption(plain(shown(f"{call.decided.by} {done}. {call.decided.reason or ''}")))
    for one in call.decided.decisions if call.decided else ():
        if one.note:
            st.caption(plain(shown(f"{one.by} {one.note}")))


def _result(call: CallView) -> None:
    if call.result is None:
        st.caption(plain(why_asked(call.asked.reason, call.asked.asked)) if call.asked else "no result yet")
        return
    if call.result.ok:
        document(call.result.content)
    else:
        st.markdown(f":red[{plain(call.result.error or 'failed')}]")
    if call.result.tries > 1:
        st.caption(f"{call.result.tries} tries")
    if call.result.note:
        st.caption(plain(call.result.note))
    if call.result.tainted:
        st.caption(":orange[A rail found something like an instruction in it.]")


def document(value: Any) -> None:
    """Shows a JSON value as code, shortened if it is long."""
    text = value if isinstance(value, str) else json.dumps(value, indent=1, ensure_ascii=False, default=str)
    cut = text if len(text) <= LONGEST_JSON else f"{text[:LONGEST_JSON]}\n… {len(text) - LONGEST_JSON} more characters"
    st.code(cut, language="json" if not isinstance(value, str) else None, wrap_lines=True)


def plain(text: str) -> str:
    """Escapes text of users and models, so that it isn't read as Markdown."""
    escaped = "".join(f"\\{char}" if char in "\\`*_{}[]()#+-.!$~:|<>" else char for char in text)
    return escaped.replace("\n", "  \n")


def conversation(asked: Content, answered: Content | None, *, waiting: str = "") -> None:
    """Shows what the user said and what the agent answered."""
    with st.chat_message("user", avatar=":material/person:"):
        st.markdown(plain(message_text(asked)))
    if answered or waiting:
        with st.chat_message("assistant", avatar=":material/support_agent:"):
            st.markdown(plain(text_of(answered)) if answered else f":gray[{waiting}]")
