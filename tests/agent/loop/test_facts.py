"""The graph as the guard's evidence: what is right with it and without it."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent.admin.graph import find, show_graph, tree
from agent.config import load_settings
from agent.loop.evidence_source import NO_EVIDENCE, EvidenceSource
from agent.project.project import load_project
from agent.run.history import dump
from examples.support.shop.database import FILE
from examples.support.shop.seed import reseed
from flightloop.errors import ConfigError
from flightloop.verdicts import Stage
from guardrails.rail_entries import GroundednessEntry
from guardrails.rails.groundedness import groundedness_rail
from guardrails.types import Checked, Facts, GuardContext, no_facts
from tests.shop import SHOP
from tools.builtin.knowledge import MOST_RESULTS
from tools.knowledge.library import Library
from tools.knowledge.picture import svg

STATEMENTS = [
    json.loads(line) for line in (Path(__file__).parent / "data" / "statements.jsonl").read_text().splitlines()
]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    folder = tmp_path_factory.mktemp("shop")
    reseed(folder / FILE)
    return Library(folder, SHOP)


async def right_verdicts(library: Library, facts: Facts, *, searched: bool) -> tuple[int, int]:
    """How many right statements pass, and how many wrong ones don't."""
    rail = groundedness_rail(GroundednessEntry(rail="groundedness"))
    counts = {True: 0, False: 0}
    for case in STATEMENTS:
        results = (_result(library, case["asked"]),) if searched else ()
        context = GuardContext(user_text=case["asked"], results=results, looked_up=results, facts=facts)
        (verdict,) = (await rail(Checked(Stage.FINAL, case["said"], context))).verdicts
        counts[case["right"]] += case["right"] != bool(verdict.spans)
    return counts[True], counts[False]


def _result(library: Library, asked: str) -> str:
    return dump([{"document": one.source, "text": one.text} for one in library.search(asked, MOST_RESULTS)])


async def test_right_and_wrong_statements_are_told_apart(library: Library) -> None:
    assert (len(STATEMENTS), sum(case["right"] for case in STATEMENTS)) == (104, 52)
    assert await right_verdicts(library, no_facts, searched=True) == (46, 24)
    assert await right_verdicts(library, partial(asyncio.to_thread, library.statements), searched=True) == (52, 51)
    assert await right_verdicts(library, no_facts, searched=False) == (13, 36)
    assert await right_verdicts(library, partial(asyncio.to_thread, library.statements), searched=False) == (52, 51)


@pytest.mark.parametrize(
    ("said", "context", "spans"),
    [
        ("The lamp costs 41.00 EUR.", {}, ["against_facts"]),
        ("The lamp costs 41.00 EUR.", {"user_text": "It was 41.00 EUR, wasn't it?"}, ["against_facts"]),
        ("The lamp costs 41.00 EUR.", {"results": ('{"total": "41.00 EUR"}',)}, []),
        ("The lamp costs 41.00 EUR.", {"results": ("41.00 EUR",), "looked_up": ("41.00 EUR",)}, ["against_facts"]),
        ("Orders up to 620 EUR? An invoice is possible for orders up to 500 EUR.", {"user_text": "620 euros"}, []),
        ("The lamp costs 39.90 EUR, order W-1042.", {}, ["unsupported_id"]),
    ],
)
async def test_what_other_tools_say_counts_beside_the_facts(
    library: Library, said: str, context: dict[str, Any], spans: list[str]
) -> None:
    rail = groundedness_rail(GroundednessEntry(rail="groundedness"))
    checked = Checked(Stage.FINAL, said, GuardContext(facts=partial(asyncio.to_thread, library.statements), **context))
    (verdict,) = (await rail(checked)).verdicts
    assert [span.label for span in verdict.spans] == spans


async def test_a_verdict_names_the_fact(library: Library) -> None:
    rail = groundedness_rail(GroundednessEntry(rail="groundedness"))
    checked = Checked(
        Stage.FINAL, "The lamp costs 41.00 EUR.", GuardContext(facts=partial(asyncio.to_thread, library.statements))
    )
    (verdict,) = (await rail(checked)).verdicts
    assert verdict.reason == "against the facts: Desk Lamp costs 39.90 EUR (products 121)"
    assert verdict.scores == {"groundedness": 0.0}


def test_only_who_can_look_things_up_is_held_against_them(library: Library) -> None:
    agent = load_project(None, ()).agent("support")
    lookup = EvidenceSource(frozenset({"search_knowledge"}), library.statements)
    assert lookup.of(agent) is lookup
    assert lookup.of(agent.model_copy(update={"tools": ("calculator",)})) is NO_EVIDENCE


def test_the_command_shows_what_is_around_a_term(
    library: Library, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = load_settings(home=tmp_path)
    show_graph(settings, "desk lamp", {svg: tmp_path / "lamp.svg"})
    told = capsys.readouterr().out
    assert "costs → 39.90 EUR (products 121)" in told
    assert (tmp_path / "lamp.svg").read_text().startswith("<svg")
    show_graph(settings, None, {})
    assert "has a warranty of" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="nothing is known about 'zebra'"):
        show_graph(settings, "zebra", {})
    with pytest.raises(ConfigError, match="cannot be written"):
        show_graph(settings, "invoice", {svg: tmp_path / "no" / "such.svg"})


def test_a_term_that_is_no_name_finds_the_rules_with_it(library: Library) -> None:
    knowledge = library.current()
    (claim,) = find(knowledge, "workshop decides")[-1:]
    assert claim.source == "Warranty, Making a warranty claim"
    assert "3 working days" in str([branch.label for branch in tree(knowledge.graph, claim).children])
