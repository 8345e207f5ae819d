"""States of many texts for fitting and measuring probes, kept on disk: reading them takes minutes.

Suffixes: N windows of all texts, L layers, D width.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.progress import track

from model.config import ModelConfig
from model.probes.probe import windows
from model.probes.states import CHUNK, OVERLAP, Place, StatesReader, chunks
from model.probes.texts import Text
from model.weights.loaded import LoadedModel
from model.weights.tokenizer import Tokenizer

Halves = npt.NDArray[np.float16]


@dataclass(frozen=True)
class Readings:
    """What was read of texts.

    Attributes:
        states_NLD: mean states of the texts' windows.
        marked_N: share of each window's tokens that deserve its text's label.
        text_N: index of each window's text.
    """

    states_NLD: Halves
    marked_N: Halves
    text_N: npt.NDArray[np.int32]


def read(
    loaded: LoadedModel,
    config: ModelConfig,
    weights: str,
    texts: Sequence[Text],
    layers: Sequence[int],
    window: int,
    kept: Path,
) -> Readings:
    """Reads texts, each in its place.

    Args:
        loaded, config: the model.
        weights: digest of its weights (`model.probes.probe.digest`).
        texts: what to read.
        layers, window: as of `model.probes.probe.Probe`.
        kept: folder of what was read before.
    """
    facts = [weights, list(layers), window, CHUNK, OVERLAP, [asdict(text) for text in texts]]
    path = kept / f"{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]}.npz"
    if path.exists():
        with np.load(path) as file:
            return Readings(**file)
    parts = [_in_place(loaded, config, texts, place, layers, window) for place in sorted({one.place for one in texts})]
    found = Readings(
        np.concatenate([part.states_NLD for part in parts]),
        np.concatenate([part.marked_N for part in parts]),
        np.concatenate([part.text_N for part in parts]),
    )
    kept.mkdir(parents=True, exist_ok=True)
    np.savez(path, **vars(found))
    return found


def _in_place(
    loaded: LoadedModel, config: ModelConfig, texts: Sequence[Text], place: Place, layers: Sequence[int], window: int
) -> Readings:
    reader = StatesReader(loaded, config, place, layers)
    work: list[tuple[int, tuple[int, ...], tuple[int, ...]]] = []
    for index, text in enumerate(texts):
        if text.place == place and (tokens := loaded.tokenizer.encode(text.text)):
            flags = deserving(loaded.tokenizer, tokens, text)
            work += [(index, *pair) for pair in zip(chunks(tokens), chunks(flags), strict=True)]
    work.sort(key=lambda one: len(one[1]))  # chunks of one step are about as long
    states, marked, of = [], [], []
    found = reader.read([part for _, part, _ in work])
    for (index, _, marks), read_LTD in track(zip(work, found, strict=True), f"{place}: reading", total=len(work)):
        states.append(np.stack([windows(layer_TD, window) for layer_TD in read_LTD.numpy()], 1))
        marked.append(windows(np.array(marks, np.float32)[:, None], window)[:, 0])
        of += [index] * len(marked[-1])
    return Readings(
        np.concatenate(states).astype(np.float16), np.concatenate(marked).astype(np.float16), np.array(of, np.int32)
    )


def deserving(tokenizer: Tokenizer, tokens: Sequence[int], text: Text) -> list[int]:
    """For each token 1 if it has a part of a marked span, else 0; without spans, whether the text is wanted."""
    if not text.wanted or not text.spans:
        return [int(text.wanted)] * len(tokens)
    spans = [(len(text.text[:start].encode()), len(text.text[:end].encode())) for start, end in text.spans]
    found, at = [], 0
    for token in tokens:
        end = at + len(tokenizer.token_bytes[token])
        found.append(int(any(at < last and end > first for first, last in spans)))
        at = end
    return found
