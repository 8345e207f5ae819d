"""Where a tuning stands, on disk: an interrupted one goes on from there and ends as if nothing had happened."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from flightloop.errors import ConfigError


@dataclass(frozen=True)
class Place:
    """How far a tuning has come.

    Attributes:
        recipe: a digest of what it learns from and how; another recipe can't go on from here.
        epoch, batch: the next batch to learn from.
        steps, tokens: done so far.
    """

    recipe: str
    epoch: int = 0
    batch: int = 0
    steps: int = 0
    tokens: int = 0


def save(path: Path, place: Place, trained: dict[str, Tensor], optimiser: torch.optim.Optimizer) -> None:
    """Writes a checkpoint; the one before stays whole until this one is.

    Args:
        path: of the file.
        place: how far it is.
        trained: what is trained, by name, in the order of the optimiser's parameters.
        optimiser: whose state tensors go with them.
    """
    tensors = {f"weight.{name}": value.detach().contiguous() for name, value in trained.items()}
    for name, parameter in trained.items():
        for key, value in optimiser.state.get(parameter, {}).items():
            tensors[f"{key}.{name}"] = torch.as_tensor(value).contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_suffix(".writing")
    save_file(tensors, written, metadata={"place": json.dumps(asdict(place))})
    with written.open("rb") as file:
        os.fsync(file.fileno())
    written.replace(path)


def load(path: Path, recipe: str, trained: dict[str, Tensor], optimiser: torch.optim.Optimizer) -> Place:
    """Puts a checkpoint's tensors where they belong; where there is none, the beginning.

    Raises:
        ConfigError: the file is broken, or of another recipe.
    """
    if not path.exists():
        return Place(recipe)
    try:
        with safe_open(path, "pt") as file:
            place = Place(**json.loads((file.metadata() or {})["place"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is not a dict
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"the checkpoint {path} can't be read ({error}); remove it to begin anew", param="out"
        ) from error
    if place.recipe != recipe:
        raise ConfigError(
            f"{path} is of a tuning with other data or settings; name another folder, or remove it to begin anew",
            param="out",
        )
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(tensors.pop(f"weight.{name}"))
    for name, parameter in trained.items():
        state = {key.split(".", 1)[0]: value for key, value in tensors.items() if key.split(".", 1)[1] == name}
        if state:
            optimiser.state[parameter] = {
                key: value.to(parameter.device) if value.ndim else value for key, value in state.items()
            }
    return place
