"""Shows images with what was read in them: overlay, table and suggested chart, side by side.

All texts of an image are untrusted.
"""

from __future__ import annotations

from typing import Literal

import pandas as pd
import streamlit as st

from dashboards import connection, reading_table
from dashboards.attached import Attached, AttachedImage, charted, charted_table, has_data, withheld
from dashboards.components import badges, style
from dashboards.components.stepview import plain
from dashboards.overlay import overlay
from dashboards.reading_table import LOW, ReadTable
from dashboards.suggested_chart import on_page
from flightloop.predictions import Prediction
from flightloop.readings import ImageReading
from flightloop.runs import Run

TALLEST_TABLE = 380
WHEN_ENDED = "The suggested chart and the key points follow when the run has ended."


def show(run: Run, given: Attached, *, headings: bool = True) -> None:
    """Shows the images and tables of a run's message, and the chart that would show their values best.

    Args:
        headings: also show a heading for all of it.
    """
    if not given:
        return
    if headings:
        style.tier("Images and tables")
    found = _prediction(run)
    chosen = charted(found, given) if found else None
    for image in given.images:
        with st.container(border=True, key=f"card-reading-{run.id}-{image.number}"):
            _image(image, found, chosen, key=f"{run.id}-{image.number}")
    shown = charted_table(found, given) if found else None
    for number, table in enumerate(given.tables, 1):
        with st.container(border=True, key=f"card-table-{run.id}-{number}"):
            left, right = st.columns(2, gap="medium")
            with left:
                style.tier(f"Table {number}" if len(given.tables) > 1 else "Table")
                _table(reading_table.of_table(table), key=f"{run.id}-given-{number}")
            with right:
                _suggestion(found, here=chosen is None and number == shown, key=f"{run.id}-given-{number}")
    if found and found.key_points:
        with st.container(key=f"points-{run.id}"):
            style.tier("Key points")
            st.markdown("\n".join(f"- {plain(point.text)}" for point in found.key_points))


def _prediction(run: Run) -> Prediction | None:
    """The prediction computed from the values; None until the run has ended. Fetched once."""
    if not run.status.terminal:
        return None
    kept: dict[str, Prediction] = st.session_state.setdefault("predictions", {})
    key = f"{run.id}-{run.last_seq}"
    if key not in kept:
        with connection.answered("suggest a chart"):
            kept[key] = connection.client().predictions.get(run.id)
    return kept.get(key)


def _image(image: AttachedImage, found: Prediction | None, chosen: int | None, key: str) -> None:
    reading = image.reading
    left, middle, right = st.columns([5, 6, 5], gap="medium")
    with left:
        style.tier(f"Image {image.number}")
        _picture(image, key)
    with middle:
        style.tier("What was read")
        if reading is None:
            st.caption("Nothing: the model sees images itself, and got this one.")
        else:
            _read(reading, key)
        if found and withheld(found, image):
            st.caption(":orange[A guardrail withholds this reading from the model and from predictions.]")
    with right:
        _suggestion(found, here=chosen == image.number, key=key)


def _picture(image: AttachedImage, key: str) -> None:
    if not image.url:
        st.caption("The image itself was not kept.")
        return
    if image.reading is None:
        st.image(image.url, width="stretch")
        return
    st.vega_lite_chart(overlay(image.url, image.reading), width="stretch", key=f"overlay-{key}")
    if image.reading.kind != "chart":
        st.caption("Positions are known for values of charts only.")
    elif reading_table.of_reading(image.reading).low:
        st.caption(f":material/warning: A diamond with “?” has a confidence below {LOW:.0%}.")


def _read(reading: ImageReading, key: str) -> None:
    kind = f"{reading.chart} chart" if reading.chart else reading.kind
    colour = badges.AMBER if reading.confidence < LOW else badges.GREEN
    how = [badges.pill(" and ".join(found), badges.GREY)] if (found := reading_table.sources(reading)) else []
    badges.row(badges.pill(kind, badges.BLUE), badges.pill(f"confidence {reading.confidence:.0%}", colour), *how)
    if reading.title:
        st.markdown(f"**{plain(reading.title)}**")
    _table(reading_table.of_reading(reading), key)
    for note in reading.notes:
        st.caption(plain(note))


def _table(table: ReadTable, key: str) -> None:
    if not table.rows:
        st.caption("Nothing was found to read.")
        return
    frame = pd.DataFrame([*table.rows], columns=[*table.columns])
    columns = {}
    if table.confidence is not None:
        columns[table.confidence] = st.column_config.ProgressColumn(format="%d %%", max_value=100, width="small")
    marked = frame.style.apply(lambda row: [_mark(row.name in table.low)] * len(row), axis=1) if table.low else frame
    tall: Literal["content"] | int = "content" if len(table.rows) <= 9 else TALLEST_TABLE
    st.dataframe(marked, hide_index=True, width="stretch", height=tall, key=f"read-{key}", column_config=columns)
    if table.cut:
        st.caption(table.cut)


def _mark(low: bool) -> str:
    return f"background-color: {badges.AMBER}38" if low else ""


def _suggestion(found: Prediction | None, *, here: bool, key: str) -> None:
    style.tier("Suggested chart")
    if found is None:
        st.caption(WHEN_ENDED)
    elif not has_data(found):
        st.caption("None: the run was ended before its answer.")
    elif found.chart is None:
        st.caption("None: no numbers are known.")
    elif not here:
        st.caption("None for these values: the suggestion is for the first image or table with numbers.")
    else:
        st.vega_lite_chart(on_page(found.chart.spec), width="stretch", key=f"suggested-{key}")
        st.caption(plain(f"{found.chart.chart}: {found.chart.reason}"))
