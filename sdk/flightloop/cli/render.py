"""Renders runs and their events for a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from textwrap import indent
from typing import Any

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from flightloop import events as ev
from flightloop.approvals import Approval, why_asked
from flightloop.content import text_of
from flightloop.counts import counted
from flightloop.provenance import Origin, Source
from flightloop.runs import Run, RunStatus
from flightloop.subject import shown_subject
from flightloop.verdicts import Action, Verdict

_STATUS_STYLE = {
    RunStatus.SUCCEEDED: "green",
    RunStatus.RUNNING: "cyan",
    RunStatus.QUEUED: "dim",
    RunStatus.WAITING_APPROVAL: "yellow",
    RunStatus.WAITING_AGENT: "cyan",
    RunStatus.CANCELLED: "dim",
}
_ACTION_STYLE = {Action.ALLOW: "green", Action.REDACT: "yellow", Action.ASK: "yellow", Action.BLOCK: "bold red"}
_LONGEST = 300


def short(value: Any, longest: int = _LONGEST) -> str:
    """A value on one line: text unchanged, anything else as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = on_one_line(text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def on_one_line(text: str) -> str:
    """The text without line breaks, so that it looks like nothing that the command itself prints."""
    return " ".join(text.split())


def under_label(text: str) -> str:
    """The whole text behind a label. Its other lines are indented, so that they look like nothing that the command
    itself prints."""
    return indent(text.strip(), " " * 7).lstrip()


def whole(arguments: dict[str, Any]) -> Text:
    """All arguments of a call that waits for approval, uncut, one per line."""
    values = {name: json.dumps(value, ensure_ascii=False, default=str) for name, value in arguments.items()}
    # A name that is not plain is quoted, since it could hold line breaks and so look like several arguments.
    lines = (f"    {name if name.isidentifier() else json.dumps(name)} = {value}" for name, value in values.items())
    return Text("\n".join(lines) or "    without arguments")


def moment(at: datetime, now: datetime | None = None) -> str:
    """Local time, with the date unless it is today."""
    at, now = at.astimezone(), (now or datetime.now(UTC)).astimezone()
    return f"{at:%H:%M}" if at.date() == now.date() else f"{at:%d %b %H:%M}"


def line_or_lines(parts: Sequence[str], width: int) -> str:
    """Parts on one line if they fit, otherwise one per line, so that ids are never broken."""
    line = " · ".join(parts)
    return line if cell_len(line) <= width else "\n".join(parts)


def status_text(status: RunStatus) -> Text:
    return Text(status.value, style=_STATUS_STYLE.get(status, "red"))


def event_line(event: ev.RunEvent) -> Text | None:
    """One line that describes an event; None for internal events."""
    match event:
        case ev.Planned():
            return Text.assemble(("plan   ", "bold"), event.goal, (f"  [{' → '.join(event.tools)}]", "dim"))
        case ev.CallsDecided(problem=str()):
            return Text.assemble(("withdrawn ", "bold red"), short(event.problem), _model(event.model))
        case ev.CallsDecided():
            return Text.assemble(
                ("decide ", "bold"), ", ".join(call.function.name for call in event.calls), _model(event.model)
            )
        case ev.Replied():
            return Text.assemble(("reply  ", "bold"), under_label(event.text), _model(event.model))
        case ev.Judged():
            return _verdict(event.verdict)
        case ev.ToolIntent():
            return Text.assemble(("call   ", "bold cyan"), f"{event.tool}({_arguments(event.arguments)})")
        case ev.ToolResult():
            return _result(event)
        case _:
            return _lifecycle(event)


def _lifecycle(event: ev.RunEvent) -> Text | None:
    match event:
        case ev.ApprovalRequested():
            several = f" ({event.needed} persons must approve)" if event.needed > 1 else ""
            ask = f"{event.tool} waits for you{several}: {why_asked(event.reason, event.asked)}"
            advice = f"flightloop approve {event.approval_id}, or flightloop deny {event.approval_id}"
            call = (whole(event.arguments), sources(event.sources))
            return Text.assemble(("ask    ", "bold yellow"), ask, "\n", *call, "\n    ", (advice, "dim"))
        case ev.ApprovalGiven():
            count = f"approved by {event.by}, {event.given} of {event.needed}"
            return Text.assemble(("person ", "bold yellow"), count, _because(event.reason))
        case ev.ApprovalDecided():
            decided = {"approve": "approved", "deny": "denied", "expire": "expired"}[event.decision]
            return Text.assemble(("person ", "bold yellow"), f"{decided} by {event.by}", _because(event.reason))
        case ev.ContextCompacted():
            return Text.assemble(("digest ", "bold"), compaction(event), (f"  {short(event.digest)}", "dim"))
        case ev.RunResumed():
            return Text(f"resumed by {event.by}", style="dim")
        case ev.RunErased():
            why = "its retention ended" if event.reason == "age" else "at a person's request"
            return Text.assemble(
                ("erased ", "bold"), f"texts, arguments and results, {why}", (f" by {event.by}", "dim")
            )
        case ev.RunEnded():
            why = f": {event.error.message}" if event.error else ""
            return Text.assemble(
                ("end    ", "bold"), status_text(event.status), (f" ({event.stop_reason}){why}", "dim")
            )
        case _:
            return None


def sources(found: Sequence[Source]) -> Text:
    """Where the values of a call come from, each on a new line."""
    trusted = (Origin.USER, Origin.RECORD)
    lines = (("\n    " + one.text, "dim" if one.origin in trusted else "yellow") for one in found)
    return Text.assemble(*lines)


def evidence(item: Approval) -> Text:
    """The user's words, the rules that asked, and what the call would change, each on new lines. Untrusted text."""
    parts: list[tuple[str, str]] = []
    if item.subject is not None:
        parts.append((f"\n    on behalf of {short(shown_subject(item.subject), 80)}", "dim"))
    if item.words:
        parts.append((f"\n    the user wrote: {short(item.words)}", "dim"))
    if len(item.asked) > 1:
        parts += [(f"\n    asked by {on_one_line(one)}", "dim") for one in item.asked]
    if item.dry_run is not None:
        told = f"what would change, says {item.dry_run.tool}: {short(item.dry_run.told)}"
        parts.append((f"\n    {told}", "dim" if item.dry_run.ok else "yellow"))
    return Text.assemble(*parts)


def compaction(event: ev.ContextCompacted) -> str:
    """What a digest replaces, and the tokens before and after."""
    runs = f"{len(event.runs)} earlier runs and " if event.runs else ""
    before, after = event.tokens_before, event.tokens_after
    return f"instead of {runs}{event.through_step} steps: {before} → {after} of {event.limit} tokens"


def _result(event: ev.ToolResult) -> Text:
    said = short(event.content) if event.ok else short(event.error or "failed")
    tries = f", {event.tries} tries" if event.tries > 1 else ""
    traceback = f"\n{indent(event.traceback, '    ')}" if event.traceback else ""
    return Text.assemble(
        ("result ", "cyan" if event.ok else "red"), said, (f"  {event.seconds:.2f} s{tries}{traceback}", "dim")
    )


def _arguments(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{name}={short(value, 80)}" for name, value in arguments.items())


def _model(call: ev.ModelCall) -> Text:
    confidence = "" if call.confidence is None else f", {call.confidence:.0%} sure"
    withheld = "" if call.withheld is None else f", calls withheld ({call.withheld:.0%} sure)"
    return Text(f"  {call.usage.completion_tokens} tokens{confidence}{withheld}", style="dim")


def _verdict(verdict: Verdict) -> Text | None:
    if verdict.plain:
        return None
    word = "noted" if verdict.action is Action.ALLOW else verdict.action.value
    why = verdict.reason or ", ".join(verdict.labels)
    return Text.assemble(
        (f"{word:<7}", _ACTION_STYLE[verdict.action]), f"{verdict.rail} at {verdict.stage.value}: {why}"
    )


def run_tree(run: Run, events: Iterable[ev.RunEvent]) -> RenderableType:
    """A tree of the run's steps with their events; passed checks appear as a count per step."""
    whose = f"  {run.agent} · {run.session_id} · for {short(shown_subject(run.subject), 80)}"
    head = Text.assemble((run.id, "bold"), "  ", status_text(run.status), (whose, "dim"))
    tree = Tree(head, guide_style="dim")
    tree.add(Text.assemble(("input  ", "bold"), short(text_of(run.input))))
    branches: dict[int, Tree] = {}
    allowed: dict[int, int] = {}
    for event in events:
        if isinstance(event, ev.Judged) and event.verdict.plain:
            allowed[event.step] = allowed.get(event.step, 0) + 1
        elif isinstance(event, ev.ChecksPassed):
            allowed[event.step] = allowed.get(event.step, 0) + event.passed.count
        line = event_line(event)
        if line is not None:
            branch = tree if isinstance(event, ev.RunEnded | ev.RunErased) else _branch(tree, branches, event.step)
            branch.add(line)
    for step, count in allowed.items():
        if step in branches:
            branches[step].label = Text(f"step {step}  ✓ {count} checks passed", style="dim")
    return Group(tree, usage_line(run))


def _because(reason: str | None) -> str:
    return f": {reason}" if reason else ""


def _branch(tree: Tree, branches: dict[int, Tree], step: int) -> Tree:
    if step not in branches:
        branches[step] = tree.add(Text(f"step {step}", style="dim"))
    return branches[step]


def usage_line(run: Run) -> Text:
    used = run.usage
    confidence = "" if run.confidence is None else f" · confidence {run.confidence:.0%}"
    steps, calls = counted(used.steps, "step"), counted(used.tool_calls, "tool call")
    figures = f"{steps} · {calls} · {used.tokens} tokens · {used.seconds:.1f} s"
    return Text(f"{figures} · € {used.cost:.4f}{confidence}", style="dim")
