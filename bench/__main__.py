"""``python -m bench NAME --json FILE``: measures, prints a table, writes rows."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from agent.evals.task import TaskError
from bench.errors import BenchError
from bench.peers.environment import PeerError
from bench.platform import PlatformFailed
from bench.rows import Row, show, write
from flightloop.errors import FlightloopError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Measurements.")
Json = Annotated[Path | None, typer.Option("--json", help="Write the rows there.")]
WIDTH = 120
"""Columns of the table where no terminal says how many there are."""
DATA = Path("../shared/data")
Port = Annotated[int, typer.Option(help="Port for the platform that is started.")]


@app.command()
def support(
    json: Json = None,
    tasks: Annotated[Path | None, typer.Option(help="A task file, JSONL; none: the one of the repository.")] = None,
    load: Annotated[bool, typer.Option("--load", help="Conversations a day, too: customers come at random.")] = False,
    port: Port = 8000,
) -> None:
    """Customer-service tasks with a verified end state, and messages' intents."""
    from bench.support import measure

    console = Console()
    _finish(measure(console, tasks, port, load=load), console, json, "support")


@app.command()
def retail(
    json: Json = None,
    data: Annotated[Path, typer.Option(help="Folder with tau2-bench's retail data, or with its archive.")] = DATA,
    split: Annotated[str, typer.Option(help="test, train or base.")] = "test",
    limit: Annotated[int | None, typer.Option(min=1, help="The split's first tasks; none: all.")] = None,
    outputs: Annotated[Path | None, typer.Option(help="File for the conversations, JSON lines.")] = None,
    docs: Annotated[Path | None, typer.Option(help="Folder whose tool-calling.md takes the figures.")] = None,
    port: Port = 8000,
) -> None:
    """tau2-bench's retail tasks with a scripted customer: not its official setting, no figures for its leaderboard.

    That benchmark's customer is a language model; this one follows a script. Nothing that is measured here can be
    compared with the leaderboard.
    """
    from bench.retail.run import Wish, measure

    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    wish = Wish(data, split, limit, port, outputs, docs)
    show(measure(console, wish, done=lambda rows: write(rows, json) if json else None), console, "retail")


@app.command()
def agent(
    json: Json = None,
    against: Annotated[str, typer.Option(help="Names, with commas, or none; without: all.")] = "",
    quick: Annotated[bool, typer.Option("--quick", help="Short runs, few rounds, for a first look.")] = False,
    rounds: Annotated[int | None, typer.Option(min=1, help="Of each runtime, in turns with the others.")] = None,
    folder: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="For databases: on the disk that is to be measured."),
    ] = None,
    docs: Annotated[Path | None, typer.Option(help="Folder whose runtime.md takes the figures.")] = None,
) -> None:
    """What a step of a run costs, beside other agent runtimes, and how soon a killed worker's run goes on."""
    from bench.agent.run import QUICK, Wish, measure
    from bench.agent.subjects import PEERS
    from bench.engine.quiet import only_warnings

    only_warnings()
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    wish = replace(QUICK if quick else Wish(), docs=docs, folder=folder)
    wish = replace(wish, against=PEERS if not against else () if against == "none" else _names(against))
    wish = replace(wish, rounds=rounds or wish.rounds)
    show(measure(console, wish, done=lambda rows: write(rows, json) if json else None), console, "agent")


@app.command()
def scaling(json: Json = None, port: Port = 8000) -> None:
    """Replicas under the load of 16 streams, and after it."""
    from bench.scaling import measure

    console = Console()
    _finish(measure(console, port), console, json, "scaling")


@app.command()
def deciding(json: Json = None, port: Port = 8000) -> None:
    """Whether tools are called without a temperature as at 0, and whether calls show as text."""
    from bench.deciding import measure

    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    _finish(measure(console, port), console, json, "deciding")


@app.command()
def stopping(json: Json = None, port: Port = 8000) -> None:
    """Tokens and time after the emergency stop."""
    from bench.stopping import measure

    console = Console()
    _finish(measure(console, port), console, json, "stopping")


@app.command()
def holding_up(
    json: Json = None,
    kinds: Annotated[str, typer.Option(help="Of requests, with commas; without: all.")] = "",
    ray: Annotated[bool, typer.Option("--ray", help="A deployment on Ray, not `python -m agent serve`.")] = False,
    port: Port = 8000,
) -> None:
    """How late a stop and a probe are answered while another tenant sends the worst requests."""
    from bench.holding_up import measure

    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    _finish(measure(console, port, _names(kinds), ray=ray), console, json, "holding up")


