"""``python -m bench support`` plays customer-service tasks; each is solved if the shop reaches a given state."""

from __future__ import annotations

import asyncio
import re
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from agent.evals.confidence_interval import wilson
from agent.evals.task import Task
from agent.evals.task import load as read_tasks
from agent.project.project import EMBEDDED
from bench import arrivals, intents, leaks, truths
from bench.platform import Platform
from bench.play import Played, Player
from bench.rows import Row, median_row, percentile_95
from examples.support.shop.seed import reseed
from flightloop import AsyncFlightloop, Flightloop
from flightloop.cli.console import counting_bar

TASKS = EMBEDDED / "tasks" / "support.jsonl"
STRANGERS = Path(__file__).parent / "tasks" / "stranger.jsonl"
"""Tasks in English and Chinese of somebody who knew neither the lessons nor what the model is trained on."""
CHINESE = Path(__file__).parent / "tasks" / "support_zh.jsonl"
"""More tasks in Chinese, of somebody who knew neither of them either."""


def measure(console: Console, tasks_file: Path | None, port: int, *, load: bool = False) -> list[Row]:
    """Starts a platform with a separate home, plays all tasks, classifies messages, and stops it.

    ``FLIGHTLOOP_MODEL_URL`` and related settings choose the model, as usual.

    Args:
        load: also measure with customers at random times, at several rates.

    Raises:
        TaskError: the task file is invalid.
        PlatformFailed: the platform did not start.
    """
    tasks = [
        task for file in ([tasks_file] if tasks_file else [TASKS, STRANGERS, CHINESE]) for task in read_tasks(file)
    ]
    with _started(console, port) as platform, Flightloop(base_url=platform.url, api_key=platform.key) as client:
        shop = platform.home / "data" / "shop.db"
        played = play_all(Player(client, shop), tasks, console)
        console.print(outcomes(played))
        more = [leaks.row([one.exchanges for one in played], leaks.customers(shop)), *intents.measure(client)]
    if load:
        with _started(console, port) as platform:  # one that has read none of the conversations
            more.append(asyncio.run(_day(platform, [task for task in tasks if not task.setup], console)))
    return [*rows(played), *parts(played), *more]


@contextmanager
def _started(console: Console, port: int) -> Iterator[Platform]:
    """A platform with a home of its own and a new shop."""
    with tempfile.TemporaryDirectory(prefix="flightloop-bench-") as home, console.status("starting") as status:
        started = Platform(
            Path(home),
            port,
            ("--no-console", "--no-prometheus"),
            progress=lambda what, seconds: status.update(f"{what} … {seconds:.0f} s"),
        )
        with started as platform:
            status.stop()
            yield platform


async def _day(platform: Platform, tasks: Sequence[Task], console: Console) -> Row:
    reseed(platform.home / "data" / "shop.db")
    async with AsyncFlightloop(base_url=platform.url, api_key=platform.key) as client:
        return await arrivals.measure(client, tasks, console)


def play_all(player: Player, tasks: Sequence[Task], console: Console) -> list[Played]:
    played: list[Played] = []
    with counting_bar(console) as progress:
        bar = progress.add_task("tasks", total=len(tasks))
        for task in tasks:
            played.append(player.play(task))
            solved = sum(one.judgement.solved for one in played)
            progress.update(bar, advance=1, description=f"{solved} solved, last: {task.id}")
    return played


def rows(played: Sequence[Played]) -> list[Row]:
    count = len(played)
    turns = [seconds for one in played for seconds in one.turn_seconds]
    runs = [run for one in played for run in one.runs]
    solved = sum(one.judgement.solved for one in played) / count
    return [
        Row("support_solved", solved, "share", interval=wilson(solved, count), cases=count),
        Row("support_state_right", sum(one.judgement.state_right for one in played) / count, "share"),
        Row("support_tasks", count, "tasks"),
        Row("support_turn_seconds", sum(turns) / len(turns), "s", higher_is_better=False),
        Row("support_turn_p50_s", statistics.median(turns), "s", higher_is_better=False),
        Row("support_turn_p95_s", percentile_95(turns), "s", higher_is_better=False),
        median_row("support_turn_tokens", [run.usage.tokens for run in runs], "tokens", higher_is_better=False),
        *truths.rows([one.exchanges for one in played]),
    ]


def parts(played: Sequence[Played]) -> list[Row]:
    """Shares of solved tasks among those of a stranger (``s-``) and those in Chinese (``zh-``)."""
    found = []
    for name, belongs in (("stranger", r"s-"), ("zh", r"(s-)?zh-")):
        solved = [one.judgement.solved for one in played if re.match(belongs, one.task.id)]
        if solved:
            share = sum(solved) / len(solved)
            row = Row(f"support_solved_{name}", share, "share", interval=wilson(share, len(solved)), cases=len(solved))
            found.append(row)
    return found


def outcomes(played: Sequence[Played]) -> Table:
    """Table of solved and all tasks, by kind (the prefix of the ids)."""
    kinds: dict[str, list[Played]] = {}
    for one in played:
        kinds.setdefault(one.task.id.rsplit("-", 1)[0], []).append(one)
    table = Table("kind", "solved", "of", "state right", box=None, header_style="dim")
    for kind, members in kinds.items():
        solved = sum(one.judgement.solved for one in members)
        state = sum(one.judgement.state_right for one in members)
        table.add_row(kind, str(solved), str(len(members)), str(state))
    return table
