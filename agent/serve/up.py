"""``python -m agent up``: the whole platform on this machine, in the foreground, until Ctrl-C."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import yaml

from agent.app import application
from agent.config import Settings
from agent.logs import log_file
from agent.serve.cluster import local_cluster
from agent.serve.companion import companion
from agent.serve.login_link import FD, LIFETIME_S, LoginLink
from agent.serve.prometheus import prometheus_config
from agent.serve.start import start
from agent.serving import bind
from flightloop import private
from flightloop.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Extras:
    """What runs beside the platform. A port of None: it does not run."""

    console_port: int | None = 8501
    prometheus_port: int | None = 9090


def up(settings: Settings, extras: Extras, tell: Callable[[str], None]) -> None:
    """Starts everything, tells the addresses, and returns after SIGINT or SIGTERM once all has stopped.

    Args:
        tell: takes one line for the person who started it.

    Raises:
        ConfigError: a port is taken, a setting can't be used, or a deployment does not start.
    """
    _check_ports(settings, extras)
    stop = Event()
    _set_on_signals(stop)
    app = application(settings)
    with ExitStack() as stack:
        tell("starting Ray …")
        stack.enter_context(local_cluster(settings.host, settings.port))
        _set_on_signals(stop)  # again: Ray has put its own handler of SIGTERM in place, which just exits
        tell("loading the model, starting the worker and the API …")
        start(app)
        url = f"http://{settings.host}:{settings.port}"
        tell(f"API         {url}   (key: {_key(settings)}, OpenAPI: {url}/openapi.json, metrics: {url}/metrics)")
        if extras.console_port:
            link = LoginLink(settings.own_key())
            stack.enter_context(_console(settings, url, extras.console_port, link))
            at = link.url(f"http://127.0.0.1:{extras.console_port}")
            tell(f"Console     {at}   (the link logs in once, within {LIFETIME_S // 60} minutes; else the key does)")
        if extras.prometheus_port and shutil.which("prometheus"):
            stack.enter_context(_prometheus(settings, extras.prometheus_port))
            tell(f"Prometheus  http://127.0.0.1:{extras.prometheus_port}")
        tell(f"Log         {log_file(settings)}   (mistakes in the project's files, too)")
        tell("Ctrl-C stops everything.")
        stop.wait()
        tell("stopping …")


def _key(settings: Settings) -> str:
    return "FLIGHTLOOP_API_KEY" if settings.api_key else str(settings.home / "key")


def _set_on_signals(stop: Event) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())


def _check_ports(settings: Settings, extras: Extras) -> None:
    """Fails before anything has started rather than half way."""
    if settings.port == 0:
        raise ConfigError("FLIGHTLOOP_PORT: Ray's proxy needs a fixed port; name a free one")
    bind(settings.host, settings.port).close()
    prometheus_port = extras.prometheus_port if shutil.which("prometheus") else None
    for name, port in (("console", extras.console_port), ("prometheus", prometheus_port)):
        if port:
            try:
                bind("127.0.0.1", port).close()
            except ConfigError:
                ways = f"--{name}-port or FLIGHTLOOP_{name.upper()}_PORT, or do without by --no-{name}"
                raise ConfigError(f"{name}: port {port} is taken; name another by {ways}") from None


@contextmanager
def _console(settings: Settings, url: str, port: int, link: LoginLink) -> Iterator[None]:
    environment = {
        "FLIGHTLOOP_URL": url,
        "FLIGHTLOOP_CONSOLE_PORT": str(port),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }
    command, log = [sys.executable, "-m", "dashboards"], settings.home / "logs" / "console.log"
    with ExitStack() as running:
        with link.handed_over() as descriptor:
            environment[FD] = str(descriptor)
            running.enter_context(companion(command, log, environment, [descriptor]))
        yield


def _prometheus(settings: Settings, port: int) -> AbstractContextManager[None]:
    home = settings.home.resolve()
    folder = private.folder(home / "prometheus")
    file = folder / "prometheus.yml"
    with open(file, "w", opener=private.opener) as output:
        yaml.safe_dump(prometheus_config(settings, port), output)
    command = [
        "prometheus",
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage",
    ]
    return companion(command, home / "logs" / "prometheus.log", {})
