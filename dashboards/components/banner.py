"""Banners at the top of a page that say whether all is well."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from html import escape

import streamlit as st

from dashboards import connection
from dashboards.health import Finding, Level, broken
from flightloop.errors import FlightloopError

CLASS = {Level.OK: "fl-ok", Level.WARNING: "fl-warning", Level.CRITICAL: "fl-critical"}
LINKS = {
    "views/stop.py": "Emergency stop",
    "views/approvals.py": "Approvals",
    "views/runs.py": "Runs",
}


def show(found: Sequence[Finding], summary: str) -> None:
    """Shows each finding with a link to the page on which to act. Without findings, says that all is well."""
    if not found:
        line(Level.OK, "All systems normal", summary)
        return
    for finding in found:
        if finding.page is None:
            line(finding.level, finding.title, finding.detail)
            continue
        text, link = st.columns([5, 1], vertical_alignment="center", gap="small")
        with text:
            line(finding.level, finding.title, finding.detail)
        link.page_link(finding.page, label=LINKS[finding.page], icon=":material/arrow_forward:", icon_position="right")


@st.fragment(run_every="10s")
def of_project() -> None:
    """Shows problems of the project's files. The overview lists them as findings, so it doesn't call this."""
    with suppress(FlightloopError):  # the page itself reports that the platform doesn't answer
        for finding in broken(connection.current().project()):
            line(finding.level, finding.title, finding.detail)


def line(level: Level, title: str, detail: str) -> None:
    """Shows a banner: a dot in the level's colour, the title, and the detail below."""
    st.html(
        f'<div class="fl-banner {CLASS[level]}"><i class="fl-dot"></i><div><b>{escape(title)}</b><br>'
        f'<span class="fl-sub">{escape(detail)}</span></div></div>'
    )
