"""``python -m bench NAME --json FILE``: runs a measurement, prints a table and writes rows."""

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
Json = Annotated[Path | None, typer.Option("--json", help="Write the rows to this file.")]
WIDTH = 120
"""Columns of the table without a terminal."""
DATA = Path("../shared/data")
Port = Annotated[int, typer.Option(help="Port of the started platform.")]


@app.command()
def support(
    json: Json = None,
    tasks: Annotated[Path | None, typer.Option(help="A task file, JSONL; default: the repository's.")] = None,
    load: Annotated[
        bool, typer.Option("--load", help="Also measure conversations per day, with customers at random times.")
    ] = False,
    port: Port = 8000,
) -> None:
    """Customer-service tasks with verified end states, and classification of intents."""
    from bench.support import measure

    console = Console()
    _finish(measure(console, tasks, port, load=load), console, json, "support")


@app.command()
def retail(
    json: Json = None,
    data: Annotated[Path, typer.Option(help="Folder with tau2-bench's retail data or its archive.")] = DATA,
    split: Annotated[str, typer.Option(help="test, train or base.")] = "test",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the split's first tasks; default: all.")] = None,
    outputs: Annotated[Path | None, typer.Option(help="File for the conversations, JSON lines.")] = None,
    docs: Annotated[Path | None, typer.Option(help="Folder of tool-calling.md, to put figures in.")] = None,
    port: Port = 8000,
) -> None:
    """tau2-bench's retail tasks with a scripted customer: not its official setting, not comparable with its
    leaderboard.

    In that benchmark, the customer is a language model; here it follows a script.
    """
    from bench.retail.run import Wish, measure

    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    wish = Wish(data, split, limit, port, outputs, docs)
    show(measure(console, wish, done=lambda rows: write(rows, json) if json else None), console, "retail")


@app.command()
def chat(
    json: Json = None,
    outputs: Annotated[Path | None, typer.Option(help="File for the answers, JSON lines.")] = None,
    port: Port = 8000,
) -> None:
    """Ordinary questions without tools, judged by fixed words of the answers."""
    from bench.chat import measure

    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    _finish(measure(console, port, outputs), console, json, "chat")


@app.command()
def agent(
    json: Json = None,
    against: Annotated[str, typer.Option(help="Comma-separated names, or none; default: all.")] = "",
    quick: Annotated[bool, typer.Option("--quick", help="Short runs, few rounds, for a first look.")] = False,
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds per runtime, alternating.")] = None,
    folder: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder for databases, on the disk to measure."),
    ] = None,
    docs: Annotated[Path | None, typer.Option(help="Folder of runtime.md, to put figures in.")] = None,
) -> None:
    """Costs of a run's step compared with other agent runtimes, and time to resume the run of a killed worker."""
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
def guardrails(
    json: Json = None,
    rows: Annotated[str, typer.Option(help="Comma-separated names; default: all.")] = "",
    data: Annotated[Path, typer.Option(help="Folder with data sets or their archives.")] = DATA,
) -> None:
    """What attacks achieve against the guardrails, and what these lose, with a model that does all that it is told."""
    from bench.guardrails.run import measure

    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    found = measure(console, _names(rows), data, done=lambda rows: write(rows, json) if json else None)
    show(found, console, "guardrails")


@app.command()
def scaling(json: Json = None, port: Port = 8000) -> None:
    """Scaling to two replicas under the load of 16 streams, and back."""
    from bench.scaling import measure

    console = Console()
    _finish(measure(console, port), console, json, "scaling")


@app.command()
def deciding(json: Json = None, port: Port = 8000) -> None:
    """Whether requests without a temperature call tools as at temperature 0, and whether calls appear as text."""
    from bench.deciding import measure

    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    _finish(measure(console, port), console, json, "deciding")


@app.command()
def stopping(json: Json = None, port: Port = 8000) -> None:
    """Tokens and time until answers end after an emergency stop."""
    from bench.stopping import measure

    console = Console()
    _finish(measure(console, port), console, json, "stopping")


@app.command()
def holding_up(
    json: Json = None,
    kinds: Annotated[str, typer.Option(help="Comma-separated kinds of requests; default: all.")] = "",
    ray: Annotated[
        bool, typer.Option("--ray", help="A deployment on Ray, instead of `python -m agent serve`.")
    ] = False,
    port: Port = 8000,
) -> None:
    """Latency of a stop and a probe while another tenant sends the most expensive requests."""
    from bench.holding_up import measure

    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    _finish(measure(console, port, _names(kinds), ray=ray), console, json, "holding up")


