"""``python -m bench retail`` runs tau2-bench's retail tasks through the HTTP API of a separate platform."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from agent.serve.home import open_home
from bench.engine.page import put
from bench.errors import BenchError
from bench.platform import Platform
from bench.retail.data import Retail, read
from bench.retail.documents import FILE, image, renew
from bench.retail.play import Played, Player
from bench.retail.project import write_project
from bench.retail.rows import append, fragment, outcomes, rows
from bench.retail.tasks import Task
from bench.rows import Row
from flightloop import Flightloop
from flightloop.cli.console import counting_bar

SETTINGS = {
    # The policy and sixteen tools take 2,600 of the default 4,096 tokens before the first message.
    "FLIGHTLOOP_MODEL_MAX_CONTEXT": "8192",
    # A second replica would compete for the same processor.
    "FLIGHTLOOP_REPLICAS_MAX": "1",
}
"""Settings of the platform, unless the environment sets them."""
PAGE = "tool-calling.md"
MARKS = ("<!-- retail figures: begin -->", "<!-- retail figures: end -->")


@dataclass(frozen=True)
class Wish:
    """Options of the measurement.

    Attributes:
        data: folder with the data set.
        split: split whose tasks are played.
        limit: number of the split's first tasks to play; None: all.
        port: port of the started platform.
        outputs: file for the conversations, JSON lines; each is appended when it ends.
        docs: folder of the page to insert the figures into.
    """

    data: Path
    split: str = "test"
    limit: int | None = None
    port: int = 8000
    outputs: Path | None = None
    docs: Path | None = None


def measure(console: Console, wish: Wish, done: Callable[[list[Row]], None] = lambda rows: None) -> list[Row]:
    """Starts a platform with the retail agent, plays the tasks one after the other, and stops it.

    ``FLIGHTLOOP_MODEL_URL`` and related settings choose the model, as usual.

    Args:
        console: shows progress and the tasks' table.
        wish: what to measure.
        done: called with the rows before they are inserted into a page, which may fail.

    Raises:
        BenchError: the data is missing, the split is unknown or empty, or the page lacks the marks for the figures.
        PlatformFailed: the platform did not start.
    """
    retail = read(wish.data)
    tasks = retail.split(wish.split, wish.limit)
    if not tasks:
        raise BenchError(f"split {wish.split!r} has no tasks; choose another with --split NAME")
    if wish.outputs:
        wish.outputs.parent.mkdir(parents=True, exist_ok=True)
        wish.outputs.write_text("")
    with tempfile.TemporaryDirectory(prefix="flightloop-bench-") as folder:
        played, model = _through_a_platform(console, wish, retail, tasks, Path(folder))
    console.print(outcomes(played))
    found = rows(played)
    done(found)
    if wish.docs:
        count = len(retail.splits[wish.split])
        about = f"tau2-bench's retail tasks, split {wish.split}, {len(tasks)} of {count}; model {model}"
        put(wish.docs / PAGE, fragment(found, about), MARKS)
    return found


def play_all(player: Player, tasks: Sequence[Task], console: Console, outputs: Path | None = None) -> list[Played]:
    """Plays tasks one after the other, since they share the shop."""
    played: list[Played] = []
    with counting_bar(console) as progress:
        bar = progress.add_task("tasks", total=len(tasks))
        for task in tasks:
            played.append(player.play(task))
            if outputs:
                append(played[-1], outputs)
            solved = sum(one.verdict.solved for one in played)
            progress.update(bar, advance=1, description=f"{solved} solved, last: {task.id}")
    return played


def _through_a_platform(
    console: Console, wish: Wish, retail: Retail, tasks: Sequence[Task], folder: Path
) -> tuple[list[Played], str]:
    """Plays the tasks. Returns the conversations and the model's name."""
    home, shop = folder / "home", image(retail.shop)
    database = home / "data" / FILE
    open_home(home)  # before the database exists: a home that contains files may belong to somebody else
    project = write_project(folder / "project", retail.policy)
    settings = {name: value for name, value in SETTINGS.items() if name not in os.environ}
    renew(database, shop)
    with (
        console.status("starting") as status,
        Platform(
            home,
            wish.port,
            ("--no-console", "--no-prometheus"),
            {**settings, "FLIGHTLOOP_PROJECT": str(project)},
            progress=lambda what, seconds: status.update(f"{what} … {seconds:.0f} s"),
        ) as platform,
        Flightloop(base_url=platform.url, api_key=platform.key) as client,
    ):
        status.stop()
        model = client.models.list().data[0].id
        return play_all(Player(client, database, shop), tasks, console, wish.outputs), model
