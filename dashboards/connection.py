"""A visitor's connection: the API client for a key, and the data cached between pages.

The connection exists in the browser session only. Sessions share nothing: visitors may have different roles and
tenants, so a client or an answer of one is never shown to another.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Generic, TypeVar
from weakref import finalize

import streamlit as st

from dashboards.audit_tail import AuditTail
from dashboards.components import failure
from dashboards.health import Situation, now
from dashboards.history import History
from flightloop import Flightloop
from flightloop.errors import FlightloopError, Unauthorized
from flightloop.keys import Caller
from flightloop.runs import AgentInfo
from flightloop.settings import resolve

T = TypeVar("T")
PLACE = "connection"
"""Key of the connection in ``st.session_state``."""
LONGEST = 16_384
"""Characters of an identity token."""


class Recent(Generic[T]):
    """Calls ``ask`` and caches its result for ``ttl_s`` seconds."""

    def __init__(self, ask: Callable[[], T], ttl_s: float) -> None:
        self._ask, self._ttl_s = ask, ttl_s
        self._kept: tuple[float, T] | None = None

    def __call__(self) -> T:
        if self._kept is None or self._kept[0] <= time.monotonic():
            self._kept = time.monotonic() + self._ttl_s, self._ask()
        return self._kept[1]


class Connection:
    """The platform as visible with one API key. The client is closed when the connection is no longer used."""

    def __init__(self, client: Flightloop, caller: Caller) -> None:
        self.client, self.caller = client, caller
        self.history, self.audit_tail = History(), AuditTail(client)
        self.situation = Recent(partial(_situation, client), ttl_s=1)
        self.agents = Recent(partial(_agents, client), ttl_s=5)
        self.project = Recent(client.project, ttl_s=5)
        self.reads_plans = Recent(partial(_reads_plans, client), ttl_s=5)
        finalize(self, client.close)


def platform() -> str:
    """The platform's URL.

    Raises:
        ConfigError: FLIGHTLOOP_URL is not a valid URL.
    """
    return resolve(api_key="unused").base_url


def connect(api_key: str) -> None:
    """Connects this browser session.

    Args:
        api_key: an API key, or an identity token.

    Raises:
        FlightloopError: the platform rejects the key, or the request failed.
    """
    # With an empty key, the client would read one from this process's environment or folder.
    if len(api_key) > LONGEST or not re.fullmatch(r"[!-~]+", api_key):
        raise Unauthorized("this is not an API key: a key has only ASCII letters, digits and punctuation")
    client = Flightloop(platform(), api_key, timeout_s=20.0, retries=1)
    try:
        caller = client.whoami()
    except FlightloopError:
        client.close()
        raise
    st.session_state[PLACE] = Connection(client, caller)


def disconnect() -> None:
    """Forgets the key and everything read with it."""
    st.session_state.clear()


def connected() -> bool:
    return PLACE in st.session_state


def current() -> Connection:
    """This browser session's connection. Without one, reruns the page, which then shows the login."""
    if not connected():
        st.rerun()
    found: Connection = st.session_state[PLACE]
    return found


def client() -> Flightloop:
    return current().client


def history() -> History:
    return current().history


def audit_tail() -> AuditTail:
    return current().audit_tail


def _situation(api: Flightloop) -> Situation:
    return Situation(
        overview=api.overview(),
        interrupts=api.interrupts.list().data,
        approvals=api.approvals.list(limit=100).data,
        runs=api.runs.list(limit=50).data,
        now=now(),
        tenant=api.usage().tenant,
        project=api.project(),
    )


def situation() -> Situation:
    """The platform's situation, at most a second old."""
    found = current().situation()
    history().add(found.overview)
    return found


def _agents(api: Flightloop) -> list[AgentInfo]:
    return api.agents.list().data


def agents() -> list[AgentInfo]:
    return current().agents()


def _reads_plans(api: Flightloop) -> bool:
    return any(model.reads_plans for model in api.models.list().data)


def reads_plans() -> bool:
    """Whether a served model reads plans: the runs of the others are planned only if their policy locks to the plan."""
    return current().reads_plans()


@contextmanager
def answered(doing: str) -> Iterator[None]:
    """Shows an error banner if the API fails inside the context.

    Args:
        doing: the action, worded to follow "Can't".
    """
    try:
        yield
    except FlightloopError as error:
        failure.show(doing, error)