@app.command()
def path(
    json: Json = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of platform and engine, alternating.")] = 5,
    firsts: Annotated[int, typer.Option(min=20, help="Number of answers whose first token is timed.")] = 100,
    port: Port = 8000,
) -> None:
    """Overhead between the engine and a client's socket: tokens per second, and delay of the first token."""
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
    rows: Annotated[str, typer.Option(help="Comma-separated names; a name that ends in _ is a prefix.")] = "",
    peers: Annotated[str, typer.Option(help="Comma-separated names, or none; default: all.")] = "",
    quick: Annotated[bool, typer.Option("--quick", help="A smaller measurement, for a first look.")] = False,
    model: Annotated[str, typer.Option(help="The embedded model: standard, large or edge.")] = "standard",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads per engine; default: all processors.")] = None,
    data: Annotated[Path, typer.Option(help="Folder with WikiText-2 and the essays of the needle test.")] = DATA,
    docs: Annotated[Path | None, typer.Option(help="Folder of performance.md and .svg, to put figures in.")] = None,
) -> None:
    """Speed of the engine compared with llama.cpp, vLLM and transformers on the same processor."""
    from bench.engine.bench import QUICK, Size
    from bench.engine.page import fill
    from bench.engine.quiet import only_warnings
    from bench.engine.rivals import PEERS
    from bench.engine.run import Wish, measure

    only_warnings()
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    wish = Wish(
        model=model,
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
    cases: Annotated[int | None, typer.Option(min=1, help="Cases per category, evenly sampled; default: all.")] = None,
    categories: Annotated[str, typer.Option(help="Comma-separated names; default: all.")] = "",
    without_grammar: Annotated[bool, typer.Option("--without-grammar", help="Also measure without grammar.")] = False,
    url: Annotated[str | None, typer.Option(help="URL of a running platform; default: start one.")] = None,
    outputs: Annotated[Path | None, typer.Option(help="Folder for all answers, to inspect mistakes.")] = None,
    data: Annotated[Path, typer.Option(help="Folder with WikiText-2.")] = DATA,
    docs: Annotated[Path | None, typer.Option(help="Folder of tool-calling.md and .svg, to put figures in.")] = None,
    before: Annotated[Path | None, typer.Option(help="Rows of the previous tuning stage, to compute the gain.")] = None,
    port: Port = 8000,
) -> None:
    """Tool calling by the Berkeley Function Calling Leaderboard, through the platform's API."""
    from bench.engine.quiet import only_warnings
    from bench.tools.run import Wish, measure

    only_warnings()
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    wish = Wish(cases, _names(categories), url, port, without_grammar, data, outputs, docs, before)
    show(measure(console, wish, done=lambda rows: write(rows, json) if json else None), console, "tools")


@app.command()
def tuner(
    json: Json = None,
    against: Annotated[str, typer.Option(help="Comma-separated names, or none; default: all.")] = "",
    steps: Annotated[int, typer.Option(min=1, help="Steps per round.")] = 2,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds per trainer, alternating.")] = 5,
    tokens: Annotated[int, typer.Option(min=1, help="Maximum tokens per step.")] = 4096,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads per trainer; default: all processors.")] = None,
    docs: Annotated[Path | None, typer.Option(help="Folder of tuning.md, to put figures in.")] = None,
) -> None:
    """Speed and memory of the tuner compared with transformers and peft on the same processor."""
    from bench.engine.quiet import only_warnings
    from bench.tuner.duel import DUELS
    from bench.tuner.run import Wish, measure

    only_warnings()
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    rivals = tuple(DUELS) if not against else () if against == "none" else _names(against)
    wish = Wish(rivals, steps, rounds, tokens, threads, docs)
    show(measure(console, wish, done=lambda rows: write(rows, json) if json else None), console, "tuner")


@app.command()
def code(
    json: Json = None,
    rows: Annotated[
        str,
        typer.Option(
            help="Comma-separated kinds: scanner, escape (the default); with a model: own, humaneval_python,"
            " humaneval_java, humaneval_plain, weaknesses."
        ),
    ] = "",
    cases: Annotated[int | None, typer.Option(min=1, help="Problems of each kind that needs a model.")] = None,
    data: Annotated[Path, typer.Option(help="Folder with HumanEval-X or its archive.")] = DATA,
    outputs: Annotated[Path | None, typer.Option(help="File for the generated programs, JSON lines.")] = None,
    url: Annotated[
        str | None,
        typer.Option(help="Platform that runs examples/coder already, with FLIGHTLOOP_API_KEY; default: starts one."),
    ] = None,
    port: Port = 8000,
) -> None:
    """Code: the scanner on labelled programs, escapes from the sandbox, and what the generator gains."""
    from bench.code.run import Wish, measure

    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    _finish(measure(Wish(tuple(_names(rows)), cases, data, port, console, outputs, url)), console, json, "code")


@app.command()
def charts(
    json: Json = None,
    seed: Annotated[str, typer.Option(help="Seed of data and styles.")] = "report",
    cases: Annotated[int, typer.Option(min=1, help="Charts per kind and library.")] = 20,
    tables: Annotated[int, typer.Option(min=1, help="Number of tables.")] = 40,
    keep: Annotated[Path | None, typer.Option(help="Folder for images that were not read entirely right.")] = None,
    model: Annotated[
        bool, typer.Option("--model", help="Start a platform, have its model describe charts, and measure only that.")
    ] = False,
    described: Annotated[int, typer.Option(min=2, help="Number of charts to describe.")] = 30,
    port: Port = 8000,
) -> None:
    """Values read from images of charts and tables, hostile image files, and claims of descriptions."""
    from bench.charts import described as descriptions
    from bench.charts.run import Wish, measure

    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    if model:
        found = descriptions.measure(console, port, seed, described)
    else:
        found = measure(console, Wish(seed, cases, tables, keep=keep))
    _finish(found, console, json, "charts")


@app.command()
def clients(
    json: Json = None,
    clients: Annotated[str, typer.Option(help="Comma-separated names; default: all.")] = "",
    model: Annotated[str, typer.Option(help="scripted, or an embedded model: standard, large or edge.")] = "scripted",
    docs: Annotated[Path | None, typer.Option(help="Folder of clients.md, to put figures in.")] = None,
    port: Port = 8000,
) -> None:
    """Whether widely used clients work with the platform: openai, ai, litellm, langchain, MCP and others."""
    from bench.clients.run import Wish, figures, measure
    from bench.engine.page import put

    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    wish = Wish(_names(clients), model, port)
    found = measure(console, wish, done=lambda rows: write(rows, json) if json else None)
    show(found, console, "clients")
    if docs:
        put(docs / "clients.md", figures(found))


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
