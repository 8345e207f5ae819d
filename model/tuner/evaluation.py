"""Scores reference answers with a model: their probability, and whether greedy decoding would give the same ones.

Suffixes: T tokens of a batch, D model width, N rows that predict a learned token, V vocabulary, A answers of a batch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from flightloop.errors import ConfigError, InvalidRequest
from model.chat.format import ChatFormat
from model.nn.attention import NoCache
from model.nn.decoder import Decoder
from model.tuner.data.overview import kinds_of
from model.tuner.data.row import Bad, Row, read_rows
from model.tuner.examples import Example, example_of
from model.tuner.objective import SCORED
from model.tuner.packing import batches

BATCH_TOKENS = 4096


@dataclass(frozen=True)
class HeldOut:
    """A held-out conversation.

    Attributes:
        number: index of the conversation among the valid rows, from 0.
        example: tokens of the conversation.
        kinds: kind of each answer, in order (`model.tuner.data.overview.KINDS`).
    """

    number: int
    example: Example
    kinds: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.example)


@dataclass(frozen=True)
class Scored:
    """Score of a reference answer, computed with teacher forcing.

    Attributes:
        row: number of the answer's conversation.
        kind: kind of the answer.
        tokens: number of tokens, including the end token.
        loss: sum over the tokens, in nats.
        exact: whether each token is the most probable one, as in greedy decoding.
    """

    row: int
    kind: str
    tokens: int
    loss: float
    exact: bool


def read_held_out(path: Path, chat: ChatFormat, longest: int) -> tuple[list[HeldOut], list[Bad]]:
    """Reads conversations to score. Also returns the invalid rows.

    Args:
        path: a JSONL file in the format of `model.tuner.examples.read`.
        chat: how the model reads conversations.
        longest: maximum number of tokens of a row.

    Raises:
        ConfigError: the file can't be read, or has no valid row.
    """
    found: list[HeldOut] = []
    bad: list[Bad] = []
    for place, row in read_rows(path):
        try:
            if isinstance(row, Bad):
                bad.append(row)
            else:
                example = example_of(copy.deepcopy(row), chat, longest)
                found.append(HeldOut(len(found), example, _kinds(row, example.answers)))
        except (ValueError, InvalidRequest) as error:
            bad.append(Bad(place, str(error).splitlines()[0]))
    if not found:
        raise ConfigError(f"{path} has no valid row", param="evaluation")
    return found, bad


def _kinds(row: Row, answers: Sequence[int]) -> tuple[str, ...]:
    assistant = [index for index, message in enumerate(row["messages"]) if message.get("role") == "assistant"]
    kinds = dict(zip(assistant, kinds_of(row), strict=True))
    return tuple(kinds[index] for index in answers)


@torch.no_grad()
def score(decoder: Decoder, rows: Sequence[HeldOut], told: Callable[[int], None] = lambda done: None) -> list[Scored]:
    """Scores every answer of every row, in order. The batches are the same for every model.

    Args:
        decoder: the model, in any number format.
        rows: rows to score.
        told: called with the number of finished rows.
    """
    found: list[Scored] = []
    done = 0
    for batch in batches(rows, BATCH_TOKENS, 0):
        found += _scored(decoder, batch)
        done += len(batch)
        told(done)
    return sorted(found, key=lambda answer: answer.row)


def _scored(decoder: Decoder, batch: Sequence[HeldOut]) -> list[Scored]:
    tokens_T = torch.tensor([token for row in batch for token in row.example.tokens])
    rows, answers, owners = _predicting(batch)
    rows_N, answers_N = torch.tensor(rows), torch.tensor(answers)
    layout = decoder.dense_layout([len(row) for row in batch])
    hidden_TD = decoder(tokens_T, layout.positions_T, NoCache(), layout)
    pairs = zip(torch.split(hidden_TD[rows_N], SCORED), torch.split(tokens_T[rows_N + 1], SCORED), strict=True)
    parts = [_losses(decoder, hidden_ND, target_N) for hidden_ND, target_N in pairs]
    loss_N, missed_N = (torch.cat(each) for each in zip(*parts, strict=True))
    zeros_A = torch.zeros(len(owners), dtype=torch.float64)
    loss_A = zeros_A.index_add(0, answers_N, loss_N.double())
    missed_A = zeros_A.index_add(0, answers_N, missed_N.double())
    count_A = answers_N.bincount(minlength=len(owners))
    return [
        Scored(row, kind, int(count), float(loss), not missed)
        for (row, kind), count, loss, missed in zip(owners, count_A, loss_A, missed_A, strict=True)
    ]


def _predicting(batch: Sequence[HeldOut]) -> tuple[list[int], list[int], list[tuple[int, str]]]:
    """Rows of the flat batch that predict a learned token, the answer of each, and each answer's row and kind."""
    rows: list[int] = []
    answers: list[int] = []
    owners: list[tuple[int, str]] = []
    start = 0
    for row in batch:
        kinds = iter(row.kinds)
        before = False
        for place, learned in enumerate(row.example.learned):
            if learned and not before:
                owners.append((row.number, next(kinds)))
            if learned:
                rows.append(start + place - 1)
                answers.append(len(owners) - 1)
            before = learned
        assert next(kinds, None) is None, "one kind per answer"
        start += len(row)
    return rows, answers, owners


def _losses(decoder: Decoder, hidden_ND: Tensor, target_N: Tensor) -> tuple[Tensor, Tensor]:
    """Loss of each token, and whether another token is more probable."""
    logits_NV = decoder.logits(hidden_ND)
    return functional.cross_entropy(logits_NV, target_N, reduction="none"), logits_NV.argmax(-1) != target_N
