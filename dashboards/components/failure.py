"""What a page shows when the API did not answer, or answered with an error."""

from __future__ import annotations

from html import escape

import streamlit as st

from flightloop.errors import ConfigError, ConnectionFailed, FlightloopError, Unauthorized

ADVICE = {
    ConnectionFailed: "Start the platform with <code>make up</code>, or set <code>FLIGHTLOOP_URL</code> to where it"
    " runs.",
    Unauthorized: "Set <code>FLIGHTLOOP_API_KEY</code>, or <code>FLIGHTLOOP_HOME</code> to the platform's folder, and"
    " start the console again.",
    ConfigError: "The key is written at the platform's first start; then reload this page.",
}


def show(doing: str, error: FlightloopError) -> None:
    """A banner with what failed, why, and what to do."""
    advice = ADVICE.get(type(error), "")
    sentence = error.message if error.message.endswith((".", "?", "!")) else f"{error.message}."
    request = f" Request {escape(error.request_id)}." if error.request_id else ""
    st.html(
        '<div class="fl-banner fl-critical" data-fl="failure"><i class="fl-dot"></i><div>'
        f"<b>Can't {escape(doing)}</b><br>"
        f'<span class="fl-sub">{escape(sentence)}{request} {advice}</span></div></div>'
    )
