"""``python -m agent up``: runs the whole platform on this machine in the foreground until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Event, Thread

import yaml
from ray.serve import Application
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn

from agent.config import Settings
from agent.serve.cluster import ClusterLost, local_cluster, within
from agent.serve.companion import companion
from agent.serve.factories import open_stop_journal
from agent.serve.held_port import held_port
from agent.serve.http_server import bind
from agent.serve.local_stops import stop_once
from agent.serve.login_link import FD, LIFETIME_S, LoginLink
from agent.serve.logs import log_file
from agent.serve.prometheus import prometheus_config
from agent.serve.start import END_STREAMS_S, end_streams, start
from flightloop import private
from flightloop.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Extras:
    """Ports of companion programs; None: the program is not started."""

    console_port: int | None = 8501
    prometheus_port: int | None = 9090


def up(
    application: Callable[[Settings], Application],
    settings: Settings,
    extras: Extras,
    tell: Callable[[str], None],
) -> bool:
    """Starts everything, prints the addresses, and returns after SIGINT or SIGTERM once everything has stopped.

    Args:
        application: builds the application from the settings.
        tell: prints one line to the user.

    Returns:
        True if a Ray server has ended and this process should be re-executed to start again. Runs in progress continue
        from the journal, and the port stays reserved (`agent.serve.held_port`).

    Raises:
        ConfigError: a port is taken, a setting is unusable, or a deployment does not start.
    """
    if settings.port == 0:
        raise ConfigError("FLIGHTLOOP_PORT: must not be 0, because Ray's proxy needs a fixed port; choose a free one")
    with held_port(settings.host, settings.port) as port:
        extras = _with_free_ports(extras, tell, again=port.again)
        own = {port for port in (extras.console_port, extras.prometheus_port) if port}
        settings = settings.model_copy(update={"reserved_ports": (*settings.reserved_ports, *own)})
        app = application(settings)
        try:
            with suppress(KeyboardInterrupt), ExitStack() as stack:
                try:
                    wait_for_loss = _start(stack, settings, extras, app, tell)
                except KeyboardInterrupt:  # nothing is running yet that needs an orderly stop
                    tell("stopping …")
                    raise
                with suppress(KeyboardInterrupt):
                    wait_for_loss()
                tell("stopping …")
                within(2 * END_STREAMS_S, end_streams)
        except ClusterLost as lost:
            tell(f"Ray's {lost} ended unexpectedly. Restarting everything …")
            port.keep_over_exec()
            return True
    return False


def _start(
    stack: ExitStack, settings: Settings, extras: Extras, app: Application, tell: Callable[[str], None]
) -> Callable[[], None]:
    """Starts everything on ``stack``; returns a function that blocks until the cluster is lost. Raises
    KeyboardInterrupt on a signal."""
    stop = _stop_on_signals()
    _stop_everything_on_signal(settings)
    tell("starting Ray …")
    wait_for_loss = stack.enter_context(local_cluster(settings.host, settings.port))
    _interrupt_on_signals(stop)
    tell("loading the model, starting the worker and the API …")
    with _elapsed():
        start(app)
    url = f"http://{settings.host}:{settings.port}"
    tell(f"API         {url}   (key: {_key(settings)}, OpenAPI: {url}/openapi.json, metrics: {url}/metrics)")
    if extras.console_port:
        link = LoginLink(settings.own_key())
        stack.enter_context(_console(settings, url, extras.console_port, link))
        at = link.url(f"http://127.0.0.1:{extras.console_port}")
        tell(f"Console     {at}   (this link logs in once, within {LIFETIME_S // 60} minutes; later use the key)")
    if extras.prometheus_port and shutil.which("prometheus"):
        stack.enter_context(_prometheus(settings, extras.prometheus_port))
        tell(f"Prometheus  http://127.0.0.1:{extras.prometheus_port}")
    tell(f"Log         {log_file(settings)}   (also mistakes in the project's files)")
    tell("Ctrl-C stops everything.")
    return wait_for_loss


@contextmanager
def _elapsed() -> Iterator[None]:
    """Shows how long it takes, if standard error is a terminal."""
    console = Console(stderr=True)
    columns = SpinnerColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        progress.add_task("")
        yield


def _key(settings: Settings) -> str:
    return "FLIGHTLOOP_API_KEY" if settings.api_key else str(settings.home / "key")


def _stop_on_signals() -> Event:
    """Defers signals while Ray starts, because an interrupted start would leave processes behind."""
    stop = Event()
    for number in SIGNALS:
        signal.signal(number, lambda *_: stop.set())
    return stop


def _stop_everything_on_signal(settings: Settings) -> None:
    """Makes SIGUSR1 raise the emergency stop, in a thread with a connection of its own to the journal."""

    def stop(*_: object) -> None:
        Thread(target=lambda: asyncio.run(stop_once(partial(open_stop_journal, settings))), daemon=True).start()

    signal.signal(signal.SIGUSR1, stop)


def _interrupt_on_signals(stop: Event) -> None:
    """Makes the first signal raise KeyboardInterrupt in the main thread; raises it at once if a signal was deferred."""

    def interrupt(*_: object) -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # stopping takes seconds; ignore further signals
        raise KeyboardInterrupt

    for number in SIGNALS:  # Ray has replaced the handler of SIGTERM, and its own just exits
        signal.signal(number, interrupt)
    if stop.is_set():
        interrupt()


def _with_free_ports(extras: Extras, tell: Callable[[str], None], *, again: bool) -> Extras:
    """Checks the ports before anything starts. On a restart, a companion whose port is taken is left out, because the
    platform itself is more important."""
    prometheus_port = extras.prometheus_port if shutil.which("prometheus") else None
    for name, port in (("console", extras.console_port), ("prometheus", prometheus_port)):
        if port:
            try:
                bind("127.0.0.1", port).close()
            except ConfigError:
                ways = f"--{name}-port or FLIGHTLOOP_{name.upper()}_PORT, or do without it with --no-{name}"
                taken = f"{name}: port {port} is taken; choose another with {ways}"
                if not again:
                    raise ConfigError(taken) from None
                tell(f"{taken}. Continuing without it.")
                extras = replace(extras, **{f"{name}_port": None})
    return extras


@contextmanager
def _console(settings: Settings, url: str, port: int, link: LoginLink) -> Iterator[None]:
    environment = {
        "FLIGHTLOOP_URL": url,
        "FLIGHTLOOP_CONSOLE_PORT": str(port),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "FLIGHTLOOP_OIDC_ISSUER": settings.oidc_issuer or "",
        "FLIGHTLOOP_OIDC_CLIENT_ID": settings.oidc_client_id or "",
    }
    command, log = [sys.executable, "-P", "-m", "dashboards"], settings.home / "logs" / "console.log"
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
