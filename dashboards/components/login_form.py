"""The login form, shown on every page to visitors without a key."""

from __future__ import annotations

import streamlit as st

from dashboards import connection, login, oidc
from dashboards.components import banner, failure, style
from dashboards.components.cards import box
from dashboards.health import Level
from flightloop.errors import ConfigError, FlightloopError, Overloaded, Unauthorized

FOUND = (
    "The platform's own key is in the file <code>key</code> of its home (<code>FLIGHTLOOP_HOME</code>, else"
    " <code>.flightloop</code>), or in the <code>FLIGHTLOOP_API_KEY</code> that the platform was started with."
    " <code>flightloop keys create NAME --role viewer</code> creates a read-only key; the role"
    " <code>approver</code> also approves, and <code>operator</code> also starts and stops."
)
KEPT = "The key stays in this tab's session. After a reload of the page, you are asked for it again."


def show(link_refused: FlightloopError | None, person_refused: FlightloopError | None = None) -> None:
    """Shows the form, and below it where to find a key.

    Args:
        link_refused: why the login link that the visitor used is invalid.
        person_refused: why the platform refuses the person who logged in with OpenID Connect.
    """
    _, middle, _ = st.columns([1, 2, 1])
    with middle, st.container(key="login"):
        style.heading("Log in", f"to {_platform()}" if oidc.offered() else f"with an API key of {_platform()}")
        problem = st.empty()
        if link_refused:
            with problem:
                _refused("Login by this link failed", link_refused, "Log in with an API key.")
        if person_refused:
            with problem:
                _refused("The platform refuses this login", person_refused)
        if oidc.offered():
            _single_sign_on(again=person_refused is not None)
        with box("", key="login"), st.form("login", border=False):
            key = st.text_input("API key", type="password", autocomplete="off", placeholder="fl_…")
            if st.form_submit_button("Log in", type="primary", icon=":material/login:", width="stretch"):
                with problem:
                    _log_in(key)
        st.html(f'<div class="fl-note"><p>{FOUND}</p><p>{KEPT}</p></div>')


def _single_sign_on(*, again: bool) -> None:
    with box("", key="single-sign-on"):
        label = "Log in as somebody else" if again else "Log in with single sign-on"
        st.button(label, type="primary", icon=":material/badge:", key="log-in-oidc", width="stretch", on_click=st.login)
    st.html('<div class="fl-note"><p>Or with an API key:</p></div>')


def _log_in(key: str) -> None:
    try:
        login.with_key(key)
    except FlightloopError as error:
        _refused("Login by this key failed", error)
    else:
        st.rerun()


def _refused(title: str, error: FlightloopError, advice: str = "") -> None:
    if isinstance(error, Unauthorized | Overloaded):
        banner.line(Level.CRITICAL, title, f"{failure.sentence(error)} {advice}")
    else:
        failure.show("log in", error)


def _platform() -> str:
    """Text that names the platform's URL; just "the platform" if the URL is invalid: login attempts report that."""
    try:
        return f"the platform at {connection.platform().split('//')[-1]}"
    except ConfigError:
        return "the platform"
