"""``python -m model.tuner data``: creates, cleans and inspects rows of training data."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from flightloop.errors import ConfigError, FlightloopError
from model.config import EDGE, LARGE, SHIPPED, ModelConfig
from model.engine.engine import Engine
from model.engine.fakes import ManualStop
from model.serve.server import ChatServer
from model.tuner.bar import counted
from model.tuner.compose.family import read_all
from model.tuner.confidence import levels
from model.tuner.data.clean import cleaned, fault, unsaid
from model.tuner.data.contamination import decontaminated
from model.tuner.data.convert import SOURCES
from model.tuner.data.convert import convert as convert_folder
from model.tuner.data.desks import DESKS, desk_files, desk_rows
from model.tuner.data.duplicates import SIMILAR, distinct
from model.tuner.data.measured import read_measured
from model.tuner.data.ordinary import answered as talked
from model.tuner.data.ordinary import prompts, with_tools
from model.tuner.data.overview import KINDS, overview
from model.tuner.data.row import Bad, Row, calls_of, read_rows, write_rows
from model.tuner.examples import example_of
from model.tuner.mistakes import Answered, answers, evened
from model.weights.load import load_model
from observability.metrics import Metrics

app = typer.Typer(no_args_is_help=True, help="Rows from public sets; cleaning, duplicates, contamination.")
SHOWN = 5
"""Maximum number of bad records and matches that are printed; the report has all."""
AT_ONCE = 8
"""Number of answers that the model generates concurrently. Each may have a schema of its own, and more of one tenant's
schemas are refused (`model.engine.compiler.MOST`)."""
_NO_LIMIT = sys.maxsize
Made = TypeVar("Made")

Files = Annotated[list[Path], typer.Argument(help='Rows, JSONL: {"messages": [...], "tools": [...]}.')]
Counted = Annotated[str, typer.Option(help="The model whose tokens are counted.")]
Answering = Annotated[str, typer.Option("--model", help="The model that answers.")]
Experts = Annotated[Path | None, typer.Option(help="Its trained experts; default: those that come with it.")]
Out = Annotated[Path, typer.Option(help="Output file. A report is written next to it: NAME.report.json.")]


@app.command()
def convert(
    source: Annotated[str, typer.Argument(help=", ".join(SOURCES))],
    folder: Annotated[Path, typer.Argument(help="Folder of the unpacked archive.")],
    out: Out,
    split: Annotated[str | None, typer.Option(help="Part of the set; default: the training part.")] = None,
    most: Annotated[int | None, typer.Option(min=1, help="Maximum rows; if there are more, a random sample.")] = None,
    longest: Annotated[int, typer.Option(min=64, help="Maximum tokens per row.")] = 1024,
    seed: Annotated[int, typer.Option(min=0, help="Seed of random choices.")] = 0,
    model: Counted = EDGE,
) -> None:
    """Converts a public set to rows."""
    console = Console()
    with _refusing(), counted(console, source, None) as told:
        measure = _measure(model)
        made = convert_folder(source, folder, split, seed, most, lambda row: measure(row) <= longest, told)
    report = {"source": source, "rows": len(made.rows), **_bad(made.bad)}
    _written(console, out, made.rows, report, map(str, made.bad))


@app.command()
def clean(
    files: Files,
    out: Out,
    similar: Annotated[float, typer.Option(min=0.65, max=1.0, help="Minimum similarity of duplicates.")] = SIMILAR,
) -> None:
    """Cleans rows, and removes faulty ones and duplicates."""
    console = Console()
    with _refusing():
        rows, bad = _read(files)
    good: list[Row] = []
    with counted(console, "rows", len(rows)) as told:
        for number, (place, row) in enumerate(rows, 1):
            tidy = cleaned(row)
            wrong = fault(tidy)
            if wrong is None:
                good.append(tidy)
            else:
                bad.append(Bad(place, wrong))
            told(number)
    with counted(console, "duplicates", len(good)) as told:
        kept = distinct(good, similar, told)
    report = {
        "read": len(rows),
        "rows": len(kept.rows),
        **_bad(bad),
        "duplicates": {"exact": kept.exact, "near": kept.near},
        "calls": sum(1 for row in kept.rows for _ in calls_of(row)),
        "calls_with_a_required_value_that_was_not_said": sum(map(unsaid, kept.rows)),
    }
    _written(console, out, kept.rows, report, map(str, bad))


@app.command()
def decontaminate(
    file: Annotated[Path, typer.Argument(help="Rows, JSONL.")],
    against: Annotated[list[str], typer.Option(help="bfcl=DIR, tau2=DIR, agentdojo=DIR, or a file of tasks or rows.")],
    out: Out,
) -> None:
    """Removes rows that resemble benchmark cases."""
    console = Console()
    with _refusing():
        rows, bad = _read([file])
        sets = [read_measured(each) for each in against]
    with counted(console, "rows", len(rows)) as told:
        made = decontaminated([row for _, row in rows], sets, told)
    report = {
        "read": len(rows),
        "rows": len(made.rows),
        **_bad(bad),
        "against": {each.name: {"cases": len(each.cases), "functions": len(each.functions)} for each in sets},
        "taken_out": Counter(f"{match.measured}: {match.how}" for _, match in made.taken),
        "matches": [{"set": match.measured, "case": match.place, "how": match.how} for _, match in made.taken],
        "rows_with_a_function_of": {
            each.name: {function: count for (name, function), count in made.shared.most_common() if name == each.name}
            for each in sets
        },
    }
    places = (f"removed: resembles {match.measured}, {match.place} ({match.how})" for _, match in made.taken)
    _written(console, out, made.rows, report, [*map(str, bad), *places])


@app.command()
def show(files: Files, model: Counted = EDGE) -> None:
    """Shows rows by source: tokens, tools, calls, and kinds of answers."""
    console = Console()
    with _refusing():
        rows, bad = _read(files)
        measure = _measure(model)
    with counted(console, "rows", len(rows)) as told:
        found = overview([row for _, row in rows], measure, told)
    about = "tokens, tools and calls per row; then kinds of answers"
    table = Table("source", caption=about, caption_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    for name in ("rows", "tokens", "tools", "calls", *KINDS):
        table.add_column(name, justify="right")
    for source, held in found.items():
        means = (held.tokens / held.rows, held.tools / held.rows, held.calls / held.rows)
        figures = [f"{held.rows:,}", f"{means[0]:.0f}", *(f"{mean:.1f}" for mean in means[1:])]
        table.add_row(source or "-", *figures, *(f"{held.kinds[kind]:,}" for kind in KINDS))
    console.print(table)
    _tell(console, map(str, bad))


@app.command()
def ordinary(
    out: Out,
    model: Answering = LARGE,
    most: Annotated[int, typer.Option(min=1, help="Maximum conversations.")] = 1_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of their order and their system messages.")] = 0,
) -> None:
    """Lets a larger model answer ordinary questions, so that a tuned model still talks like one."""
    console = Console()
    asked = prompts(most, seed)
    with _refusing(), _serving(ModelConfig(model, slots=AT_ONCE, queue=len(asked) + 1, routed_experts=0)) as server:
        [card] = server.models()
        with counted(console, "answers", len(asked)) as told:
            made = asyncio.run(_asked(talked(server, card.id, asked, AT_ONCE), told))
    rows = [row for row in made if row]
    rows = [*rows, *with_tools(rows, read_all(), seed)]
    _written(console, out, rows, {"model": model, "asked": len(asked), "rows": len(rows)}, [])


@app.command()
def desks(
    out: Out,
    folder: Annotated[Path, typer.Option(help="Folder of the desks' files.")] = DESKS,
    seed: Annotated[int, typer.Option(min=0, help="Seed of how the talks are told.")] = 0,
    held_out: Annotated[list[str] | None, typer.Option(help="A desk to leave out; repeatable.")] = None,
    only_held_out: Annotated[bool, typer.Option(help="Use only the held-out desks, for evaluation.")] = False,
) -> None:
    """Tells the written conversations of desks, as an agent's sessions or as a client's conversations."""
    with _refusing():
        rows = list(desk_rows(desk_files(folder, held_out or (), only_held_out), seed))
    _written(Console(), out, rows, {"folder": str(folder), "rows": len(rows)}, [])


@app.command()
def mistakes(
    file: Annotated[Path, typer.Argument(help="Rows with right answers, JSONL.")],
    out: Out,
    model: Answering = EDGE,
    experts: Experts = None,
    temperature: Annotated[float, typer.Option(min=0.0, max=2.0, help="Temperature of the answers.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice of an answer per row.")] = 0,
) -> None:
    """Lets the model answer, and pairs its wrong answers with the right ones, for ``fit --task preference``."""
    console = Console()
    with _refusing():
        rows, bad = _read([file])
        made = _answered(console, [row for _, row in rows], model, experts, temperature, seed)
    wrong = [each.pair for each in made if not each.is_right]
    pairs = evened(wrong)
    report = {"read": len(rows), "asked": len(rows), "wrong": len(wrong), "rows": len(pairs), **_bad(bad)}
    _written(console, out, pairs, report, map(str, bad))


@app.command()
def confidence(
    file: Annotated[Path, typer.Argument(help="Rows with right answers that were not trained on, JSONL.")],
    model: Answering = EDGE,
    experts: Experts = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice of an answer per row.")] = 0,
) -> None:
    """Lets the model answer, and shows how a minimum confidence for calls reduces wrong calls."""
    console = Console()
    with _refusing():
        rows, bad = _read([file])
        found = levels(_answered(console, [row for _, row in rows if row.get("tools")], model, experts, 0.0, seed))
    best = max(found, key=lambda level: level.score)
    table = Table("confidence", box=box.SIMPLE, padding=(0, 1, 0, 0))
    for name in (
        "right calls where needed",
        "no calls where none needed",
        "right of calls made",
        "mean of the first two",
    ):
        table.add_column(name, justify="right")
    for level in found:
        shares = (level.right, level.quiet, level.precision, level.score)
        shown = (f"{share:.1%}" for share in shares)
        table.add_row(f"{level.least:g}", *shown, style="green" if level is best else "")
    console.print(table)
    console.print(f"FLIGHTLOOP_MODEL_CALL_CONFIDENCE={best.least:g}", highlight=False)
    _tell(console, map(str, bad))


def _answered(
    console: Console, rows: Sequence[Row], model: str, experts: Path | None, temperature: float, seed: int
) -> list[Answered]:
    if experts is None and model in SHIPPED:
        experts = SHIPPED[model].path
    config = ModelConfig(model, experts=None if experts is None else str(experts), slots=AT_ONCE, queue=len(rows) + 1)
    with _serving(config) as server, counted(console, "answers", len(rows)) as told:
        [card] = server.models()
        made = asyncio.run(_asked(answers(server, card.id, rows, AT_ONCE, temperature, seed), told))
    return [each for each in made if each]


@contextmanager
def _serving(config: ModelConfig) -> Iterator[ChatServer]:
    loaded = load_model(config)
    server = ChatServer(Engine(loaded, config, ManualStop(), Metrics("tuner")), loaded, loaded.name)
    server.start()
    try:
        yield server
    finally:
        server.close()


async def _asked(found: AsyncIterator[Made], told: Callable[[int], None]) -> list[Made]:
    made: list[Made] = []
    async for each in found:
        made.append(each)
        told(len(made))
    return made


def _measure(model: str) -> Callable[[Row], int]:
    """Returns a function that counts a row's tokens; an unusable row counts as longer than any limit."""
    chat = load_model(ModelConfig(model, routed_experts=0)).chat

    def tokens(row: Row) -> int:
        try:
            return len(example_of(row, chat, _NO_LIMIT))
        except (ValueError, FlightloopError):
            return _NO_LIMIT

    return tokens


def _read(files: Sequence[Path]) -> tuple[list[tuple[str, Row]], list[Bad]]:
    """Rows with their places, and lines without a valid row."""
    rows: list[tuple[str, Row]] = []
    bad: list[Bad] = []
    for file in files:
        for place, each in read_rows(file):
            if isinstance(each, Bad):
                bad.append(each)
            else:
                rows.append((place, each))
    return rows, bad


def _bad(bad: Sequence[Bad]) -> dict[str, Any]:
    return {"bad": Counter(each.reason for each in bad), "bad_records": [str(each) for each in bad]}


def _written(console: Console, out: Path, rows: Sequence[Row], report: dict[str, Any], told: Iterable[str]) -> None:
    write_rows(out, rows)
    beside = out.with_suffix(".report.json")
    beside.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    _tell(console, told)
    console.print(f"{out}: {len(rows):,} rows; {beside.name} reports on the others")


def _tell(console: Console, lines: Iterable[str]) -> None:
    given = list(lines)
    for line in given[:SHOWN]:
        console.print(line, style="yellow", highlight=False, markup=False)
    if len(given) > SHOWN:
        console.print(f"and {len(given) - SHOWN:,} more", style="yellow", highlight=False)


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        sys.exit(f"error: {error}")
