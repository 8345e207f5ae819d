"""Shows that the API didn't answer, or answered with an error."""

from __future__ import annotations

from html import escape

import streamlit as st

from flightloop.errors import ConfigError, ConnectionFailed, FlightloopError, Unauthorized

ADVICE = {
    ConnectionFailed: "Start the platform with <code>make up</code>, or set <code>FLIGHTLOOP_URL</code> to its"
    " address.",
    Unauthorized: "The key was revoked, the login has expired, or this is another platform now: log out, and log in"
    " again.",
    ConfigError: "Restart the console with another <code>FLIGHTLOOP_URL</code>.",
}


def show(doing: str, error: FlightloopError) -> None:
    """Shows a banner with what failed, why, and what to do."""
    advice = ADVICE.get(type(error), "")
    request = f" Request {escape(error.request_id)}." if error.request_id else ""
    st.html(
        '<div class="fl-banner fl-critical" data-fl="failure"><i class="fl-dot"></i><div>'
        f"<b>Can't {escape(doing)}</b><br>"
        f'<span class="fl-sub">{escape(sentence(error))}{request} {advice}</span></div></div>'
    )


def sentence(error: FlightloopError) -> str:
    """The error's message with a capital letter and a full stop."""
    said = error.message[:1].upper() + error.message[1:]
    return said if said.endswith((".", "?", "!")) else f"{said}."
