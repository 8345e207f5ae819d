"""``python -m model.tuner``: composes conversations, trains experts on them or on your own, and puts experts in use."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import torch
import typer
from rich.console import Console
from rich.progress import track

from flightloop.errors import ConfigError
from model.config import EDGE, EMBEDDED, LARGE, SHIPPED, ModelConfig
from model.tuner import tuner
from model.tuner.bar import counted, fit_with_bar, reported
from model.tuner.compose.compose import compose as compose_rows
from model.tuner.compose.family import FOLDER, choose, read_all
from model.tuner.curves import PICTURE, draw
from model.tuner.curves import read as read_curves
from model.tuner.data.commands import app as data
from model.tuner.examples import BadRows, Example, Pair, read, read_pairs
from model.tuner.gate.command import promote
from model.tuner.teaching import Teaching, read_teaching, write_opinions
from model.tuner.tuner import Task, Trained, fuse
from model.weights.load import load_model

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Trains a model on conversations.")
app.add_typer(data, name="data")
app.command()(promote)
DEFAULTS = tuner.Recipe()
TASK: Task = "supervised"
TRAINED: Trained = "experts"
Device = Literal["auto", "cpu", "cuda"]
DEVICE: Device = "auto"


@app.command()
def fit(
    train: Annotated[Path, typer.Argument(help='Conversations, JSONL: {"messages": [...], "tools": [...]}.')],
    task: Annotated[Task, typer.Option(help='With preference, a row has a "chosen" and a "rejected" message.')] = TASK,
    out: Annotated[Path, typer.Option(help="Folder for the experts, the history and the checkpoint.")] = Path("tuned"),
    evaluation: Annotated[Path | None, typer.Option(help="Held-out conversations: measured, not trained on.")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the rows.")] = DEFAULTS.epochs,
    learning_rate: Annotated[float, typer.Option(min=0.0, help="Highest learning rate.")] = DEFAULTS.learning_rate,
    batch_tokens: Annotated[int, typer.Option(min=1, help="Tokens per step.")] = DEFAULTS.batch_tokens,
    longest: Annotated[int, typer.Option(min=2, help="Maximum tokens per conversation.")] = 2048,
    bad_rows: Annotated[BadRows, typer.Option(help="What to do with unusable rows.")] = "refuse",
    model: Annotated[str, typer.Option(help="An embedded model, or the path of a checkpoint.")] = EDGE,
    experts: Annotated[
        Path | None, typer.Option(help="Trained experts to start from; default: those that come with the model.")
    ] = None,
    untrained: Annotated[bool, typer.Option("--untrained", help="Start from untrained experts.")] = False,
    trained: Annotated[Trained, typer.Option(help="What to train; dense models have no experts.")] = TRAINED,
    rank: Annotated[int, typer.Option(min=1, help="Rank of the LoRA adapter.")] = 16,
    device: Annotated[Device, typer.Option(help="auto: a CUDA device if there is one.")] = DEVICE,
    recompute: Annotated[bool, typer.Option(help="Recompute activations: less memory, a third more time.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the examples' order.")] = DEFAULTS.seed,
    taught: Annotated[Path | None, typer.Option(help="A teacher's opinions on the rows, from `teach`.")] = None,
    teaching: Annotated[float, typer.Option(min=0.0, max=1.0, help="The teacher's share of the loss.")] = 0.5,
) -> None:
    """Trains on the assistant's messages. After an interruption, run the same command again to continue."""
    console = Console()
    recipe = replace(
        DEFAULTS,
        epochs=epochs,
        learning_rate=learning_rate,
        batch_tokens=batch_tokens,
        recompute=recompute,
        seed=seed,
    )
    try:
        with console.status("loading the model"):
            if experts is None and not untrained and model in SHIPPED:
                experts = SHIPPED[model].path
            begun = None if experts is None or untrained else str(experts)
            base = load_model(ModelConfig(model, dtype="bfloat16", experts=begun))
        learned: Sequence[Example] | Sequence[Pair]
        opinions: Teaching | None = None
        if task == "supervised":
            learned = reported(console, train, read(train, base.chat, longest, bad_rows))
            opinions = read_teaching(taught, learned, teaching) if taught else None
        elif taught:
            raise ConfigError("a teacher is for --task supervised", param="taught")
        else:
            learned = reported(console, train, read_pairs(train, base.chat, longest, bad_rows))
        held_out: tuple[Example, ...] = ()
        if evaluation:
            held_out = reported(console, evaluation, read(evaluation, base.chat, longest, bad_rows))
        learner = tuner.Tuner(base.decoder.to(_device(device)), task, out, trained=trained, rank=rank, fused=True)
        made = fit_with_bar(console, learner, learned, held_out, out, recipe, opinions)
    except ConfigError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(f"interrupted; run the same command to continue from the last checkpoint in {out}")
    for file in made:
        console.print(str(file), soft_wrap=True, highlight=False)
    tried = " ".join(f"FLIGHTLOOP_MODEL_{file.stem.upper()}={file}" for file in made)
    console.print(f"to try it: {tried} make up", soft_wrap=True, highlight=False)
    if trained == "experts" and model in EMBEDDED:
        console.print(f"to put it in use: promote {made[0]} --model {model}", soft_wrap=True, highlight=False)


