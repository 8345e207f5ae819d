"""The client and what outlives a page, shared by all sessions of the console."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import streamlit as st

from dashboards.audit_tail import AuditTail
from dashboards.components import failure
from dashboards.health import Situation, now
from dashboards.history import History
from flightloop import Flightloop
from flightloop.errors import FlightloopError
from flightloop.runs import AgentInfo
from flightloop.settings import ClientSettings, resolve


@st.cache_resource(show_spinner=False, max_entries=4, on_release=Flightloop.close)
def _client(settings: ClientSettings) -> Flightloop:
    return Flightloop(settings.base_url, settings.api_key, timeout_s=settings.timeout_s, retries=settings.retries)


def client() -> Flightloop:
    """The platform's client. Its settings are read anew, so that a key that comes later is found."""
    return _client(resolve(timeout_s=20.0, retries=1))


@st.cache_resource(show_spinner=False, max_entries=4)
def _history(url: str) -> History:
    return History()


def history() -> History:
    return _history(client().base_url)


@st.cache_resource(show_spinner=False, max_entries=4)
def _audit_tail(settings: ClientSettings) -> AuditTail:
    return AuditTail(_client(settings))


def audit_tail() -> AuditTail:
    return _audit_tail(resolve(timeout_s=20.0, retries=1))


@st.cache_data(ttl=timedelta(seconds=1), show_spinner=False, max_entries=4)
def _situation(url: str) -> Situation:
    api = client()
    return Situation(
        overview=api.overview(),
        interrupts=api.interrupts.list().data,
        approvals=api.approvals.list(limit=100).data,
        runs=api.runs.list(limit=50).data,
        now=now(),
        tenant=api.usage().tenant,
    )


def situation() -> Situation:
    """How things stand, at most a second old."""
    found = _situation(client().base_url)
    history().add(found.overview)
    return found


@st.cache_data(ttl=timedelta(seconds=5), show_spinner=False, max_entries=4)
def _agents(url: str) -> list[AgentInfo]:
    return client().agents.list().data


def agents() -> list[AgentInfo]:
    return _agents(client().base_url)


@contextmanager
def answered(doing: str) -> Iterator[None]:
    """Shows an error of the API in place of what could not be shown.

    Args:
        doing: what failed, to go after "Can't".
    """
    try:
        yield
    except FlightloopError as error:
        failure.show(doing, error)
