"""Code in texts and arguments: weaknesses that a scanner finds in it. The scanner is an argument of the guard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flightloop.verdicts import Action, Span, Stage, Verdict
from guardrails.aside import LONG, aside
from guardrails.rail_entries import CodeScanEntry
from guardrails.rails.detector import MOST_SPANS
from guardrails.text.code_blocks import CodeBlock, code_blocks, guessed_language, plain_code
from guardrails.types import Checked, Judgement, Rail

RAIL = "code_scan"
UNREAD = "unread_code"
"""Label of code that could not be examined."""
PLACEHOLDER = "[redacted:code]"
SEVERITIES = ("low", "medium", "high", "critical")
MOST_REASONS = 5
"""Weaknesses that a reason names; their number is always told."""


@dataclass(frozen=True)
class Weakness:
    """One weakness in a program: its label (``CWE-89``), one of `SEVERITIES`, its line from 1, and what it is."""

    label: str
    severity: str
    line: int
    reason: str


@dataclass(frozen=True)
class ScannedCode:
    """Findings of a scanner in one program. ``unread``: why a part of it was not examined; empty if all was."""

    weaknesses: tuple[Weakness, ...] = ()
    unread: str = ""


CodeScan = Callable[[str, str], ScannedCode]
"""Scans a program in a language, ``python`` or ``java``. Runs in a thread; must be bounded in time."""


@dataclass(frozen=True)
class _Found:
    block: CodeBlock
    weaknesses: tuple[Weakness, ...]
    unread: str


def code_rail(entry: CodeScanEntry, scan: CodeScan | None) -> Rail:
    """Makes the rail. Without a scanner it fails, so that the stage blocks."""

    async def check(checked: Checked) -> Judgement:
        if scan is None:
            raise RuntimeError("no code scanner is installed; start the platform with one, or remove the rail")
        if checked.stage is Stage.TOOL_CALL and checked.call is not None:
            given = checked.call.arguments
            found, clean = await aside(LONG, _arguments, entry, scan, given)  # a scan is long, however short the code
            replaced = bool(found) and entry.action is Action.REDACT
            return Judgement(
                (_verdict(entry, checked.stage, found, spans=False),), arguments=clean if replaced else None
            )
        blocks = await aside(len(checked.text), code_blocks, checked.text, entry.language)
        found = await aside(LONG, _blocks, entry, scan, blocks) if blocks else []
        replaced = bool(found) and entry.action is Action.REDACT
        return Judgement(
            (_verdict(entry, checked.stage, found, spans=True),),
            text=_without(checked.text, found) if replaced else None,
        )

    return check


def _blocks(entry: CodeScanEntry, scan: CodeScan, blocks: Sequence[CodeBlock]) -> list[_Found]:
    """The blocks that have a weakness of the entry's severity or worse, or could not be examined."""
    least, found = SEVERITIES.index(entry.severity), []
    for block in blocks:
        scanned = scan(block.code, block.language)
        weak = tuple(one for one in scanned.weaknesses if SEVERITIES.index(one.severity) >= least)
        unread = scanned.unread if entry.unread == "act" else ""
        if weak or unread:
            found.append(_Found(block, weak, unread))
    return found


def _arguments(entry: CodeScanEntry, scan: CodeScan, given: dict[str, Any]) -> tuple[list[_Found], dict[str, Any]]:
    """Findings in the arguments, and the arguments without the code that they are about."""
    found: list[_Found] = []

    def visit(name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: visit(key, inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [visit(name, inner) for inner in value]
        if not isinstance(value, str):
            return value
        here = _blocks(entry, scan, _of_argument(entry, name, value, given))
        found.extend(here)
        return _without(value, here)

    clean = {name: visit(name, value) for name, value in given.items()}
    return found, clean


def _of_argument(entry: CodeScanEntry, name: str, value: str, given: dict[str, Any]) -> Sequence[CodeBlock]:
    if blocks := code_blocks(value, entry.language):
        return blocks
    if name not in entry.arguments or not value.strip():
        return ()
    named = str(given.get("language", "")).lower()
    language = named if named in ("python", "java") else entry.language or guessed_language(value) or "python"
    return (CodeBlock(0, len(value), language, plain_code(value)),)


def _without(text: str, found: Sequence[_Found]) -> str:
    pieces, at = [], 0
    for one in found:
        pieces += [text[at : one.block.start], PLACEHOLDER, "\n" if text[: one.block.end].endswith("\n") else ""]
        at = one.block.end
    return "".join([*pieces, text[at:]])


def _verdict(entry: CodeScanEntry, stage: Stage, found: Sequence[_Found], *, spans: bool) -> Verdict:
    labels = {weakness.label for one in found for weakness in one.weaknesses}
    labels |= {UNREAD for one in found if one.unread}
    reasons = [f"{weak.label} in line {weak.line} ({weak.reason})" for one in found for weak in one.weaknesses]
    reasons += [f"code that was not examined ({one.unread})" for one in found if one.unread]
    more = f" and {len(reasons) - MOST_REASONS} more" if len(reasons) > MOST_REASONS else ""
    return Verdict(
        action=entry.action if found else Action.ALLOW,
        rail=RAIL,
        stage=stage,
        reason="; ".join(reasons[:MOST_REASONS]) + more,
        spans=[
            Span(start=one.block.start, end=one.block.end, label=one.weaknesses[0].label if one.weaknesses else UNREAD)
            for one in found[:MOST_SPANS]
            if spans
        ],
        labels=sorted(labels),
    )
