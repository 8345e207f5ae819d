"""The shop's lessons: cases can be played, answers are grounded, and no wording is that of a task."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from agent.evals.task import load
from agent.lessons.project_lessons import Maker
from agent.lessons.stage import Stage
from agent.project.intents import Intents
from agent.project.project import EMBEDDED, Project, load_project
from agent.store import memory_journal
from bench import intents
from bench.support import CHINESE, STRANGERS, TASKS
from examples.support.lessons import cases, goods
from examples.support.lessons.desk import Desk, NoSuchOrder
from examples.support.lessons.phrases import Phrases, Untold
from examples.support.lessons.talk import question
from examples.support.shop.names import PRODUCTS
from flightloop.errors import ConfigError
from flightloop.events import ChecksPassed, Judged
from flightloop.lessons import Case, Turn
from guardrails.evidence.grounds import Evidence, claims
from tests.shop import decisions, rows_of, stage_of
from tools.builtin.knowledge import MOST_RESULTS
from tools.knowledge.library import Library

PHRASES = cases.phrases()


@pytest.fixture(scope="module")
def project() -> Project:
    return load_project(None, ())


@pytest.fixture(scope="module")
def stage(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return stage_of(project, tmp_path_factory.mktemp("shop"))


def desk(stage: Stage, language: str = "en", seed: int = 1) -> Desk:
    return Desk(stage.data, PHRASES, Random(seed), language)


@pytest.mark.parametrize("maker", cases.CASES, ids=lambda maker: maker.__name__)
async def test_a_row_holds_what_the_oracle_was_asked_and_answered(maker: Maker, stage: Stage) -> None:
    played = 0
    for seed in range(2):
        try:
            case = maker(desk(stage, seed=seed))
        except NoSuchOrder:
            continue
        rows = await stage.play(case)
        assert len(rows) == len(case.turns)
        for request in stage.asked:
            asked = [message.model_dump(mode="json", exclude_none=True) for message in request.messages]
            tools = [tool.model_dump(mode="json", exclude_none=True) for tool in request.tools or []]
            assert any(begins(row, asked) and row["tools"] == tools for row in rows)
        assert sum(len(decisions(row)) for row in rows) == len(stage.asked)
        played += 1
    assert played


def begins(row: dict[str, Any], asked: list[dict[str, Any]]) -> bool:
    """Whether a row begins with these messages, and a decision comes next."""
    plain = [{name: value for name, value in one.items() if name != "weight"} for one in row["messages"]]
    return plain[: len(asked)] == asked and row["messages"][len(asked)] in decisions(row)


async def test_answers_say_what_the_tools_or_the_customer_said(project: Project) -> None:
    for row in await rows_of(project, 80):
        if row["source"] == "support":
            said = [one.get("content") or "" for one in row["messages"] if one["role"] in ("user", "tool")]
            evidence = Evidence(said)
            answer = row["messages"][-1]["content"]
            assert [claim for claim in claims(answer) if not evidence.supports(claim)] == [], answer


@pytest.mark.parametrize("fact", PHRASES.facts, ids=lambda fact: fact.query.replace(" ", "-"))
async def test_each_rule_is_found_and_answered(fact: Any, stage: Stage) -> None:
    for language in fact.asks:
        said, solution = question(desk(stage, language), fact)
        (row,) = await stage.play(Case(fact.intent, (Turn(said, solution),)))
        assert row["messages"][-1]["content"]


def test_each_product_is_found_by_what_people_call_it(project: Project, stage: Stage) -> None:
    library = Library(stage.data, project.data)
    for name, *_, final in PRODUCTS:
        for item in {desk(stage, seed=seed).plain(name) for seed in range(8)}:
            for asked in ("price", "stock", "warranty", "return window", *goods.UNTOLD):
                texts = [found.text for found in library.search(f"{item} {asked}", MOST_RESULTS)]
                assert goods.CARD.fullmatch(texts[0]), (item, asked)
                assert texts[0].startswith(f"{name}: "), (item, asked)
            texts = [found.text for found in library.search(f"{item} return window", MOST_RESULTS)]
            assert final or any(goods.RETURN.search(text) for text in texts), item


@pytest.mark.parametrize("language", ["en", "de", "zh"])
async def test_questions_about_goods_are_answered_as_the_rail_knows_them(language: str, stage: Stage) -> None:
    makers = (goods.price, goods.stock, goods.warranty, goods.returning, goods.cheaper, goods.category, goods.follow_up)
    for maker in makers:
        for seed in range(4):
            assert await answered(stage, maker(desk(stage, language, seed)))


async def answered(stage: Stage, case: Case) -> str:
    """The last answer, after the rail found nothing to mark in any of them."""
    journal = memory_journal()
    rows = await stage.play(case, journal)
    events = [one.event for one in await journal.read_all()]
    verdicts = [event.verdict for event in events if isinstance(event, Judged)]
    verdicts += [verdict for event in events if isinstance(event, ChecksPassed) for verdict in event.passed.verdicts]
    grounded = [verdict for verdict in verdicts if verdict.rail == "groundedness"]
    assert grounded
    assert [verdict.reason for verdict in grounded if verdict.spans] == []
    return str(rows[-1]["messages"][-1]["content"])


def wordings() -> Iterator[tuple[str, str]]:
    """Each wording with its intent."""
    for intent, kinds in PHRASES.asks.items():
        for by_language in kinds.values():
            yield from ((intent, line) for lines in by_language.values() for line in lines.splitlines())
    for fact in PHRASES.facts:
        yield from ((fact.intent, line) for lines in fact.asks.values() for line in lines)
    for intent, lines in PHRASES.messages.items():
        yield from ((intent, line) for line in lines)


def test_each_intent_has_many_wordings() -> None:
    counts = Counter(intent for intent, _ in wordings())
    names = Intents.read(EMBEDDED).about
    assert len(names) == 27
    assert set(counts) - set(names) == {"replies"}
    assert min(counts[name] for name in names) > 100


def runs(text: str, length: int) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+|@", re.sub(r"\{\w+\}|\d[\d.,]*", "@", text.lower()))
    return {tuple(words[index : index + length]) for index in range(len(words) - length + 1)}


def alike(text: str) -> set[tuple[str, ...]]:
    """What a wording has in common with others only if one was copied: six words, or ten Chinese characters."""
    return runs(text, 6) | runs(" ".join(re.findall(r"[\u4e00-\u9fff]", text)), 10)


def test_what_is_measured_is_worded_otherwise() -> None:
    learned = {run for _, line in wordings() for run in alike(line)}
    said = [message.text for file in (intents.ENGLISH, intents.CHINESE) for message in intents.read(file)]
    for task in (task for file in (TASKS, STRANGERS, CHINESE) for task in load(file)):
        for turn in task.turns:
            said += [turn.user] if isinstance(turn.user, str) else [turn.user.default, *turn.user.if_asked.values()]
    assert [text for text in said if alike(text) & learned] == []


def test_words_that_are_missing_in_a_language_are_told(stage: Stage) -> None:
    with pytest.raises(Untold):
        desk(stage, "fr").say("chat")


def test_a_folder_without_wordings_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lessons"):
        Phrases.read(tmp_path)
