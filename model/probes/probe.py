"""Probes: thin networks on hidden states, stored as safetensors with the digest of the weights whose states they read.

Suffixes: T tokens of a chunk, D width of the model.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from flightloop.errors import ConfigError
from model.probes.states import PLACES, Place
from model.probes.texts import AXES, Axis
from model.probes.training import Floats, Network

MOST_BYTES = 2 * 2**20
TENSORS = {"first_DH": np.float16, "offset_H": np.float32, "second_H": np.float32}
"""Fields of a network that are tensors, and how they are stored."""


@dataclass(frozen=True)
class Probe:
    """Finds one kind of text in one place.

    Attributes:
        layer: the layer whose input is read.
        window: tokens whose states are averaged, half of which overlap the next ones; the highest score counts.
        network: its logit.
        bound: score that 1 % of the harmless texts exceed on which it was chosen.
    """

    axis: Axis
    place: Place
    layer: int
    window: int
    network: Network
    bound: float

    def logit(self, states_TD: Floats) -> float:
        """The highest logit of a chunk's windows; that of nothing for an empty chunk."""
        return float(self.network(windows(states_TD, self.window)).max()) if len(states_TD) else -math.inf


def windows(states_TD: Floats, size: int) -> Floats:
    """Mean states of windows that overlap by half, (N, D); the last window ends with the text."""
    starts = [*range(0, max(1, len(states_TD) - size), size // 2), max(0, len(states_TD) - size)]
    return np.stack([states_TD[start : start + size].mean(0) for start in dict.fromkeys(starts)])


def probability(logit: float) -> float:
    """The logistic function, 0..1."""
    return float(1 / (1 + np.exp(-np.clip(logit, -50, 50))))


def digest(files: Iterable[Path]) -> str:
    """SHA-256 of files that make up a model's weights, in their order. Raises OSError."""
    whole = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def save_probes(path: Path, probes: Sequence[Probe], weights: str) -> None:
    """Writes probes. ``weights``: digest of the weights that they belong to."""
    facts = [
        {
            "axis": probe.axis,
            "place": probe.place,
            "layer": probe.layer,
            "window": probe.window,
            "bias": probe.network.bias,
            "bound": probe.bound,
        }
        for probe in probes
    ]
    tensors = {
        f"{index}.{name}": getattr(probe.network, name).astype(kind)
        for index, probe in enumerate(probes)
        for name, kind in TENSORS.items()
    }
    save_file(tensors, path, metadata={"weights": weights, "probes": json.dumps(facts)})


def load_probes(path: Path, weights: str) -> list[Probe]:
    """Loads probes.

    Args:
        path: the file, at most `MOST_BYTES`.
        weights: digest of the weights that are served.

    Raises:
        ConfigError: the file can't be read, isn't a file of probes, or belongs to other weights.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ConfigError(f"{path} has {path.stat().st_size:,} bytes; probes have at most {MOST_BYTES:,}")
        with safe_open(path, "numpy") as file:
            facts: dict[str, str] = file.metadata() or {}
            if facts["weights"] != weights:
                raise ConfigError(
                    f"{path} belongs to the weights {facts['weights'][:12]}…, and {weights[:12]}… are served; fit new "
                    "probes with python -m model.probes fit"
                )
            described = json.loads(facts["probes"])
            return [
                _probe(one, {name: file.get_tensor(f"{index}.{name}") for name in TENSORS})
                for index, one in enumerate(described)
            ]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path} is not a file of probes: {type(error).__name__}: {error}") from error


def _probe(one: Mapping[str, Any], tensors: Mapping[str, Any]) -> Probe:
    first, offset, second = (tensors[name].astype(np.float32) for name in TENSORS)
    if one["axis"] not in AXES or one["place"] not in PLACES or first.shape != (len(first), *offset.shape):
        raise ValueError(f"unknown axis or place, or tensors of other shapes: {one}")
    network = Network(first, offset, second, float(one["bias"]))
    return Probe(one["axis"], one["place"], int(one["layer"]), int(one["window"]), network, float(one["bound"]))
