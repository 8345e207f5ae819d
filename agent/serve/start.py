"""Starts the application on Serve, and reports why a deployment did not start."""

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
    """Deploys the application and returns once every deployment runs.

    Raises:
        ConfigError: a deployment did not start; the message is the error of its process.
    """
    try:
        serve.run(app, name=NAME, route_prefix="/")
    except RuntimeError as error:
        deployments = serve.status().applications[NAME].deployments
        told = [told for one in deployments.values() if (told := reason(one.message))]
        raise ConfigError(told[0] if told else str(error)) from error


def end_streams() -> None:
    """Makes the API end its open streams, which Serve would wait for at shutdown. Ignores an API that is gone."""
    with suppress(Exception):
        serve.get_app_handle(NAME).end_streams.remote().result(timeout_s=END_STREAMS_S)


def reason(traceback: str) -> str | None:
    """The last error of a traceback. The type is omitted for ConfigError, whose message suffices."""
    for line in reversed(traceback.splitlines()):
        found = _ERROR.match(line.strip())
        if found is not None:
            kind, message = found.groups()
            return str(message) if kind == ConfigError.__name__ else f"{kind}: {message}"
    return None
