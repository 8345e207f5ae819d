"""Journaled runs as rows and pairs, from a journal that lessons were played into."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.admin.export import Wanted, export_runs
from agent.config import Settings
from agent.evals import regression
from agent.lessons.export import Exporter, Sample, pairs
from agent.lessons.stage import Stage
from agent.project.project import load_project
from agent.run.journal import Journal
from agent.serve.home import open_home
from agent.store import StoreJournal, memory_journal, sql_journal
from examples.support.shop.database import FILE
from examples.support.shop.seed import FIRST_ORDER, reseed
from flightloop.acts import system
from flightloop.errors import ConfigError, Conflict
from flightloop.events import FeedbackGiven, OutcomeVerified
from flightloop.lessons import Call, Case, Plan, Say, Saying, Solution, Turn, planned, reply
from flightloop.runs import Feedback

ASKED = f"What does order {FIRST_ORDER} hold?"


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    project = load_project(None, ())
    reseed(tmp_path / FILE)
    return Stage(project, project.agent("support"), tmp_path)


@pytest.fixture
def journal() -> StoreJournal:
    return memory_journal()


def looking() -> Solution:
    def saying() -> Saying:
        outcome = yield Call("get_order", {"order_id": FIRST_ORDER})
        return f"It has {outcome.value['items'][0]}."

    return planned("look", ("get_order",), saying())


def guessing() -> Solution:
    return reply("It has shoes.", "look")


def stumbling() -> Solution:
    """Calls without what the tool needs, and then as it should."""
    yield Plan("look", ("get_order",))
    yield Call("get_order", {})
    yield Plan("look again", ("get_order",))
    outcome = yield Call("get_order", {"order_id": FIRST_ORDER})
    yield Say(f"It has {outcome.value['items'][0]}.")


async def say(stage: Stage, journal: Journal, solution: Solution, solved: bool | None = None) -> list[dict[str, Any]]:
    rows = await stage.play(Case("order_details", (Turn(ASKED, solution),)), journal)
    newest = (await journal.runs("default", limit=1)).data[0]
    if solved is not None:
        await journal.append(newest.id, [OutcomeVerified(solved=solved)])
    return rows


async def samples_of(journal: Journal) -> list[Sample]:
    return [sample async for sample in Exporter(journal, load_project(None, ()), "default").samples()]


async def test_an_exported_run_is_the_row_of_its_lesson(stage: Stage, journal: Journal) -> None:
    turns = (Turn(ASKED, looking()), Turn("Thanks!", reply("You're welcome!", "answer politely")))
    rows = await stage.play(Case("order_details", turns), journal)
    samples = await samples_of(journal)
    learned = [{name: value for name, value in row.items() if name != "intent"} for row in rows]
    exported = [sample.data() for sample in reversed(samples)]
    assert [row.pop("runs") for row in exported] == [[sample.run.id] for sample in reversed(samples)]
    assert exported == learned
    assert all(sample.learnable and sample.good is None for sample in samples)


async def test_an_erased_run_becomes_no_row_and_no_task(stage: Stage, journal: StoreJournal) -> None:
    await say(stage, journal, looking(), solved=True)
    [run] = (await journal.runs("default")).data
    await journal.erasure.erase(run.id, "request", system("test"))
    assert await samples_of(journal) == []
    with pytest.raises(Conflict, match="was erased: nothing of it is left for a task"):
        await regression.regression(journal, "default", run.id, regression.Wanted(good=True))


async def test_a_call_that_was_never_performed_is_not_learned(stage: Stage, journal: Journal) -> None:
    (row,) = await say(stage, journal, stumbling())
    own = row["messages"][-8:]
    assert [one["role"] for one in own] == ["user", *("assistant", "assistant", "tool") * 2, "assistant"]
    assert [one.get("weight", 1) for one in own if one["role"] == "assistant"] == [1, 0, 1, 1, 1]


async def test_a_good_and_a_bad_run_of_the_same_input_part_in_a_decision(stage: Stage, journal: Journal) -> None:
    await say(stage, journal, looking(), solved=True)
    await say(stage, journal, guessing(), solved=False)
    await say(stage, journal, guessing(), solved=False)
    samples = await samples_of(journal)
    assert [sample.learnable for sample in samples] == [False, False, True]
    (pair,) = pairs(samples)
    assert pair["messages"][-1]["content"] == ASKED
    assert json.loads(pair["chosen"]["content"])["tools"] == ["get_order"]
    assert json.loads(pair["rejected"]["content"])["tools"] == []
    assert pair["tools"] == list(samples[0].row.tools)
    assert pair["runs"] == [samples[2].run.id, samples[0].run.id, samples[1].run.id]
    assert not any("weight" in message for message in pair["messages"])


async def test_runs_that_nobody_judged_make_no_pairs(stage: Stage, journal: Journal) -> None:
    await say(stage, journal, looking())
    await say(stage, journal, guessing())
    assert pairs(await samples_of(journal)) == []


@pytest.mark.parametrize(
    ("score", "resolved", "good"), [(5, True, True), (3, True, None), (2, True, False), (5, False, False)]
)
async def test_a_customer_s_word_counts(
    score: int, resolved: bool, good: bool | None, stage: Stage, journal: Journal
) -> None:
    await say(stage, journal, looking())
    newest = (await journal.runs("default", limit=1)).data[0]
    await journal.append(newest.id, [FeedbackGiven(feedback=Feedback(score=score, resolved=resolved))])
    (sample,) = await samples_of(journal)
    assert sample.good is good


async def test_the_command_writes_rows_and_pairs(stage: Stage, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    open_home(settings.home)
    journal = sql_journal(settings.journal_url)
    await say(stage, journal, looking(), solved=True)
    await say(stage, journal, looking())
    await say(stage, journal, guessing(), solved=False)
    await journal.close()
    out, both, told = tmp_path / "rows.jsonl", tmp_path / "pairs.jsonl", []
    await export_runs(settings, Wanted(), out, both, told.append)
    assert told == [f"2 of 3 ended runs in {out}", f"1 pairs in {both}"]
    assert len(out.read_text().splitlines()) == 2
    await export_runs(settings, Wanted(agent="support", rated=True), out, None, told.append)
    assert len(out.read_text().splitlines()) == 1
    await export_runs(settings, Wanted(tenant_id="other"), out, None, told.append)
    assert out.read_text() == ""
    with pytest.raises(ConfigError, match="cannot be written"):
        await export_runs(settings, Wanted(), tmp_path, None, told.append)
