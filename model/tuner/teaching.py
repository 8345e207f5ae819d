"""Distillation: a larger model's opinion on each learned token (Hinton et al., 2015).

At a place where the rows say one token, the teacher's distribution also tells which others were nearly right. It is
computed once and kept as its `KEPT` likeliest tokens; what is left is one more outcome. Teacher and student need the
same vocabulary, and read conversations alike.

Suffixes: N learned tokens, K kept tokens.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from flightloop.errors import ConfigError
from model.nn.decoder import Decoder
from model.tuner.examples import Example
from model.tuner.objective import Opinion, opinions
from model.tuner.packing import batches
from model.tuner.sharing import grouped

KEPT = 16
"""Tokens that are kept of each distribution."""
SAVED_S = 300.0
"""Seconds between two saves of a teacher's unfinished work."""


@dataclass(frozen=True)
class Teaching:
    """A teacher's opinions on the learned tokens of examples.

    Attributes:
        opinion: its opinions, those of an example side by side.
        starts: where those of each example begin.
        weight: share of the loss that follows the teacher, 0 to 1; the rest follows the rows.
    """

    opinion: Opinion
    starts: Mapping[Example, int]
    weight: float

    def of(self, batch: Sequence[Example]) -> Opinion:
        """Opinions on the learned tokens of a batch, in its order."""
        places = [range(self.starts[each], self.starts[each] + _learned(each)) for each in batch]
        index_N = torch.tensor([place for several in places for place in several])
        return Opinion(self.opinion.token_NK[index_N].long(), self.opinion.log_NK[index_N].float())


def write_opinions(
    decoder: Decoder,
    examples: Sequence[Example],
    tokens: int,
    file: Path,
    told: Callable[[int], None] = lambda done: None,
) -> None:
    """Writes a teacher's opinions on examples to a file, or continues with a file that an interrupted call left.

    Args:
        decoder: the teacher, in float32 or bfloat16.
        examples: conversations; the same one twice counts once.
        tokens: tokens per batch.
        file: the file.
        told: called with the number of examples that are done.

    Raises:
        ConfigError: the file is broken or has opinions on other examples.
    """
    starts = _starts(examples)
    count = sum(map(_learned, starts))
    work = batches(grouped(list(starts), tokens // 2, 0), tokens, 0)
    begun = _read(file, starts) if file.exists() else None
    token_NK, log_NK, done = begun or (
        torch.zeros(count, KEPT, dtype=torch.int32),
        torch.zeros(count, KEPT, dtype=torch.float16),
        0,
    )
    saved = time.monotonic()
    low = torch.autocast(decoder.embedding.weight_VD.device.type, torch.bfloat16, decoder.dtype == torch.bfloat16)
    for number, groups in enumerate(work[done:], done + 1):
        batch = tuple(example for group in groups for example in group.examples)
        with torch.no_grad(), low:
            found = opinions(decoder, batch, KEPT)
        index_N = torch.tensor(
            [place for each in batch for place in range(starts[each], starts[each] + _learned(each))]
        )
        token_NK[index_N], log_NK[index_N] = found.token_NK.int().cpu(), found.log_NK.half().cpu()
        told(sum(len(group.examples) for several in work[:number] for group in several))
        if number == len(work) or time.monotonic() - saved > SAVED_S:
            _write(file, token_NK, log_NK, {"examples": _digest(starts), "done": number, "of": len(work)})
            saved = time.monotonic()


def read_teaching(file: Path, examples: Sequence[Example], weight: float) -> Teaching:
    """Reads the file of `write_opinions`.

    Raises:
        ConfigError: the file is broken, unfinished, or has opinions on other examples.
    """
    starts = _starts(examples)
    token_NK, log_NK, _ = _read(file, starts, finished=True)
    return Teaching(Opinion(token_NK, log_NK), starts, weight)


def _starts(examples: Sequence[Example]) -> dict[Example, int]:
    starts: dict[Example, int] = {}
    place = 0
    for each in examples:
        if each not in starts:
            starts[each], place = place, place + _learned(each)
    return starts


def _learned(example: Example) -> int:
    return sum(example.learned[1:])  # nothing predicts the first token


def _digest(starts: Mapping[Example, int]) -> str:
    digest = hashlib.sha256()
    for each in starts:
        digest.update(repr((each.tokens, each.learned)).encode())
    return digest.hexdigest()


def _write(file: Path, token_NK: Tensor, log_NK: Tensor, about: dict[str, object]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    writing = file.with_suffix(".writing")
    save_file({"token_NK": token_NK, "log_NK": log_NK}, writing, metadata={"taught": json.dumps(about)})
    writing.replace(file)


def _read(file: Path, starts: Mapping[Example, int], *, finished: bool = False) -> tuple[Tensor, Tensor, int]:
    try:
        with safe_open(file, "pt") as opened:
            about = json.loads((opened.metadata() or {})["taught"])
            token_NK, log_NK = opened.get_tensor("token_NK"), opened.get_tensor("log_NK")
        done, of, examples = int(about["done"]), int(about["of"]), str(about["examples"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{file} can't be read ({error}); remove it to start over", param="taught") from error
    if examples != _digest(starts):
        raise ConfigError(
            f"{file} has a teacher's opinions on other rows, or the teacher reads them as other tokens", param="taught"
        )
    if finished and done < of:
        raise ConfigError(f"{file} is unfinished ({done} of {of} batches); run `teach` again", param="taught")
    return token_NK, log_NK, done