@app.command()
def path(
    json: Json = None,
    rounds: Annotated[int, typer.Option(min=1, help="Of the platform and the engine, in turns.")] = 5,
    firsts: Annotated[int, typer.Option(min=20, help="Answers whose first token is waited for.")] = 100,
    port: Port = 8000,
) -> None:
    """What lies between the engine and a client's socket: tokens per second, and the delay of the first one."""
    from bench.engine.quiet import only_warnings
    from bench.path.run import Wish, measure

    only_warnings()
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    show(
        measure(console, Wish(port, rounds, firsts), done=lambda rows: write(rows, json) if json else None),
        console,
        "path",
    )


@app.command()
def engine(
    json: Json = None,
    rows: Annotated[str, typer.Option(help="Names, with commas; a name that ends in _ takes all that begin so.")] = "",
    peers: Annotated[str, typer.Option(help="Names, with commas, or none; without: all.")] = "",
    quick: Annotated[bool, typer.Option("--quick", help="Less of everything, for a first look.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Of every engine; none: all processors.")] = None,
    data: Annotated[Path, typer.Option(help="Folder with WikiText-2 and the essays of the needle test.")] = DATA,
    docs: Annotated[Path | None, typer.Option(help="Folder whose performance.md and .svg take the figures.")] = None,
) -> None:
    """The engine's speed, alone and beside llama.cpp, vLLM and transformers on the same processor."""
    from bench.engine.bench import QUICK, Size
    from bench.engine.page import fill
    from bench.engine.quiet import only_warnings
    from bench.engine.rivals import PEERS
    from bench.engine.run import Wish, measure

    only_warnings()
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    wish = Wish(
        rows=_names(rows),
        peers=PEERS if not peers else () if peers == "none" else _names(peers),
        size=QUICK if quick else Size(),
        threads=threads,
        data=data,
        plot=docs and docs / "performance.svg",
    )
    found = measure(console, wish, done=lambda rows: write(rows, json) if json else None)
    show([row for row in found if not row.name.startswith("throughput_")], console, "engine")
    if docs:
        fill(docs / "performance.md", found)


@app.command()
def tools(
    json: Json = None,
    cases: Annotated[int | None, typer.Option(min=1, help="Of each category, an even sample; none: all.")] = None,
    categories: Annotated[str, typer.Option(help="Names, with commas; without: all.")] = "",
    without_grammar: Annotated[bool, typer.Option("--without-grammar", help="Measure the same without, too.")] = False,
    url: Annotated[str | None, typer.Option(help="Of a running platform; none: one is started.")] = None,
    outputs: Annotated[Path | None, typer.Option(help="Folder for all answers, to look at the mistakes.")] = None,
    data: Annotated[Path, typer.Option(help="Folder with WikiText-2.")] = DATA,
    docs: Annotated[Path | None, typer.Option(help="Folder whose tool-calling.md and .svg take the figures.")] = None,
    before: Annotated[Path | None, typer.Option(help="Rows of the stage of tuning before: what was gained.")] = None,
    port: Port = 8000,
) -> None:
    """Tool calling by the Berkeley Function Calling Leaderboard, through the platform's own endpoint."""
    from bench.engine.quiet import only_warnings
    from bench.tools.run import Wish, measure

    only_warnings()
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    wish = Wish(cases, _names(categories), url, port, without_grammar, data, outputs, docs, before)
    show(measure(console, wish, done=lambda rows: write(rows, json) if json else None), console, "tools")


@app.command()
def tuner(
    json: Json = None,
    against: Annotated[str, typer.Option(help="Names, with commas, or none; without: all.")] = "",
    steps: Annotated[int, typer.Option(min=1, help="Of one round.")] = 2,
    rounds: Annotated[int, typer.Option(min=1, help="Of each trainer, in turns with ours.")] = 5,
    tokens: Annotated[int, typer.Option(min=1, help="Of one step, at most.")] = 4096,
    threads: Annotated[int | None, typer.Option(min=1, help="Of every trainer; none: all processors.")] = None,
    docs: Annotated[Path | None, typer.Option(help="Folder whose tuning.md takes the figures.")] = None,
) -> None:
    """The tuner's speed and memory, beside transformers and peft on the same processor."""
    from bench.engine.quiet import only_warnings
    from bench.tuner.duel import DUELS
    from bench.tuner.run import Wish, measure

    only_warnings()
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    rivals = tuple(DUELS) if not against else () if against == "none" else _names(against)
    wish = Wish(rivals, steps, rounds, tokens, threads, docs)
    show(measure(console, wish, done=lambda rows: write(rows, json) if json else None), console, "tuner")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _finish(rows: list[Row], console: Console, json: Path | None, title: str) -> None:
    show(rows, console, title)
    if json:
        write(rows, json)


def main() -> None:
    try:
        app(prog_name="python -m bench")
    except (BenchError, TaskError, PeerError, PlatformFailed, FlightloopError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
