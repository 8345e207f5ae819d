"""Shows figures in cards, one card per tier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboards.components import style


@dataclass(frozen=True)
class Reading:
    """A figure to show. ``curve``: recent values, drawn as a small chart."""

    label: str
    value: str
    help: str = ""  # tooltip
    curve: Sequence[float] = field(default=())


def box(title: str, key: str, height: Literal["content", "stretch"] = "content") -> DeltaGenerator:
    """A bordered container with a title. ``key`` is unique on the page."""
    made = st.container(border=True, height=height, key=f"card-{key}")
    with made:
        if title:
            style.tier(title)
    return made


def card(title: str, readings: Sequence[Reading], columns: int = 2) -> None:
    """Shows readings in a bordered grid with a title."""
    with box(title, key=title.lower(), height="stretch"):
        for start in range(0, len(readings), columns):
            cells = st.columns(columns, gap="small")
            for cell, reading in zip(cells, readings[start : start + columns], strict=False):
                curve = list(reading.curve) if len(reading.curve) >= 3 else None
                cell.metric(
                    reading.label, reading.value, help=reading.help or None, chart_data=curve, chart_type="area"
                )


def strip(readings: Sequence[Reading], key: str) -> None:
    """Shows readings side by side, each in its own box."""
    with st.container(key=f"strip-{key}"):
        cells = st.columns(len(readings), gap="small")
    for cell, reading in zip(cells, readings, strict=True):
        cell.metric(reading.label, reading.value, help=reading.help or None, border=True)
