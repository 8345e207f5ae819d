"""Fits the weights of the tagger: log-likelihood of a linear-chain conditional random field, by AdaGrad."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from guardrails.entities.features import BUCKETS
from guardrails.entities.tagger import TAGS, may_follow

Floats = npt.NDArray[np.float32]
FORBIDDEN = -30.0
"""Score of transitions that can't occur."""
BATCH = 128


@dataclass(frozen=True)
class Encoded:
    """Buckets of a segment's features, uint16 (tokens, features), and its tags, (tokens,)."""

    buckets: npt.NDArray[np.uint16]
    tags: npt.NDArray[np.int64]


@dataclass
class Weights:
    """Scores of features (BUCKETS, TAGS) and of transitions (TAGS, TAGS)."""

    features: Floats
    transitions: Floats


def fit(
    examples: Sequence[Encoded], epochs: int, seed: int, rate: float, decay: float, tell: Callable[[str], None]
) -> Weights:
    """Maximises the likelihood of the tags, in batches of segments of equal length. The weights are a mean over the
    second half of the epochs.

    Args:
        rate: step of AdaGrad.
        decay: weight of the squared weights, per batch.
    """
    draw = np.random.default_rng(seed)
    may = np.array([[may_follow(tag, before) for tag in range(TAGS)] for before in range(TAGS)])
    weights = Weights(np.zeros((BUCKETS, TAGS), np.float32), np.where(may, 0, FORBIDDEN).astype(np.float32))
    history = Weights(np.full((BUCKETS, TAGS), 1e-3, np.float32), np.full((TAGS, TAGS), 1e-3, np.float32))
    mean, steps = np.zeros_like(weights.features), 0
    for epoch in range(epochs):
        loss = tokens = 0.0
        for batch in _batches(examples, draw):
            words, tags = _joined(batch)
            likelihood, slope, slope_between = gradient(words @ weights.features, weights.transitions, tags)
            loss -= likelihood
            tokens += words.shape[0]
            size = len(batch)
            _step(weights.features, history.features, (words.T @ slope) / size - decay * weights.features, rate)
            _step(weights.transitions, history.transitions, np.where(may, slope_between / size, 0), rate)
            if epoch >= epochs // 2 and not int(tokens) % 8:
                steps += 1
                mean += (weights.features - mean) / steps
        tell(f"epoch {epoch + 1} of {epochs}: loss {loss / tokens:.4f} a token")
    return Weights(mean if steps else weights.features, weights.transitions)


def _step(weights: Floats, history: Floats, slope: Floats, rate: float) -> None:
    history += slope * slope
    weights += rate * slope / np.sqrt(history)


def _batches(examples: Sequence[Encoded], draw: np.random.Generator) -> Iterator[list[Encoded]]:
    """Batches of segments of the same length, in random order."""
    order = draw.permutation(len(examples))
    by_length: dict[int, list[Encoded]] = {}
    batches = []
    for at in order:
        one = examples[at]
        same = by_length.setdefault(len(one.tags), [])
        same.append(one)
        if len(same) == BATCH:
            batches.append(by_length.pop(len(one.tags)))
    batches += by_length.values()
    for at in draw.permutation(len(batches)):
        yield batches[at]


def _joined(batch: Sequence[Encoded]) -> tuple[csr_matrix, npt.NDArray[np.int64]]:
    """A sparse matrix of features (segments * tokens, BUCKETS), and the tags (segments, tokens)."""
    columns = np.concatenate([one.buckets for one in batch]).astype(np.int32)
    count, each = columns.shape
    starts = np.arange(0, count * each + 1, each, dtype=np.int32)
    matrix = csr_matrix((np.ones(count * each, np.float32), columns.ravel(), starts), shape=(count, BUCKETS))
    return matrix, np.stack([one.tags for one in batch])


def gradient(
    scores: Floats, transitions: Floats, tags: npt.NDArray[np.int64]
) -> tuple[float, Floats, npt.NDArray[np.float64]]:
    """Log-likelihood, and its gradient by the scores (segments * tokens, TAGS) and by the transitions.

    Forward-backward in probabilities, each position scaled to a sum of one.
    """
    segments, length = tags.shape
    rows = scores.reshape(segments, length, TAGS).astype(np.float64)
    highest = rows.max(axis=2, keepdims=True)
    local, between = np.exp(rows - highest), np.exp(transitions.astype(np.float64))
    forward, scales = np.empty_like(local), np.empty((segments, length))
    current = local[:, 0]
    for at in range(length):
        if at:
            current = (forward[:, at - 1] @ between) * local[:, at]
        scales[:, at] = current.sum(axis=1)
        forward[:, at] = current / scales[:, at, None]
    backward = np.ones_like(local)
    pairs = np.zeros((TAGS, TAGS))
    for at in range(length - 1, 0, -1):
        ahead = backward[:, at] * local[:, at] / scales[:, at, None]
        backward[:, at - 1] = ahead @ between.T
        pairs += forward[:, at - 1].T @ ahead
    expected = forward * backward
    gold = np.zeros_like(expected)
    np.put_along_axis(gold, tags[:, :, None], 1, axis=2)
    gold_pairs = np.zeros((TAGS, TAGS))
    np.add.at(gold_pairs, (tags[:, :-1].ravel(), tags[:, 1:].ravel()), 1)
    likelihood = (rows * gold).sum() + (transitions * gold_pairs).sum() - np.log(scales).sum() - highest.sum()
    slope = (gold - expected).reshape(-1, TAGS).astype(np.float32)
    return float(likelihood), slope, gold_pairs - pairs * between
