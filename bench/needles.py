"""Measures how many facts hidden in long essays a model finds (needles in a haystack, Kamradt, 2023).

A haystack consists of sentences from Paul Graham's essays. Sentences in between state one fact each: an order's number,
a pass key, a phone number, a secret word, what to do in a city. The model is asked for each fact separately, with the
engine, greedily. The beginning of the answer is given, as in RULER (Hsieh et al., 2024), since a small model would
otherwise talk about the text. A needle is found if the answer continues with exactly the fact.
"""

from __future__ import annotations

import random
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError
from flightloop.chat import ChatMessage, ChatRequest
from flightloop.content import TextPart
from model.chat.compact import encode
from model.engine.engine import Engine
from model.engine.request import EngineRequest, SamplingParams
from model.weights.tokenizer import Tokenizer

MOST_TOKENS = 16
"""Maximum tokens of an answer: enough for the longest fact."""
HEAD = "Read the text and answer the question at the end.\n\n"

# Sentence, question, beginning of the answer, and its continuation.
_KINDS = (
    (
        "The order number of {thing} is {number}.",
        "What is the order number of {thing}?",
        "The order number of {thing} is",
        "{number}",
    ),
    (
        "The pass key for {thing} is {number}. Remember it. {number} is the pass key for {thing}.",
        "What is the pass key for {thing}?",
        "The pass key for {thing} is",
        "{number}",
    ),
    (
        'The secret word of {name} is "{thing}".',
        "What is the secret word of {name}?",
        'The secret word of {name} is "',
        "{thing}",
    ),
    (
        "The phone number of {name} is {number}.",
        "What is the phone number of {name}?",
        "The phone number of {name} is",
        "{number}",
    ),
    (
        "The best thing to do in {city} is to {deed}.",
        "What is the best thing to do in {city}?",
        "The best thing to do in {city} is to",
        "{deed}",
    ),
)
_THINGS = (
    "amber anchor badger bamboo basket beacon bottle bridge bucket button cactus camera candle canyon castle cherry "
    "copper cradle dagger dolphin dragon ember falcon feather fiddle fossil garnet goblet hammer helmet island jacket "
    "kettle ladder lantern magnet marble meadow mirror monkey nutmeg oasis orchid oyster paddle parrot pebble pillow "
    "pumpkin quartz rabbit ribbon saddle salmon shadow spider temple tiger tulip turtle velvet walnut willow zipper"
)
_NAMES = (
    "James Mary Robert Linda John Susan David Karen Peter Nancy Paul Laura Mark Emily Kevin Alice Brian Julia George "
    "Helen Frank Diana Henry Rose"
)
_CITIES = (
    "Paris London Berlin Madrid Rome Vienna Lisbon Dublin Athens Oslo Moscow Cairo Tokyo Beijing Delhi Sydney Toronto "
    "Chicago Boston Seattle Denver Miami Dallas Atlanta"
)
_DEEDS = (
    "eat a sandwich in the park",
    "watch the boats from the old bridge",
    "climb the clock tower at night",
    "visit the museum of glass",
    "swim in the cold river",
    "listen to the street musicians",
    "buy fresh bread at the corner",
    "ride the yellow tram uphill",
    "feed the swans on the lake",
    "read a book in the botanical garden",
    "taste the spicy noodles",
    "walk along the harbour wall",
)


@dataclass(frozen=True)
class Needle:
    """A fact. ``depth``: its position, from 0 at the beginning of the text to 1 at its end."""

    sentence: str  # states the fact in the haystack
    question: str  # asks for the fact
    opening: str  # beginning of the answer, given to the model
    answer: str  # expected continuation
    depth: float

    def found_in(self, text: str) -> bool:
        """Whether a text, generated after ``opening``, begins with the answer."""
        return re.match(rf"\W*{re.escape(self.answer)}\b", text) is not None


@dataclass(frozen=True)
class Haystack:
    text: str
    needles: tuple[Needle, ...]


