"""Measures heads that tell claims that their evidence doesn't support from those that it does.

Suffixes: N claims, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.probes.claim_readings import POOLS, ClaimReadings
from model.probes.claims import missing_share
from model.probes.fitting import FOLDS
from model.probes.metrics import Scores, auc, recall
from model.probes.public import SETS
from model.probes.texts import Text
from model.probes.training import Floats, Recipe, fit_network

FLAGGED = 0.05
"""Share of the supported claims that may be flagged."""
COMPOSED = "composed"


@dataclass(frozen=True)
class Head:
    """How well a score separates claims.

    Attributes:
        by_source: AUC, and recall where `FLAGGED` of the source's supported claims are flagged.
    """

    name: str
    by_source: Mapping[str, tuple[float, float]]


def heads(readings: ClaimReadings, layers: Sequence[int], texts: Sequence[Text], recipe: Recipe) -> Iterator[Head]:
    """Measures the score without a model, the model's own answer, and networks on states, of each layer and place.

    A claim is scored by a network that was fitted without its source: without its set, or, of composed claims, without
    its file.
    """
    yield _head("missing words", np.array([missing_share(text) for text in texts]), texts)
    yield _head("model's own answer", readings.denied_N, texts)
    for place, pool in enumerate(POOLS):
        for at, layer in enumerate(layers):
            x_ND = readings.states_NPLD[:, place, at].astype(np.float32)
            yield _head(f"{pool}, {layer}", left_out(x_ND, texts, recipe), texts)


def left_out(x_ND: Floats, texts: Sequence[Text], recipe: Recipe) -> Scores:
    """Logit of each claim by a network that was fitted without its source. The sources weigh the same in it."""
    wanted_N, source_N, fold_N = np.array([text.wanted for text in texts]), _sources(texts), _folds(texts)
    each_N = (1 / np.array([(source_N == source).sum() for source in source_N])).astype(np.float32)
    found_N = np.full(len(texts), np.nan)
    for fold in np.unique(fold_N):
        rest_N = fold_N != fold
        network = fit_network(x_ND[rest_N], wanted_N[rest_N], each_N[rest_N], recipe)
        found_N[~rest_N] = network(x_ND[~rest_N])
    return found_N


def _head(name: str, scores_N: Scores, texts: Sequence[Text]) -> Head:
    wanted_N, source_N = np.array([text.wanted for text in texts]), _sources(texts)
    found = {}
    for source in dict.fromkeys(source_N):
        pair = scores_N[(source_N == source) & wanted_N], scores_N[(source_N == source) & ~wanted_N]
        found[str(source)] = auc(*pair), recall(*pair, FLAGGED)
    return Head(name, found)


def _sources(texts: Sequence[Text]) -> npt.NDArray[np.str_]:
    return np.array([text.source if text.source in SETS["support"] else COMPOSED for text in texts])


def _folds(texts: Sequence[Text]) -> npt.NDArray[np.str_]:
    """Names of groups that are left out together: a public set, or some of the composed files."""
    files = sorted({text.source for text in texts} - set(SETS["support"]))
    order = np.random.default_rng(0).permutation(len(files))
    fold_of = {file: f"{COMPOSED} {place % FOLDS}" for file, place in zip(files, order, strict=True)}
    return np.array([fold_of.get(text.source, text.source) for text in texts])
