"""Fits networks on readings and measures them on sources that were left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.probes.metrics import Scores, auc, bound, recall
from model.probes.readings import Readings
from model.probes.texts import Text
from model.probes.training import Flags, Network, Recipe, fit_network

FOLDS = 5
Chosen = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Measured:
    """How well a layer separates texts of files that its network was not fitted on.

    Attributes:
        auc: probability that a wanted text scores above a harmless one.
        recall: share of the wanted texts above the bound.
        bound: score that 1 % of the harmless texts exceed.
    """

    layer: int
    auc: float
    recall: float
    bound: float


def fitted(readings: Readings, layer: int, texts: Sequence[Text], chosen: Chosen, recipe: Recipe) -> Network:
    """A network on the windows of the chosen texts. ``layer``: its place among those that were read.

    A window counts as wanted if at least half of it deserves the label, and is left out if less of it does. The windows
    of a text together weigh the square root of their number.
    """
    wanted_N = _wanted(texts)[readings.text_N]
    use_N = chosen[readings.text_N] & (~wanted_N | (readings.marked_N >= 0.5) | (readings.marked_N == 0))
    found_N: Flags = wanted_N & (readings.marked_N >= 0.5)
    weight_N = (1 / np.sqrt(np.bincount(readings.text_N, minlength=len(texts))[readings.text_N])).astype(np.float32)
    x_ND = readings.states_NLD[use_N, layer].astype(np.float32)
    return fit_network(x_ND, found_N[use_N], weight_N[use_N], recipe)


def scored(network: Network, readings: Readings, layer: int, count: int) -> Scores:
    """The highest logit of each of ``count`` texts; minus infinity for a text without tokens."""
    found = np.full(count, -np.inf)
    np.maximum.at(found, readings.text_N, network(readings.states_NLD[:, layer].astype(np.float32)))
    return found


def crossed(readings: Readings, layers: Sequence[int], texts: Sequence[Text], recipe: Recipe) -> list[Measured]:
    """Measures each layer: every text is scored by a network that was fitted without the texts of its file."""
    sources = sorted({text.source for text in texts})
    order = np.random.default_rng(0).permutation(len(sources))
    fold_of = {source: int(place) % FOLDS for source, place in zip(sources, order, strict=True)}
    fold_N, wanted_N = np.array([fold_of[text.source] for text in texts]), _wanted(texts)
    found = []
    for index, layer in enumerate(layers):
        scores = np.full(len(texts), -np.inf)
        for fold in range(FOLDS):
            out = fold_N == fold
            network = fitted(readings, index, texts, ~out, recipe)
            scores[out] = scored(network, readings, index, len(texts))[out]
        pair = scores[wanted_N], scores[~wanted_N]
        found.append(Measured(layer, auc(*pair), recall(*pair), bound(pair[1])))
    return found


def _wanted(texts: Sequence[Text]) -> Chosen:
    return np.array([text.wanted for text in texts], bool)
