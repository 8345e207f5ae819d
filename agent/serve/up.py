"""``python -m agent up``: the whole platform on this machine, in the foreground, until Ctrl-C."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event

import yaml
from ray.serve import Application

from agent.config import Settings
from agent.serve.cluster import ClusterLost, local_cluster, within
from agent.serve.companion import companion
from agent.serve.held_port import held_port
from agent.serve.http_server import bind
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
    """What runs beside the platform. A port of None: it does not run."""

    console_port: int | None = 8501
    prometheus_port: int | None = 9090


def up(
    application: Callable[[Settings], Application],
    settings: Settings,
    extras: Extras,
    tell: Callable[[str], None],
) -> bool:
    """Starts everything, tells the addresses, and returns after SIGINT or SIGTERM once all has stopped.

    Returns:
        Whether it is to be started again, in this process executed anew: a server of Ray's has ended. The journal knows
        what was under way, and the port is kept (`agent.serve.held_port`).

    Args:
        application: makes the application of the settings.
        tell: takes one line for the person who started it.

    Raises:
        ConfigError: a port is taken, a setting can't be used, or a deployment does not start.
    """
    if settings.port == 0:
        raise ConfigError("FLIGHTLOOP_PORT: Ray's proxy needs a fixed port; name a free one")
    with held_port(settings.host, settings.port) as port:
        extras = _with_free_ports(extras, tell, again=port.again)
        own = {port for port in (extras.console_port, extras.prometheus_port) if port}
        settings = settings.model_copy(update={"reserved_ports": (*settings.reserved_ports, *own)})
        app = application(settings)
        try:
            with suppress(KeyboardInterrupt), ExitStack() as stack:
                try:
                    wait_for_loss = _start(stack, settings, extras, app, tell)
                except KeyboardInterrupt:  # there is nothing yet to stop in order
                    tell("stopping …")
                    raise
                with suppress(KeyboardInterrupt):
                    wait_for_loss()
                tell("stopping …")
                within(2 * END_STREAMS_S, end_streams)
        except ClusterLost as lost:
            tell(f"Ray's {lost} has ended by itself. Starting everything again …")
            port.keep_over_exec()
            return True
    return False


def _start(
    stack: ExitStack, settings: Settings, extras: Extras, app: Application, tell: Callable[[str], None]
) -> Callable[[], None]:
    """Returns what waits until the cluster is lost. Raises KeyboardInterrupt when it is to stop; what has started until
    then is on the stack."""
    stop = _stop_on_signals()
    tell("starting Ray …")
    wait_for_loss = stack.enter_context(local_cluster(settings.host, settings.port))
    _interrupt_on_signals(stop)
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
    return wait_for_loss


def _key(settings: Settings) -> str:
    return "FLIGHTLOOP_API_KEY" if settings.api_key else str(settings.home / "key")


def _stop_on_signals() -> Event:
    """For the time in which nothing can be broken off: Ray would leave the half of what it starts behind."""
    stop = Event()
    for number in SIGNALS:
        signal.signal(number, lambda *_: stop.set())
    return stop


def _interrupt_on_signals(stop: Event) -> None:
    """From here on the first signal raises KeyboardInterrupt, wherever the main thread is. Raises it at once if one has
    come already."""

    def interrupt(*_: object) -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # it is stopping, and takes seconds
        raise KeyboardInterrupt

    for number in SIGNALS:  # that of SIGTERM is Ray's own by now, and just exits
        signal.signal(number, interrupt)
    if stop.is_set():
        interrupt()


def _with_free_ports(extras: Extras, tell: Callable[[str], None], *, again: bool) -> Extras:
    """Fails before anything has started rather than half way. Where the platform is started again, it does without what
    somebody else has taken the port of: it is more than its console."""
    prometheus_port = extras.prometheus_port if shutil.which("prometheus") else None
    for name, port in (("console", extras.console_port), ("prometheus", prometheus_port)):
        if port:
            try:
                bind("127.0.0.1", port).close()
            except ConfigError:
                ways = f"--{name}-port or FLIGHTLOOP_{name.upper()}_PORT, or do without by --no-{name}"
                taken = f"{name}: port {port} is taken; name another by {ways}"
                if not again:
                    raise ConfigError(taken) from None
                tell(f"{taken}. Going on without it.")
                extras = replace(extras, **{f"{name}_port": None})
    return extras


@contextmanager
def _console(settings: Settings, url: str, port: int, link: LoginLink) -> Iterator[None]:
    environment = {
        "FLIGHTLOOP_URL": url,
        "FLIGHTLOOP_CONSOLE_PORT": str(port),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
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
