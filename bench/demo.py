"""``make demo``: the support agent solves ten tasks; each step is shown and each outcome checked."""

from __future__ import annotations

import os
import random
import shutil
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from agent.config import load_settings
from agent.evals.task import Task, load
from agent.serve.http_server import bind
from bench.platform import Platform, PlatformFailed
from bench.play import Played, Player
from bench.support import TASKS
from flightloop import Flightloop
from flightloop.cli.render import event_line
from flightloop.errors import ConfigError, FlightloopError
from flightloop.events import ChecksPassed, DeltaEvent, RunEvent
from flightloop.overview import Figure, Overview
from model.weights.sources import default_model

SEED = 20_26
COUNT = 10
PROMETHEUS_PORT = 9090
"""Default Prometheus port of ``up``, unless ``FLIGHTLOOP_PROMETHEUS_PORT`` is set."""


class Narrator:
    """Prints the events of a task. Counts passed checks and shows the others."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._passed = 0

    def __call__(self, what: str | RunEvent) -> None:
        if isinstance(what, str):
            self._console.print(Text.assemble(("user   ", "bold magenta"), what))
            return
        if isinstance(what, DeltaEvent):
            return  # the whole answer follows
        if isinstance(what, ChecksPassed):
            self._passed += what.passed.count
        line = event_line(what)
        if line is not None:
            self._flush()
            self._console.print(line)

    def _flush(self) -> None:
        if self._passed:
            self._console.print(Text(f"guard  {self._passed} checks passed", style="green"))
            self._passed = 0


def main() -> int:
    """Runs the demo. Returns 0 if the platform worked, however many tasks the model solved."""
    console = Console(highlight=False)
    home = Path(os.environ.get("FLIGHTLOOP_HOME", ".flightloop"))
    tasks = random.Random(SEED).sample(load(TASKS), COUNT)
    try:
        settings = load_settings()
        if settings.model is None and not settings.model_url:
            os.environ["FLIGHTLOOP_MODEL"] = default_model(console.print)  # here, where its progress is seen
        port = settings.port
        with console.status("starting") as status:
            platform = Platform(
                home,
                port,
                options(console),
                progress=lambda what, seconds: status.update(f"{what} … {seconds:.0f} s (log: {home})"),
            )
            platform.__enter__()
        try:
            played = _show(console, platform, tasks)
        finally:
            with console.status("stopping"):
                platform.stop()
    except (PlatformFailed, FlightloopError) as error:
        console.print(f"error: {error}", style="red", markup=False)
        return 1
    console.print(f"Stopped cleanly. To start it and keep it running: make up   ({len(played)} tasks were played)")
    return 0


def options(console: Console) -> list[str]:
    """Options of ``up``. Disables Prometheus if its default port is taken, but not if the user chose the port."""
    if not os.environ.get("FLIGHTLOOP_PROMETHEUS_PORT") and shutil.which("prometheus"):
        try:
            bind("127.0.0.1", PROMETHEUS_PORT).close()
        except ConfigError:
            console.print(
                f"Prometheus is left out: port {PROMETHEUS_PORT} is taken; set FLIGHTLOOP_PROMETHEUS_PORT to another"
            )
            return ["--no-prometheus"]
    return []


def _show(console: Console, platform: Platform, tasks: list[Task]) -> list[Played]:
    addresses = f"API {platform.url}   console {platform.console}   metrics {platform.url}/metrics"
    console.print(f"flightloop is up: {addresses}", soft_wrap=True)  # keeps the link whole
    played: list[Played] = []
    with Flightloop(base_url=platform.url, api_key=platform.key) as client:
        [card] = client.models.list().data
        if card.parameters and card.active_parameters:
            share = card.active_parameters / card.parameters
            size = f"{card.parameters / 1e6:.0f} M parameters, {share:.0%} active per token"
            console.print(f"model {card.id}: {size}; {card.weights}")
        player = Player(client, platform.home / "data" / "shop.db", Narrator(console))
        for number, task in enumerate(tasks, start=1):
            console.print(Rule(f"task {number} of {len(tasks)}: {task.id}", align="left", style="dim"))
            began = time.perf_counter()
            played.append(player.play(task))
            _verdict(console, played[-1], time.perf_counter() - began)
        solved = sum(one.judgement.solved for one in played)
        console.print(Rule(style="dim"))
        console.print(f"[bold]{solved} of {len(played)} tasks solved[/bold] (judged by the shop's database)")
        for table in tiers(client.overview()):
            console.print(table)
    console.print(addresses, soft_wrap=True)
    return played


def _verdict(console: Console, played: Played, seconds: float) -> None:
    if played.judgement.solved:
        console.print(Text(f"✓ solved in {seconds:.1f} s", style="bold green"))
        return
    console.print(Text(f"✗ not solved ({seconds:.1f} s)", style="bold red"))
    for problem in played.judgement.problems:
        console.print(Text(f"  {problem}", style="dim"))


def tiers(overview: Overview) -> list[Table]:
    """A table per tier, without empty series."""
    return [
        _tier(name, figures)
        for name, figures in (("System", overview.system), ("Model", overview.model), ("Business", overview.business))
    ]


def _tier(name: str, figures: list[Figure]) -> Table:
    table = Table(title=f"{name} tier", title_justify="left", box=None, show_header=False, title_style="bold")
    for figure in figures:
        if figure.value is None:
            continue
        labels = ", ".join(f"{key}={value}" for key, value in figure.labels.items())
        p95 = "" if figure.p95 is None else f"p95 {figure.p95:.3g}"
        table.add_row(figure.name.removeprefix("flightloop_"), labels, f"{figure.value:.4g}", p95)
    return table


if __name__ == "__main__":
    sys.exit(main())