@app.command()
def curves(
    folders: Annotated[list[Path], typer.Argument(help="Folders of tunings, as given to fit --out.")],
    out: Annotated[
        Path | None, typer.Option(help="SVG file; default: curves.svg, for a single tuning in its folder.")
    ] = None,
) -> None:
    """Draws the losses of several tunings in one picture."""
    path = out or (folders[0] / PICTURE if len(folders) == 1 else Path(PICTURE))
    try:
        path.write_text(draw(read_curves(folders)), encoding="utf-8")
    except (ConfigError, OSError) as error:
        sys.exit(f"error: {error}")
    Console().print(str(path), soft_wrap=True, highlight=False)


@app.command()
def teach(
    rows: Annotated[Path, typer.Argument(help="Conversations, JSONL, as for `fit`.")],
    out: Annotated[Path, typer.Option(help="File of the opinions.")],
    model: Annotated[str, typer.Option(help="The teacher: an embedded model, or the path of a checkpoint.")] = LARGE,
    experts: Annotated[Path | None, typer.Option(help="Its trained experts; default: none.")] = None,
    batch_tokens: Annotated[int, typer.Option(min=1, help="Tokens per step.")] = DEFAULTS.batch_tokens,
    longest: Annotated[int, typer.Option(min=2, help="Maximum tokens per conversation.")] = 2048,
    bad_rows: Annotated[BadRows, typer.Option(help="What to do with unusable rows.")] = "refuse",
    device: Annotated[Device, typer.Option(help="auto: a CUDA device if there is one.")] = DEVICE,
) -> None:
    """Writes a larger model's opinion on each token that is learned, for ``fit --taught``. Continues if interrupted."""
    console = Console()
    try:
        with console.status("loading the model"):
            trained = {"routed_experts": 0} if experts is None else {"experts": str(experts)}
            base = load_model(ModelConfig(model, dtype="bfloat16", **trained))
        examples = reported(console, rows, read(rows, base.chat, longest, bad_rows))
        decoder = base.decoder.requires_grad_(False).to(_device(device))
        fuse(decoder)
        with counted(console, "conversations", len(set(examples))) as told:
            write_opinions(decoder, examples, batch_tokens, out, told)
    except ConfigError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; run the same command to continue")
    console.print(f"{out}: fit {rows} --taught {out}", soft_wrap=True, highlight=False)


@app.command()
def compose(
    out: Annotated[Path, typer.Argument(help="Output file of the conversations, JSONL.")],
    rows: Annotated[int, typer.Option(min=1, help="Number of conversations.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same conversations.")] = 0,
    families: Annotated[Path, typer.Option(help="Folder of the tool families.")] = FOLDER,
    held_out: Annotated[list[str] | None, typer.Option(help="A domain to leave out; repeatable.")] = None,
    only_held_out: Annotated[bool, typer.Option(help="Use only the held-out domains, for evaluation.")] = False,
) -> None:
    """Composes training conversations from tool families."""
    try:
        domains = choose(read_all(families), held_out or (), only=only_held_out)
        with out.open("w", encoding="utf-8") as file:
            for row in track(compose_rows(domains, rows, seed), "composing", total=rows):
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    except (ConfigError, OSError) as error:
        sys.exit(f"error: {error}")
    tools = sum(len(domain.tools) for domain in domains)
    Console().print(f"{out}: {rows:,} conversations from {tools} tools of {len(domains)} domains")


def _device(name: Device) -> str:
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise ConfigError("torch finds no CUDA device; use --device cpu", param="device")
    return "cuda" if there and name != "cpu" else "cpu"


if __name__ == "__main__":
    app()
