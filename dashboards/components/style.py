"""The console's style, on top of the theme."""

from __future__ import annotations

from html import escape
from pathlib import Path

import streamlit as st

from flightloop.shown import shown

CSS = Path(__file__).with_name("style.css")


def apply() -> None:
    st.html(CSS)


def heading(title: str, subtitle: str = "") -> None:
    """Shows a page's title with a subtitle beside it."""
    st.html(f'<div class="fl-head"><h1>{escape(title)}</h1><span>{escape(subtitle)}</span></div>')


def tier(title: str) -> None:
    st.html(f'<div class="fl-tier">{escape(title)}</div>')


def empty(title: str, advice: str) -> None:
    """Shows in place of an empty list: why it is empty, and what to do."""
    st.html(f'<div class="fl-empty"><b>{escape(title)}</b><span>{escape(advice)}</span></div>')


def pairs(values: dict[str, str]) -> None:
    """Shows names and values in two columns."""
    rows = "".join(f"<dt>{escape(shown(name))}</dt><dd>{escape(shown(value))}</dd>" for name, value in values.items())
    st.html(f'<dl class="fl-kv">{rows}</dl>')
