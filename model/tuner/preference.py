"""Preference training: direct preference optimisation (Rafailov et al., 2023).

A fraction of the better answer's supervised loss is added, to keep its probability high (Pang et al., 2024). Without
it, both answers may become unlikely.

Suffixes: P pairs of a batch, B = 2P conversations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from flightloop.errors import ConfigError
from model.nn.decoder import Decoder
from model.tuner.examples import Pair
from model.tuner.objective import Losses, Measured, losses
from model.tuner.packing import Batch, batches

REFERENCE = "reference.safetensors"


@dataclass(frozen=True)
class Judged:
    """A pair, and the log-probability ratio of its answers before the tuning, in nats."""

    pair: Pair
    before: float

    def __len__(self) -> int:
        return len(self.pair)


def judge(decoder: Decoder, pairs: Sequence[Pair], tokens: int, file: Path, base: str) -> list[Judged]:
    """Scores pairs with the model before the tuning, or reads the scores of an interrupted tuning.

    Args:
        decoder: the model before the tuning.
        pairs: pairs to score.
        tokens: tokens per batch.
        file: file of the scores.
        base: digest of the model.

    Raises:
        ConfigError: the file is broken, has another number of pairs, or has the scores of another model.
    """
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file({"before_P": _scores(decoder, pairs, tokens)}, file, metadata={"base": base})
    try:
        with safe_open(file, "pt") as scores:
            before = scores.get_tensor("before_P").tolist()
            scored_by = (scores.metadata() or {}).get("base")
    except (OSError, SafetensorError, KeyError) as error:
        raise ConfigError(f"{file} can't be read ({error}); remove the folder to start over", param="out") from error
    if len(before) != len(pairs):
        raise ConfigError(f"{file} has {len(before)} pairs instead of {len(pairs)}; use another folder", param="out")
    if scored_by != base:
        raise ConfigError(f"{file} has the scores of another base model; use another folder", param="out")
    return [Judged(pair, each) for pair, each in zip(pairs, before, strict=True)]


@dataclass(frozen=True)
class Preference:
    """Objective that makes the better answer of each pair more probable than the other.

    Attributes:
        decoder: the model to train.
        items: pairs with their scores before the tuning.
        sharpness: DPO's beta; the larger, the sooner a pair counts as learned.
        anchor: weight of the better answer's mean supervised loss per token.
        recompute: as for `model.tuner.objective.losses`.
    """

    decoder: Decoder
    items: Sequence[Judged]
    sharpness: float
    anchor: float
    recompute: bool = False

    def measure(self, batch: Sequence[Judged]) -> Measured:
        """Sum of the loss over the pairs, and their number."""
        found = losses(self.decoder, _flat([each.pair for each in batch]), recompute=self.recompute)
        before_P = torch.tensor([each.before for each in batch])
        loss_P = -functional.logsigmoid(self.sharpness * (_ahead(found, len(batch)) - before_P))
        better_P = found.by_conversation(2 * len(batch))[0::2]
        length_P = torch.tensor([sum(each.pair.chosen.learned) for each in batch])
        return Measured((loss_P + self.anchor * better_P / length_P).sum(), len(batch), found.chosen_LE)


def _scores(decoder: Decoder, pairs: Sequence[Pair], tokens: int) -> Tensor:
    before_P = torch.zeros(len(pairs))
    numbered = [_Numbered(number, pair) for number, pair in enumerate(pairs)]
    with torch.no_grad():
        for batch in batches(numbered, tokens, 0):
            found = losses(decoder, _flat([each.pair for each in batch]))
            before_P[[each.number for each in batch]] = _ahead(found, len(batch))
    return before_P


@dataclass(frozen=True)
class _Numbered:
    number: int
    pair: Pair

    def __len__(self) -> int:
        return len(self.pair)


def _flat(pairs: Sequence[Pair]) -> Batch:
    """The answers side by side, the better one of each pair first."""
    return tuple(example for pair in pairs for example in (pair.chosen, pair.rejected))


def _ahead(found: Losses, pairs: int) -> Tensor:
    """Log-probability ratio of each pair's answers, better to worse, (P,)."""
    loss_B = found.by_conversation(2 * pairs)
    return loss_B[1::2] - loss_B[0::2]