def essays(folder: Path) -> list[str]:
    """The essays' texts, sorted by name.

    Args:
        folder: folder with ``needle-essays.tar.xz`` or its content.

    Raises:
        BenchError: the essays are missing.
    """
    archive = folder / "needle-essays.tar.xz"
    if archive.is_file():
        with tarfile.open(archive) as opened:
            members = sorted((each for each in opened if each.name.endswith(".txt")), key=lambda each: each.name)
            streams = [opened.extractfile(member) for member in members]
            texts = [stream.read().decode("utf-8", "replace") for stream in streams if stream is not None]
    else:
        texts = [path.read_text("utf-8", "replace") for path in sorted(folder.rglob("PaulGrahamEssays/*.txt"))]
    if not texts:
        raise BenchError(f"neither {archive} nor PaulGrahamEssays is in {folder}; give its folder with --data DIR")
    return [" ".join(text.split()) for text in texts]


def haystacks(
    texts: Sequence[str], tokenizer: Tokenizer, *, tokens: int, needles: int, seeds: Sequence[int]
) -> Iterator[Haystack]:
    """Creates a haystack per seed.

    Args:
        texts: the essays.
        tokenizer: the model's tokenizer, for the length.
        tokens: tokens per haystack, including its needles.
        needles: needles per haystack, evenly spread over depths from 0.08 to 0.92.
        seeds: each determines essays, facts, and their order.
    """
    for seed in seeds:
        rng = random.Random(seed)
        hidden = tuple(_needles(rng, needles))
        room = tokens - sum(len(tokenizer.encode(f" {needle.sentence}")) for needle in hidden)
        yield Haystack(_buried(hidden, _straw(rng, texts, tokenizer, room)), hidden)


def find(engine: Engine, haystack: Haystack) -> list[bool]:
    """Asks for each needle and returns whether the model found it. The engine must be idle otherwise."""
    return [needle.found_in(_answer(engine, haystack.text, needle)) for needle in haystack.needles]


def question(text: str, needle: Needle, tokenizer: Tokenizer, limit: int) -> tuple[int, ...]:
    """The prompt that asks for a needle."""
    content = f"{HEAD}{text}\n\nQuestion: {needle.question}"
    request = ChatRequest(model="", messages=[ChatMessage(role="user", content=[TextPart(text=content)])])
    return (*encode(request, tokenizer, limit), *tokenizer.encode(needle.opening))


def _answer(engine: Engine, text: str, needle: Needle) -> str:
    prompt = question(text, needle, engine.vocabulary.tokenizer, engine.max_context)
    engine.add(EngineRequest("needle", prompt, SamplingParams(MOST_TOKENS, temperature=0)))
    answer = ""
    while engine.has_work:
        for output in engine.step():
            if output.error is not None:
                raise output.error
            answer += output.text
    return answer


def _needles(rng: random.Random, count: int) -> Iterator[Needle]:
    things, names, cities = (rng.sample(words.split(), count) for words in (_THINGS, _NAMES, _CITIES))
    depths = [0.08 + 0.84 * place / max(1, count - 1) for place in range(count)]
    rng.shuffle(depths)
    for place, depth in enumerate(depths):
        words = {
            "thing": things[place],
            "name": names[place],
            "city": cities[place],
            "deed": rng.choice(_DEEDS),
            "number": str(rng.randrange(10_000, 100_000)),
        }
        sentence, question, opening, answer = (part.format(**words) for part in _KINDS[place % len(_KINDS)])
        yield Needle(sentence, question, opening, answer, depth)


def _straw(rng: random.Random, texts: Sequence[str], tokenizer: Tokenizer, tokens: int) -> list[str]:
    """Whole sentences of essays in random order, with at most ``tokens`` tokens together."""
    chosen: list[str] = []
    for text in rng.sample(texts, len(texts)):
        for sentence in re.split(r"(?<=[.!?])\s+", text):
            tokens -= len(tokenizer.encode(f" {sentence}"))
            if tokens < 0:
                return chosen
            chosen.append(sentence)
    raise BenchError("the essays are too short for a haystack of this length")


def _buried(needles: Sequence[Needle], straw: Sequence[str]) -> str:
    places = [(needle.depth * len(straw), needle.sentence) for needle in needles]
    places += [(place + 0.5, sentence) for place, sentence in enumerate(straw)]
    return " ".join(sentence for _, sentence in sorted(places))
