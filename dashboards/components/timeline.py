"""Charts: the waterfall of a run, and bars by category."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import altair as alt
import streamlit as st

from dashboards.steps import Bar

KINDS = {"queue": "#9BA3B5", "model": "#4F6BED", "tool": "#12A594", "agent": "#7C66DC", "person": "#E5A000"}
MOST_BARS = 200
ROW_HEIGHT = 26
FRAME = 124
"""Pixels of legend and axis, above and below the rows."""
BARE = {"ticks": False, "domain": False, "labelOverlap": False}


def waterfall(bars: Sequence[Bar]) -> None:
    """Shows the time spans of a run, ordered by start. Of more than 200 bars, shows only the last 200."""
    shown = list(bars)[-MOST_BARS:]
    if len(shown) < len(bars):
        st.caption(f"The last {MOST_BARS} of {len(bars)} spans.")
    rows = [
        {
            "row": f"{index:04d}",
            "label": bar.label,
            "kind": bar.kind,
            "start": bar.start,
            "end": max(bar.end, bar.start),
            "took": f"{bar.end - bar.start:.2f} s",
            "detail": bar.detail,
        }
        for index, bar in enumerate(shown)
    ]
    labels = label_expression({str(row["row"]): str(row["label"]) for row in rows})
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y(
            "row:O",
            title=None,
            axis=alt.Axis(labelExpr=labels, labelLimit=190, **BARE),
        ),
    )
    wait = _dominating_wait(shown)
    scale = alt.Scale(type="symlog", constant=wait) if wait else alt.Scale()
    title = "seconds since the run was created" + (" (logarithmic, because of one long wait)" if wait else "")
    tooltip = [alt.Tooltip(f"{name}:N") for name in ("label", "took", "detail")]
    bar_mark = base.mark_bar(cornerRadius=3, height={"band": 0.62}, minBandSize=3).encode(
        x=alt.X("start:Q", title=title, scale=scale, axis=alt.Axis(gridOpacity=0.35, labelOverlap=True)),
        x2="end:Q",
        color=alt.Color(
            "kind:N",
            scale=alt.Scale(domain=list(KINDS), range=list(KINDS.values())),
            legend=alt.Legend(title=None, orient="top", symbolType="square"),
        ),
        tooltip=tooltip,
    )
    text = base.mark_text(align="left", dx=5, fontSize=11, color="#8B93A7").encode(
        x="end:Q", text="took:N", tooltip=tooltip
    )
    chart = alt.layer(bar_mark, text).properties(height=ROW_HEIGHT * len(rows) + FRAME)
    _draw(chart, "waterfall")


def label_expression(labels: Mapping[str, str]) -> str:
    """Vega expression for the label of an axis value: object and string literals are those of JSON."""
    return f"{json.dumps(labels)}[datum.value]"


def _dominating_wait(shown: Sequence[Bar]) -> float | None:
    """Total seconds of all bars but the longest if that is ten times as long and would hide them; else None."""
    lengths = sorted(bar.end - bar.start for bar in shown)
    others = sum(lengths[:-1])
    return others if others > 0 and lengths[-1] > 10 * others else None


def bars(values: Mapping[str, float], *, title: str, key: str, colours: Mapping[str, str] | None = None) -> None:
    """Shows a horizontal bar per category, in the given order."""
    rows = [{"name": name, "value": value} for name, value in values.items()]
    colour = (
        alt.Color("name:N", legend=None, scale=alt.Scale(domain=list(colours), range=list(colours.values())))
        if colours
        else alt.value("#4F6BED")
    )
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(cornerRadiusEnd=3, height={"band": 0.65})
        .encode(
            y=alt.Y(
                "name:N",
                sort=None,
                title=None,
                axis=alt.Axis(labelLimit=120, **BARE),
            ),
            x=alt.X("value:Q", title=title, axis=alt.Axis(gridOpacity=0.35, tickCount=4, format="~s")),
            color=colour,
            tooltip=[alt.Tooltip("name:N", title=""), alt.Tooltip("value:Q", title=title, format=",.0f")],
        )
        .properties(height=max(26 * len(rows) + 72, 150))
    )
    _draw(chart, key)


def _draw(chart: alt.Chart | alt.LayerChart, key: str) -> None:
    """Shows a chart with a transparent background, since it lies on a card."""
    st.altair_chart(chart.configure(background="transparent").configure_view(strokeOpacity=0), width="stretch", key=key)
