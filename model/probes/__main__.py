"""``python -m model.probes``: fits probes on a model's hidden states and measures them on sources left out."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from flightloop.errors import ConfigError
from model.config import SHIPPED, STANDARD, ModelConfig
from model.probes.claim_readings import read_claims
from model.probes.claims import composed_claims
from model.probes.fitting import Measured, crossed, fitted, scored
from model.probes.metrics import Scores, auc, recall
from model.probes.probe import Probe, digest, save_probes
from model.probes.public import public
from model.probes.readings import read
from model.probes.states import Place
from model.probes.support import heads
from model.probes.texts import Axis, Text, composed
from model.probes.training import Recipe
from model.weights.files import model_path
from model.weights.load import load_model
from model.weights.loaded import LoadedModel

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
PARTS: tuple[tuple[Axis, Place], ...] = (("injection", "user"), ("injection", "result"), ("harm", "user"))
BESIDE = "benign_prompts"
"""Harmless texts that are compared with a set that has none of its own."""


@app.command()
def fit(
    out: Annotated[Path, typer.Option(help="File for the probes.")] = Path("probes.safetensors"),
    data: Annotated[Path | None, typer.Option(help="Folder with the public sets' archives; default: none.")] = None,
    model: Annotated[str, typer.Option(help="An embedded model, or the path of a checkpoint.")] = STANDARD,
    layers: Annotated[str, typer.Option(help="Layers to try.")] = "8,10,12,14",
    window: Annotated[int, typer.Option(min=2, help="Tokens whose states are averaged.")] = 32,
    hidden: Annotated[int, typer.Option(min=1, help="Hidden units of a probe.")] = Recipe.hidden,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the windows.")] = Recipe.epochs,
    every: Annotated[int, typer.Option(min=1, help="Use one pair of neighbouring composed texts of so many.")] = 1,
    most: Annotated[int, typer.Option(min=1, help="Most wanted and most harmless texts of a public set.")] = 240,
    kept: Annotated[Path, typer.Option(help="Folder of states that were read.")] = Path(".flightloop/probes"),
) -> None:
    """Chooses a layer on composed texts, each scored without its file, and fits a probe for each kind and place.

    Public sets are for measuring only: the probes are fitted on composed texts.
    """
    console = Console()
    try:
        tried = [int(layer) for layer in layers.split(",")]
        loaded, config, weights = _loaded(model, console)
        recipe, probes = Recipe(hidden, epochs), []
        for axis, place in PARTS:
            own = [text for text in composed() if (text.axis, text.place) == (axis, place)]
            own = [text for index, text in enumerate(own) if index // 2 % every == 0]
            sets = [text for text in limited(public(data, axis) if data else [], most) if text.place == place]
            readings = [read(loaded, config, weights, texts, tried, window, kept) for texts in (own, sets) if texts]
            measured = crossed(readings[0], tried, own, recipe)
            networks = [fitted(readings[0], index, own, np.full(len(own), True), recipe) for index in range(len(tried))]
            others = [scored(network, readings[1], index, len(sets)) for index, network in enumerate(networks) if sets]
            console.print(_table(f"{axis}, {place}", measured, others, sets))
            best = max(range(len(tried)), key=lambda index: measured[index].auc)
            probes.append(Probe(axis, place, tried[best], window, networks[best], measured[best].bound))
        save_probes(out, probes, weights)
    except (ConfigError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    console.print(str(out), soft_wrap=True, highlight=False)


@app.command()
def claims(
    data: Annotated[Path | None, typer.Option(help="Folder with the public sets' archives; default: none.")] = None,
    model: Annotated[str, typer.Option(help="An embedded model, or the path of a checkpoint.")] = STANDARD,
    layers: Annotated[str, typer.Option(help="Layers to try.")] = "12,16,20",
    hidden: Annotated[int, typer.Option(min=1, help="Hidden units of a head.")] = Recipe.hidden,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the claims.")] = 120,
    every: Annotated[int, typer.Option(min=1, help="Use one pair of neighbouring composed claims of so many.")] = 1,
    most: Annotated[int, typer.Option(min=1, help="Most supported and most other claims of a public set.")] = 200,
    kept: Annotated[Path, typer.Option(help="Folder of states that were read.")] = Path(".flightloop/probes"),
) -> None:
    """Measures heads that find claims which the records before them don't support, one source left out at a time.

    For each source: AUC, and the recall where 5 % of its supported claims are flagged. Heads are fitted on composed
    claims and on the other public sets.
    """
    console = Console()
    try:
        tried = [int(layer) for layer in layers.split(",")]
        texts = [text for index, text in enumerate(composed_claims()) if index // 2 % every == 0]
        texts += limited(public(data, "support") if data else [], most)
        loaded, config, weights = _loaded(model, console)
        readings = read_claims(loaded, config, weights, texts, tried, kept)
        found = list(track(heads(readings, tried, texts, Recipe(hidden, epochs)), "fitting"))
    except (ConfigError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    table = Table("head, layer", *found[0].by_source, box=None)
    for head in found:
        table.add_row(head.name, *(f"{area:.3f} / {share:.2f}" for area, share in head.by_source.values()))
    console.print(table)


def _loaded(model: str, console: Console) -> tuple[LoadedModel, ModelConfig, str]:
    """The model, its configuration and the digest of its weights."""
    shipped = SHIPPED.get(model)
    config = ModelConfig(model, experts=str(shipped.path) if shipped else None)
    weights = digest([path for path in (model_path(config), shipped and shipped.path) if path])
    with console.status("loading the model"):
        loaded = load_model(config)
    torch.set_num_threads(1)  # small products: threads would wait for each other
    return loaded, config, weights


def limited(texts: Sequence[Text], most: int) -> list[Text]:
    """At most so many texts of each source and kind."""
    counts: Counter[tuple[str, bool]] = Counter()
    found = []
    for text in texts:
        counts[text.source, text.wanted] += 1
        if counts[text.source, text.wanted] <= most:
            found.append(text)
    return found


def _table(title: str, measured: Sequence[Measured], others: Sequence[Scores], sets: Sequence[Text]) -> Table:
    """AUC, and recall at 1 % of the harmless texts; of sets without wanted texts, the share above the bound."""
    table = Table("source", *(f"layer {one.layer}" for one in measured), title=title, title_justify="left", box=None)
    table.add_row("composed, file left out", *(f"{one.auc:.3f} / {one.recall:.2f}" for one in measured))
    for source in dict.fromkeys(text.source for text in sets):
        wanted = np.array([text.source == source and text.wanted for text in sets])
        own = np.array([text.source == source and not text.wanted for text in sets])
        beside = own if own.any() else np.array([text.source == BESIDE for text in sets])
        if wanted.any():
            found = [(auc(one[wanted], one[beside]), recall(one[wanted], one[beside])) for one in others]
            table.add_row(source, *(f"{area:.3f} / {share:.2f}" for area, share in found))
        else:
            flagged = [(one[own] > each.bound).mean() for one, each in zip(others, measured, strict=True)]
            table.add_row(f"{source}, flagged", *(f"{share:.3f}" for share in flagged))
    return table


if __name__ == "__main__":
    app()
