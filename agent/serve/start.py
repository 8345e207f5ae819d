"""Starts the application and, where it does not come up, finds the one line that says why."""

from __future__ import annotations

import re
from contextlib import suppress

from ray import serve
from ray.serve import Application

from flightloop.errors import ConfigError

NAME = "flightloop"
END_STREAMS_S = 1.0
_ERROR = re.compile(r"^(?:[\w.]*\.)?(\w*(?:Error|Exception|Unavailable)): (.+)$")


def start(app: Application) -> None:
    """Returns once every deployment runs.

    Raises:
        ConfigError: one of them does not start; the message is what its process raised.
    """
    try:
        serve.run(app, name=NAME, route_prefix="/")
    except RuntimeError as error:
        deployments = serve.status().applications[NAME].deployments
        told = [told for one in deployments.values() if (told := reason(one.message))]
        raise ConfigError(told[0] if told else str(error)) from error


def end_streams() -> None:
    """Asks the API to end its open streams, which Serve would wait for when it stops. An API that is gone has none."""
    with suppress(Exception):
        serve.get_app_handle(NAME).end_streams.remote().result(timeout_s=END_STREAMS_S)


def reason(traceback: str) -> str | None:
    """The error that a traceback ends with; its kind is left out where it is our own way to say what is wrong."""
    for line in reversed(traceback.splitlines()):
        found = _ERROR.match(line.strip())
        if found is not None:
            kind, message = found.groups()
            return str(message) if kind == ConfigError.__name__ else f"{kind}: {message}"
    return None
