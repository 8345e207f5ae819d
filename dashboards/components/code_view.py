"""Shows what a generation made: code, findings and attempts side by side. All texts are a model's, and untrusted."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Literal

import streamlit as st

from dashboards.components import badges, style
from dashboards.components.stepview import plain
from dashboards.generation import AttemptView, line_of, verdict
from flightloop.code_result import CodeAttempt, CodeFinding, CodeResult
from flightloop.shown import shown

SEVERITIES = {"low": badges.GREY, "medium": badges.AMBER, "high": badges.RED, "critical": badges.RED}
LONG, TALL = 30, 620
"""Lines of a program above which it scrolls, and its height in pixels then."""


def show(result: CodeResult, attempts: Sequence[AttemptView], key: str) -> None:
    level, headline, reason = verdict(result)
    st.html(
        f'<div class="fl-banner fl-{level}" data-fl="generation"><i class="fl-dot"></i><div><b>{escape(headline)}</b>'
        f'<br><span class="fl-sub">{_text(reason)}</span></div></div>'
    )
    with st.container(border=True, key=f"card-code-{key}"):
        code, findings, tried = st.columns([6, 4, 4], gap="medium")
        with code:
            style.tier("Code")
            badges.row(
                badges.pill(result.language.value, badges.BLUE),
                badges.pill(f"level {result.security_level.value}", badges.GREY),
            )
            _files(result)
        with findings:
            style.tier("Findings")
            _findings(result, attempts)
            _unverified(result)
        with tried:
            style.tier("Attempts")
            for one in attempts:
                _attempt(one, result)


def _files(result: CodeResult) -> None:
    files = [*result.files, *result.tests]
    if not files:
        st.caption("None is returned. What was tried is under Attempts.")
        return
    for file, tab in zip(files, st.tabs([plain(file.path) for file in files]), strict=True):
        with tab:
            _program(file.text, result)


def _program(text: str, result: CodeResult) -> None:
    height: Literal["content"] | int = TALL if text.count("\n") > LONG else "content"
    st.code(shown(text), language=result.language.value, line_numbers=True, wrap_lines=True, height=height)


def _findings(result: CodeResult, attempts: Sequence[AttemptView]) -> None:
    """Shows what is left in the program, or what was found in all programs if none is returned."""
    if result.findings:
        st.html("".join(_finding(one, result.code) for one in result.findings))
    found = [one for one in attempts if one.findings] if not result.returned else []
    for attempt in found:
        st.caption(f"In program {attempt.number}")
        st.html("".join(_finding(one, attempt.code) for one in attempt.findings))
    if not (result.findings or found):
        st.caption(":material/check: None is left in the program." if result.returned else "None.")


def _finding(one: CodeFinding, code: str) -> str:
    severity = badges.pill(one.severity, SEVERITIES.get(one.severity, badges.GREY), one.rule)
    where = badges.pill(f"line {one.line}", badges.BLUE)
    cwe = (
        f'<a href="https://cwe.mitre.org/data/definitions/{one.cwe}.html" target="_blank" rel="noopener noreferrer">'
        f"CWE-{one.cwe}</a>"
        if one.cwe
        else _text(one.rule)
    )
    line = line_of(code, one.line)
    quoted = f"<code>{_text(line)}</code>" if line else ""
    fix = f"<p><b>Fix</b> {_text(one.fix)}</p>" if one.fix else ""
    return (
        f'<div class="fl-finding"><div class="fl-pills">{severity}{where}{cwe}</div>{quoted}'
        f"<p>{_text(one.reason)}</p>{fix}</div>"
    )


def _unverified(result: CodeResult) -> None:
    style.tier("Not verified")
    if not result.unverified:
        st.caption("Nothing is left that could not be checked." if result.returned else "–")
    for one in result.unverified:
        st.caption(f":material/help: {plain(one)}")


def _attempt(one: AttemptView, result: CodeResult) -> None:
    labels = [badges.pill(text, colour) for text, colour in _labels(one.attempt)]
    returned = [badges.pill("returned", badges.BLUE)] if one.returned and result.returned else []
    why = _text(one.attempt.problem) if one.attempt.problem else "Accepted at this level."
    st.html(
        f'<div class="fl-finding"><div class="fl-pills"><b>{one.number} · {escape(one.attempt.kind)}</b>'
        f"{''.join([*labels, *returned])}</div><p>{why}</p></div>"
    )
    if one.code:
        with st.expander(f"Program {one.number}", icon=":material/code:"):
            _program(one.code, result)


def _labels(attempt: CodeAttempt) -> list[tuple[str, str]]:
    """Labels of an attempt, with their colours."""
    labels = [("compiles", badges.GREEN) if attempt.compiled else ("does not compile", badges.RED)]
    if attempt.passed or attempt.failed:
        tests = f"{attempt.passed} of {attempt.passed + attempt.failed} tests"
        labels.append((tests, badges.AMBER if attempt.failed else badges.GREEN))
    if attempt.findings:
        labels.append((f"{attempt.findings} finding{'s' if attempt.findings > 1 else ''}", badges.RED))
    return labels


def _text(text: str) -> str:
    """HTML of a text of the model or of a check."""
    return escape(shown(text))
