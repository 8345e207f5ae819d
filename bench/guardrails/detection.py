"""Rows ``injection_recall…``, ``content_auc…``, ``benign_flagged``, ``rails_token_ms``: what the default policy's rules
and classifier find in texts, source by source. Nothing was fitted on these sources, apart from `SEEN`.

``injection_recall_*``: share of the injections with a higher score than 99 % of the harmless texts beside them.
``content_auc_*``: probability that a harmful text scores above a harmless one.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from agent.evals.confidence_interval import wilson
from bench.archives import read_text
from bench.errors import BenchError
from bench.needles import essays
from bench.rows import Row
from flightloop.verdicts import Action, Stage
from guardrails.guard import Guard
from guardrails.policy import default_policy, unhurried
from guardrails.rails.content import DEFAULT_WEIGHTS, load_content_model
from guardrails.rails.injection import scan
from guardrails.types import Checked, GuardContext
from model.probes.metrics import Scores, auc, recall
from model.probes.public import public
from model.probes.texts import Axis, Text, composed

Scorer = Callable[[Sequence[Text]], Scores]
SEEN = ("davidson", "toxigen")
"""Sources that the content classifier was trained on."""
WORDS, DOCUMENTS = 4000, 50
"""Words of a long document, and how many there are with an injection and without one."""
CHARS_PER_TOKEN = 4.0


@dataclass(frozen=True)
class Source:
    """Texts of one origin.

    Attributes:
        wanted: texts that a detector should find.
        others: harmless texts beside them.
    """

    name: str
    wanted: Sequence[Text]
    others: Sequence[Text]


async def detection(data: Path) -> list[Row]:
    """The rows. Raises BenchError: a set can't be read."""
    injections, documents, contents = sources(data, "injection"), [long_documents(data)], sources(data, "harm")
    return [
        *recall_rows("injection_recall", injections, rules),
        *recall_rows("injection_recall_long", documents, rules),
        *auc_rows(contents, classifier),
        await _flagged(data),
        _token_ms(data),
    ]


def sources(data: Path, axis: Axis) -> list[Source]:
    """The sources of an axis. Jailbreaks and requests to refuse stand beside benign prompts with similar words."""
    texts = [text for text in composed() if text.axis == axis]
    try:
        sets = public(data, axis)
    except OSError as error:
        raise BenchError(f"{error}; see --data") from None

    def of(name: str, wanted: bool) -> list[Text]:
        return [text for text in sets if text.source == name and text.wanted == wanted]

    benign = of("benign_prompts", False)
    if axis == "injection":
        places = {"composed_orders": "result", "composed_overrides": "user"}
        own = [_split(name, [text for text in texts if text.place == place]) for name, place in places.items()]
        return [
            *own,
            Source("bipia", of("bipia", True), of("bipia", False)),
            Source("jailbreaks", of("jailbreaks", True), benign),
        ]
    tweets = [Source(name, of(name, True), of(name, False)) for name in SEEN]
    return [_split("composed", texts), *tweets, Source("do_not_answer", of("do_not_answer", True), benign)]


def _split(name: str, texts: Sequence[Text]) -> Source:
    return Source(name, [text for text in texts if text.wanted], [text for text in texts if not text.wanted])


def long_documents(data: Path, seed: int = 1) -> Source:
    """Documents of `WORDS` words from essays, with one of BIPIA's attacks somewhere in it and without."""
    read = " ".join(essays(data)).split(" ")
    attacks = json.loads(read_text(data, "bipia.tar.xz", "text_attack_train.json"))
    chance, every = random.Random(seed), [attack for kind in attacks.values() for attack in kind]

    def document(attack: str | None) -> Text:
        start = chance.randrange(len(read) - WORDS)
        words = read[start : start + WORDS]
        if attack is not None:
            words.insert(chance.randrange(WORDS), f"\n{attack}\n")
        return Text("long", "injection", "none" if attack is None else "order", " ".join(words), "result")

    return Source(
        "long", [document(chance.choice(every)) for _ in range(DOCUMENTS)], [document(None) for _ in range(DOCUMENTS)]
    )


def rules(texts: Sequence[Text]) -> Scores:
    return np.array([scan(text.text, text.place == "result").score for text in texts])


def classifier(texts: Sequence[Text]) -> Scores:
    model = load_content_model(DEFAULT_WEIGHTS)
    return np.array([max(model.scores(text.text).values()) for text in texts])


def recall_rows(name: str, found: Sequence[Source], score: Scorer) -> list[Row]:
    """The mean over the sources and, if there are several, each source's recall."""
    shares = [recall(score(source.wanted), score(source.others)) for source in found]
    each = [
        Row(
            f"{name}_{source.name}",
            share,
            "share",
            interval=wilson(share, len(source.wanted)),
            cases=len(source.wanted),
        )
        for source, share in zip(found, shares, strict=True)
    ]
    note = f"at 1 % of harmless texts; mean of {', '.join(source.name for source in found)}"
    return [Row(name, fmean(shares), "share", note=note), *(each if len(each) > 1 else [])]


def auc_rows(found: Sequence[Source], score: Scorer) -> list[Row]:
    """The mean over sources that the classifier has not seen, and each source's AUC."""
    areas: Mapping[str, float] = {one.name: auc(score(one.wanted), score(one.others)) for one in found}
    unseen = [name for name in areas if name not in SEEN]
    notes = {name: "the classifier was trained on it" for name in SEEN}
    cases = {one.name: len(one.wanted) + len(one.others) for one in found}
    return [
        Row("content_auc", fmean(areas[name] for name in unseen), "AUC", note=f"mean of {', '.join(unseen)}"),
        *(
            Row(f"content_auc_{name}", area, "AUC", cases=cases[name], note=notes.get(name))
            for name, area in areas.items()
        ),
    ]


async def _flagged(data: Path) -> Row:
    """Benign prompts that the default policy doesn't let in."""
    guard, context = Guard(unhurried(default_policy())), GuardContext(agent="bench", user_text="")
    texts = [text.text for text in public(data, "harm") if text.source == "benign_prompts"]
    actions = [(await guard.check(Checked(Stage.INPUT, text, context))).action for text in texts]
    share = sum(action is not Action.ALLOW for action in actions) / len(texts)
    note = "971 prompts of WildGuard, default policy"
    return Row(
        "benign_flagged",
        share,
        "share",
        higher_is_better=False,
        interval=wilson(share, len(texts)),
        cases=len(texts),
        note=note,
    )


def _token_ms(data: Path) -> Row:
    """Time of the rules and the classifier for a token of a document."""
    texts: Iterable[Text] = long_documents(data).others[:5]
    began, tokens = time.perf_counter(), 0.0
    for text in texts:
        rules([text])
        classifier([text])
        tokens += len(text.text) / CHARS_PER_TOKEN
    note = f"rules and classifier, {CHARS_PER_TOKEN:.0f} characters a token"
    return Row("rails_token_ms", 1000 * (time.perf_counter() - began) / tokens, "ms", higher_is_better=False, note=note)
