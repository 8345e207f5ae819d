"""What a model makes of claims: hidden states behind their evidence, and its own answer to whether they are supported.

Suffixes: N claims, P places that are read, L layers, D width.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from flightloop.chat import ChatMessage, ChatRequest
from model.config import ModelConfig
from model.engine.sequence import common_prefix
from model.probes.metrics import Scores
from model.probes.readings import Halves
from model.probes.states import StatesReader
from model.probes.texts import Text
from model.weights.loaded import LoadedModel
from model.weights.tokenizer import Tokenizer

BETWEEN = "\n\nSentence:"
QUESTION = "\n\nDo the records say all that the sentence says? Answer yes or no."
POOLS = ("last token", "mean", "mean less evidence", "question")
"""States of a claim: of its last token, the mean of its tokens with or without that of the evidence's, and of the
question's end."""
LONGEST = 1024
"""Tokens of a claim with its evidence; the evidence's first ones are left out beyond that."""
_ANSWERS = ("No", "no", " No", " no"), ("Yes", "yes", " Yes", " yes")


@dataclass(frozen=True)
class ClaimReadings:
    """What was read of claims.

    Attributes:
        states_NPLD: states at the `POOLS`.
        denied_N: logarithm of the odds that the model answers no to the `QUESTION`.
    """

    states_NPLD: Halves
    denied_N: Scores


def read_claims(
    loaded: LoadedModel, config: ModelConfig, weights: str, texts: Sequence[Text], layers: Sequence[int], kept: Path
) -> ClaimReadings:
    """Reads claims. Arguments as of `model.probes.readings.read`."""
    facts = [weights, list(layers), QUESTION, [asdict(text) for text in texts]]
    path = kept / f"claims-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]}.npz"
    if path.exists():
        with np.load(path) as file:
            return ClaimReadings(**file)
    reader = StatesReader(loaded, config, "claim", layers, LONGEST)
    work = [(index, *prompt(loaded, text)) for index, text in enumerate(texts)]
    work.sort(key=lambda one: len(one[1]))  # claims of one step are about as long
    tokens = [one[1] for one in work]
    states = np.zeros((len(texts), len(POOLS), len(layers), loaded.config.width), np.float16)
    denied = np.zeros(len(texts))
    both = zip(work, reader.read(tokens), reader.logits(tokens), strict=True)
    for (index, _, start, stop), read_LTD, logits_V in track(both, "claims: reading", total=len(work)):
        claim_LTD = read_LTD[:, start:stop]
        mean_LD, before_LD = claim_LTD.mean(1), read_LTD[:, :start].mean(1)
        states[index] = torch.stack([claim_LTD[:, -1], mean_LD, mean_LD - before_LD, read_LTD[:, -1]]).numpy()
        denied[index] = odds_of_no(loaded.tokenizer, logits_V)
    found = ClaimReadings(states, denied)
    kept.mkdir(parents=True, exist_ok=True)
    np.savez(path, **vars(found))
    return found


def prompt(loaded: LoadedModel, text: Text) -> tuple[tuple[int, ...], int, int]:
    """Tokens behind the frame, up to the begin of the model's answer, and the range [start, stop) of the claim's."""
    encode, end = loaded.tokenizer.encode, _end(loaded)
    between, claim = encode(BETWEEN), encode(f" {text.text}")
    evidence = encode(text.evidence)
    evidence = evidence[max(0, len(evidence) + len(between) + len(claim) + len(end) - LONGEST) :]
    start = len(evidence) + len(between)
    return (*evidence, *between, *claim, *end), start, start + len(claim)


def _end(loaded: LoadedModel) -> tuple[int, ...]:
    """Tokens from the question to the begin of the model's answer."""
    asked = [ChatMessage(role="user", content=f"{word}{QUESTION}") for word in ("A", "B")]
    requests = [ChatRequest(model=loaded.name, messages=[message]) for message in asked]
    one, other = (loaded.chat.encode(request, loaded.config.max_positions) for request in requests)
    return tuple(one[len(one) - common_prefix(reversed(one), reversed(other)) :])


def odds_of_no(tokenizer: Tokenizer, logits_V: Tensor) -> float:
    """Logarithm of the odds of "no" against "yes", in the spellings that are one token."""
    spelt = ([tokens[0] for word in words if len(tokens := tokenizer.encode(word)) == 1] for words in _ANSWERS)
    no, yes = (float(logits_V[list(dict.fromkeys(tokens))].logsumexp(0)) for tokens in spelt)
    return no - yes
