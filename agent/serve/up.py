"""``python -m agent up``: the whole platform on this machine, in the foreground, until Ctrl-C."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import yaml
from ray.serve import Application

from agent.app import application
from agent.config import Settings
from agent.logs import log_file
from agent.serve.cluster import local_cluster
from agent.serve.start import end_streams, start
from agent.serving import bind
from agent.tether import tethered
from flightloop.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS_CONFIG = ROOT / "deploy" / "prometheus"
SIGNALS = (signal.SIGINT, signal.SIGTERM)
STOP_TIMEOUT_S = 0.5
"""A console takes longer to go by itself, and has nothing to lose; nor has Prometheus, which writes ahead."""


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
    app = application(settings)
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        try:
            _start(stack, settings, extras, app, tell)
        except KeyboardInterrupt:  # there is nothing yet to stop in order
            tell("stopping …")
            raise
        with suppress(KeyboardInterrupt):
            Event().wait()
        tell("stopping …")
        end_streams()


def _start(stack: ExitStack, settings: Settings, extras: Extras, app: Application, tell: Callable[[str], None]) -> None:
    """Raises KeyboardInterrupt when it is to stop; what has started until then is on the stack."""
    stop = _stop_on_signals()
    tell("starting Ray …")
    stack.enter_context(local_cluster(settings.host, settings.port))
    _interrupt_on_signals(stop)
    tell("loading the model, starting the worker and the API …")
    start(app)
    url = f"http://{settings.host}:{settings.port}"
    tell(f"API         {url}   (key: {_key(settings)}, OpenAPI: {url}/openapi.json, metrics: {url}/metrics)")
    if extras.console_port:
        stack.enter_context(_console(settings, url, extras.console_port))
        tell(f"Console     http://127.0.0.1:{extras.console_port}")
    if extras.prometheus_port and shutil.which("prometheus"):
        stack.enter_context(_prometheus(settings, extras.prometheus_port))
        tell(f"Prometheus  http://127.0.0.1:{extras.prometheus_port}")
    tell(f"Log         {log_file(settings)}   (mistakes in the project's files, too)")
    tell("Ctrl-C stops everything.")


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
def _child(command: list[str], log: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """A program that runs beside us, in a process group of its own so that Ctrl-C reaches us first."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            tethered(command),
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            process_group=0,
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _console(settings: Settings, url: str, port: int) -> AbstractContextManager[None]:
    environment = {
        "FLIGHTLOOP_URL": url,
        "FLIGHTLOOP_HOME": str(settings.home.resolve()),
        "FLIGHTLOOP_CONSOLE_PORT": str(port),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }
    return _child([sys.executable, "-m", "dashboards"], settings.home / "logs" / "console.log", environment)


def _prometheus(settings: Settings, port: int) -> AbstractContextManager[None]:
    """Prometheus with the deployment's configuration, moved to this home and these ports."""
    home = settings.home.resolve()
    folder = home / "prometheus"
    folder.mkdir(parents=True, exist_ok=True)
    config = yaml.safe_load((PROMETHEUS_CONFIG / "prometheus.yml").read_text())
    config["rule_files"] = [str(PROMETHEUS_CONFIG / name) for name in config["rule_files"]]
    targets = {"flightloop": f"{settings.host}:{settings.port}", "prometheus": f"127.0.0.1:{port}"}
    # Our own cluster has no dashboard, which is what tells Prometheus of Ray's targets.
    config["scrape_configs"] = [job for job in config["scrape_configs"] if job["job_name"] in targets]
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
        job.pop("authorization", None)  # /metrics is open on loopback
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    command = [
        "prometheus",
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage",
    ]
    return _child(command, home / "logs" / "prometheus.log", {})
