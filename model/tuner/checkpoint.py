"""Checkpoints of a tuning. A tuning that continues from a checkpoint gives the same result as an uninterrupted one."""

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
    """Position of a tuning in its data.

    Attributes:
        recipe: digest of the data and settings; a checkpoint of another recipe can't be continued.
        epoch, batch: indices of the next batch.
        steps, tokens: numbers of steps and tokens completed so far.
    """

    recipe: str
    epoch: int = 0
    batch: int = 0
    steps: int = 0
    tokens: int = 0


def save(path: Path, place: Place, trained: dict[str, Tensor], optimiser: torch.optim.Optimizer) -> None:
    """Writes a checkpoint atomically.

    Args:
        path: the file.
        place: position of the tuning.
        trained: trained tensors by name.
        optimiser: optimiser of these tensors, whose state is saved too.
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
    """Restores ``trained`` and ``optimiser``, and returns the position. Without a checkpoint, returns the start.

    Raises:
        ConfigError: the file is broken, or belongs to another recipe.
    """
    if not path.exists():
        return Place(recipe)
    try:
        with safe_open(path, "pt") as file:
            place = Place(**json.loads((file.metadata() or {})["place"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is not a dict
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"the checkpoint {path} can't be read ({error}); remove it to start over", param="out"
        ) from error
    if place.recipe != recipe:
        raise ConfigError(
            f"{path} belongs to a tuning of another base model, or with other data or settings;"
            " use another folder, or remove it to start over",
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
