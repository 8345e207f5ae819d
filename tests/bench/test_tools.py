"""Tool calling: cases are played, judged, counted and shown, with an invented judge and models that follow a rule."""

from __future__ import annotations

import asyncio
import io
import json
import random
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from agent.config import load_settings
from agent.evals.confidence_interval import wilson
from agent.testing.model_server import ScriptedAnswer, ScriptedServer
from bench.engine.page import BEGIN, END
from bench.errors import BenchError
from bench.peers.environment import PeerError, python_of
from bench.peers.peer import Peer
from bench.rows import Row
from bench.tools.asking import CUT_OFF, MOST_TOKENS, Answer, AskFailed, Endpoint, FakeModel, Message, Tool, called
from bench.tools.calibration import BINS, Point, chance, error, reliability
from bench.tools.categories import CATEGORIES, ROWS, Category, chosen, sample
from bench.tools.checker import Case, Checker
from bench.tools.diagram import draw
from bench.tools.experts import perplexity_ratio
from bench.tools.page import fragment, outcomes
from bench.tools.play import Played
from bench.tools.rows import FREE, Tally, points, rows
from bench.tools.run import Wish, measure, play
from flightloop import Flightloop

SIMPLE, IRRELEVANCE, TURNS = chosen(["simple_python", "irrelevance", "multi_turn_base"])
QUIET = Console(file=io.StringIO())


@pytest.fixture
def checker(tmp_path: Path) -> Iterator[Checker]:
    with Peer("fake_bfcl", log=tmp_path / "log") as peer:
        yield Checker(peer)


def played(checker: Checker, category: Category, *answers: Answer) -> list[Played]:
    """With a model that gives these answers, the last one for ever."""
    left = list(answers)
    model = FakeModel(lambda messages, tools: left.pop(0) if len(left) > 1 else left[0])
    [tally] = play(QUIET, Wish(at_once=1), model, checker, {category: checker.cases(category)})
    return sorted(tally.played, key=lambda one: one.case.id)


def test_calls_are_judged_case_by_case(checker: Checker) -> None:
    first, second = played(checker, SIMPLE, called("add", a=1, b=2))
    assert (first.right, first.why, first.failure) == (True, "", None)
    assert (second.right, second.why) == (False, "other calls were meant")
    [nothing] = played(checker, IRRELEVANCE, Answer("La la."))
    assert nothing.right


def test_a_turn_goes_on_while_something_is_called(checker: Checker) -> None:
    asked: list[list[Message]] = []

    def rule(messages: Sequence[Message], tools: Sequence[Tool]) -> Answer:
        asked.append(list(messages))
        wanted = 1 if len(messages) == 1 else 2
        return called("add", a=wanted) if messages[-1]["role"] == "user" else Answer("Done.")

    [tally] = play(QUIET, Wish(), FakeModel(rule), checker, {TURNS: checker.cases(TURNS)})
    [one] = tally.played
    assert one.right
    assert [len(turn) for turn in one.turns] == [2, 2]
    roles = [message["role"] for message in asked[-1]]
    assert roles == ["user", "assistant", "tool", "assistant", "user", "assistant", "tool"]
    assert asked[-1][2] == {"role": "tool", "tool_call_id": "call_0", "content": "1"}
    assert asked[-1][-1]["content"] == "3"


def test_a_model_that_never_stops_calling_is_stopped(checker: Checker) -> None:
    [one] = played(checker, TURNS, called("add", a=1))
    assert not one.right
    assert [len(turn) for turn in one.turns] == [checker.most_steps + 1]


def test_a_request_that_fails_is_wrong_and_told_apart(checker: Checker) -> None:
    def rule(messages: Sequence[Message], tools: Sequence[Tool]) -> Answer:
        raise AskFailed("context_length_exceeded", "too long")

    [tally] = play(QUIET, Wish(), FakeModel(rule), checker, {IRRELEVANCE: checker.cases(IRRELEVANCE)})
    assert tally.right == 0
    assert tally.failures == {"context_length_exceeded": 1}
    [failures] = [row for row in rows([tally], 1.0) if row.name == "bfcl_failures"]
    assert (failures.value, failures.note) == (1, "1 context_length_exceeded")


def test_categories_are_chosen_by_name() -> None:
    assert chosen([]) == list(CATEGORIES)
    with pytest.raises(BenchError, match=r"'java'.*simple_python, multiple"):
        chosen(["java"])
    known = {category.name for category in CATEGORIES}
    assert {part for parts in ROWS.values() for part in parts} <= known


@given(st.integers(0, 2000), st.none() | st.integers(1, 2000))
def test_a_sample_is_even_and_has_no_case_twice(size: int, wanted: int | None) -> None:
    places = sample(size, wanted)
    assert places == sorted(set(places)) == sample(size, wanted)
    assert len(places) == min(size, wanted or size)
    assert all(0 <= place < size for place in places)
    gaps = {b - a for a, b in pairwise(places)}
    assert max(gaps, default=0) - min(gaps, default=0) <= 1


def tally(name: str, size: int, rights: Sequence[bool], confidence: float | None = None) -> Tally:
    [category] = chosen([name])
    answer = Answer("", called("add").calls, confidence)
    cases = [
        Played(Case(category, f"{name}_{n}", [], []), right, "", None, ((answer,),), 0.1)
        for n, right in enumerate(rights)
    ]
    return Tally(category, size, cases)


def test_a_row_weighs_categories_by_all_their_cases() -> None:
    parts = [
        tally("live_simple", 100, [True] * 10),
        tally("live_multiple", 300, [False] * 10),
        tally("live_parallel", 4, [True] * 4),
        tally("live_parallel_multiple", 4, [False] * 4),
    ]
    found = {row.name: row for row in rows(parts, 2.0, suffix=FREE)}
    row = found["bfcl_live_ast_free"]
    assert row.value == pytest.approx(104 / 408)
    assert row.cases == 28
    assert row.note == "a sample of 408"
    assert row.interval is not None
    low, high = row.interval
    assert low < row.value < high
    even = wilson(row.value, 28)
    assert high - low > even[1] - even[0], "a sample that isn't even is worth less"
    assert found["bfcl_requests_per_second_free"].value == 14
    assert "bfcl_irrelevance_free" not in found, "both of its categories are needed"


def test_of_all_cases_the_interval_is_wilsons() -> None:
    [row, *_] = rows([tally("simple_python", 40, [True] * 30 + [False] * 10)], 1.0)
    assert (row.name, row.value, row.note) == ("bfcl_simple_python", 0.75, None)
    assert row.interval == wilson(0.75, 40)


@given(st.integers(1, 500), st.data())
def test_wilsons_interval_holds_the_share(cases: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, cases))
    low, high = wilson(right / cases, cases)
    assert 0 <= low <= right / cases + 1e-9
    assert right / cases - 1e-9 <= high <= 1
    opposite = wilson(1 - right / cases, cases)
    assert (1 - high, 1 - low) == pytest.approx(opposite)


def test_wilsons_interval_is_the_textbooks() -> None:
    assert wilson(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert wilson(0.0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)


def test_calibration_is_the_distance_of_confidence_and_right() -> None:
    certain = [Point(0.95, right) for right in (True, False)]
    assert error(reliability(certain)) == pytest.approx(0.45)
    assert error(reliability([Point(1.0, True), Point(0.0, False)])) == 0
    found = [tally("simple_python", 4, [True, False], 0.55), tally("irrelevance", 9, [False] * 9, 1.0)]
    assert points(found) == [Point(0.55, True, 2.0), Point(0.55, False, 2.0)]
    [row] = [row for row in rows(found, 1.0) if row.name == "bfcl_calibration"]
    assert (row.value, row.cases) == (pytest.approx(0.05), 2)
    untold = rows([tally("simple_python", 1, [True])], 1.0)
    assert "bfcl_calibration" not in {row.name for row in untold}


def test_the_error_of_few_answers_by_chance_is_the_mean_of_many_draws() -> None:
    source = random.Random(3)
    sure = [source.random() for _ in range(150)]
    weights = [source.choice([1.0, 4.0]) for _ in sure]

    def drawn() -> list[Point]:
        return [Point(each, source.random() < each, weight) for each, weight in zip(sure, weights, strict=True)]

    errors = [error(reliability(drawn())) for _ in range(300)]
    assert chance(drawn()) == pytest.approx(sum(errors) / len(errors), rel=0.08)


@given(st.lists(st.builds(Point, st.floats(0, 1), st.booleans(), st.floats(0.5, 9)), min_size=1))
def test_bins_hold_every_answer_once(found: list[Point]) -> None:
    bins = reliability(found)
    assert sum(each.share for each in bins) == pytest.approx(1)
    assert all(each.place / BINS - 1e-9 <= each.confidence <= (each.place + 1) / BINS + 1e-9 for each in bins)
    assert 0 <= error(bins) <= 1 + 1e-9


def test_the_diagram_is_well_formed() -> None:
    bins = reliability([Point(0.25, True), Point(0.95, False)])
    root = ElementTree.fromstring(draw(bins, "a <model> & more"))
    assert len(root.findall("{http://www.w3.org/2000/svg}rect")) == 2
    assert "a <model> & more" in set(root.itertext())


def test_the_page_has_rows_and_categories() -> None:
    found = [tally("irrelevance", 2, [True, False])]
    perplexity = Row("perplexity_ratio", 21.2, "", "without experts", 20.0, higher_is_better=False)
    text = fragment([Row("bfcl_x", 0.5, "share", interval=(0.25, 0.75), cases=1200), perplexity], {"": found}, "about")
    assert "| `bfcl_x` | 0.5 (0.250 to 0.750) share | 1,200 |  |  |" in text
    assert "| `perplexity_ratio` | 21.2 |  | without experts: 20, ratio 1.0600 |  |" in text
    assert "| irrelevance | 1 | 2 | 0.5 (0.095 to 0.905) | 2 |" in text
    assert "svg" not in text
    assert fragment([], {}, "about", "x.svg").endswith("![Reliability diagram](x.svg)")
    assert outcomes({"": found, FREE: found}).row_count == 2


def test_the_page_in_the_documentation_takes_figures() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "tool-calling.md").read_text()
    assert END in text.partition(BEGIN)[2]
    for name in ROWS:
        assert f"`{name}`" in text


CALL = {"name": "add", "arguments": '{"a": 1, "b": 2}'}


def completion(reason: str, tokens: int, **message: object) -> dict[str, object]:
    choice = {"message": {"role": "assistant", **message}, "finish_reason": reason}
    usage = {"completion_tokens": tokens}
    return {"id": "x", "created": 1, "model": "scripted", "choices": [choice], "usage": usage}


def calling() -> ScriptedAnswer:
    calls = [{"id": "call_0", "type": "function", "function": CALL}]
    return ScriptedAnswer(body=completion("tool_calls", 9, tool_calls=calls))


async def test_the_command_measures_an_endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLIGHTLOOP_API_KEY", "k" * 32)
    (tmp_path / "tool-calling.md").write_text(f"words\n{BEGIN}\nold\n{END}\n")
    async with ScriptedServer(calling(), models=["served"]).serving() as url:
        wish = Wish(
            categories=["simple_python", "irrelevance"],
            url=url.removesuffix("/v1"),
            free=True,
            data=tmp_path / "nowhere",
            outputs=tmp_path / "out",
            docs=tmp_path,
            judge="fake_bfcl",
        )
        console = Console(file=io.StringIO(), width=200)
        found = await asyncio.to_thread(measure, console, wish)
    values = {row.name: row.value for row in found}
    assert values["bfcl_simple_python"] == values["bfcl_simple_python_free"] == 0.5
    assert "perplexity_ratio" not in values
    assert "perplexity_ratio was not measured" in console.file.getvalue()  # type: ignore[attr-defined]
    page = (tmp_path / "tool-calling.md").read_text()
    assert page.startswith("words\n")
    assert "bfcl-eval 0; model served; all cases." in page
    written = [json.loads(line) for line in (tmp_path / "out" / "simple_python_free.jsonl").read_text().splitlines()]
    assert sorted((each["id"], each["right"]) for each in written) == [
        ("simple_python_0", True),
        ("simple_python_1", False),
    ]
    assert written[0]["turns"][0][0]["calls"][0]["arguments"] == CALL["arguments"]


async def test_a_request_is_what_a_user_would_send() -> None:
    server = ScriptedServer(calling())
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
    async with server.serving() as url:
        with Flightloop(url.removesuffix("/v1"), "k" * 32) as client:
            for held in (True, False):
                endpoint = Endpoint(client, "scripted", held=held)
                answer = await asyncio.to_thread(endpoint.ask, [{"role": "user", "content": "hello"}], [tool])
                assert (answer.calls[0].arguments, answer.tokens) == (CALL["arguments"], 9)
    strict, loose = server.requests
    for sent in (strict, loose):
        assert (sent["temperature"], sent["max_tokens"], sent["tool_choice"]) == (0, MOST_TOKENS, "auto")
    assert strict["tools"][0]["function"].get("strict") is None
    assert loose["tools"][0]["function"]["strict"] is False


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (ScriptedAnswer(status=400, body={"error": {"message": "m", "code": "context_length_exceeded"}}), None),
        (ScriptedAnswer(body=completion("content_filter", 7)), "content_filter"),
        (ScriptedAnswer(body=completion("content_filter", MOST_TOKENS)), CUT_OFF),
    ],
)
async def test_what_can_not_be_judged_is_told_by_its_kind(answer: ScriptedAnswer, kind: str | None) -> None:
    async with ScriptedServer(answer).serving() as url:
        with Flightloop(url.removesuffix("/v1"), "k" * 32) as client:
            endpoint = Endpoint(client, "scripted")
            with pytest.raises(AskFailed) as failed:
                await asyncio.to_thread(endpoint.ask, [{"role": "user", "content": "hello"}], [])
    assert failed.value.kind == (kind or "context_length_exceeded")


def test_perplexity_is_measured_with_experts_and_without(tmp_path: Path) -> None:
    (tmp_path / "wikitext-2").mkdir()
    (tmp_path / "wikitext-2" / "test.txt").write_text("Ships sail from one harbour to the next. " * 200)
    told: list[str] = []
    row = perplexity_ratio(load_settings(model_threads=1), tmp_path, told.append, windows=1)
    assert row.ratio is not None
    assert row.value > 1
    assert told
    with pytest.raises(BenchError, match="only an embedded model"):
        perplexity_ratio(load_settings(model_url="http://127.0.0.1:1/v1"), tmp_path, told.append)


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Checker]:
    try:
        python_of("bfcl")
    except PeerError as missing:
        pytest.skip(str(missing))
    with Peer("bfcl", log=tmp_path / "log") as peer:
        yield Checker(peer)


def test_the_leaderboards_own_cases_and_checkers(real: Checker) -> None:
    sizes = {category.name: len(real.cases(category)) for category in CATEGORIES}
    assert sizes == {
        "simple_python": 400, "multiple": 200, "parallel": 200, "parallel_multiple": 200, "irrelevance": 240,
        "live_simple": 258, "live_multiple": 1053, "live_parallel": 16, "live_parallel_multiple": 24,
        "live_irrelevance": 884, "live_relevance": 16, "multi_turn_base": 200,
    }  # fmt: skip
    simple, irrelevance = real.cases(SIMPLE)[0], real.cases(IRRELEVANCE)[0]
    [relevance] = chosen(["live_relevance"])
    assert real.judge(simple, Answer("I can't.")).why.startswith("ast_decoder")
    assert real.judge(simple, called("nothing")).why.startswith("simple_function_checker:wrong_func_name")
    assert real.judge(irrelevance, Answer("I can't.")).right
    assert not real.judge(irrelevance, called("something")).right
    assert real.judge(real.cases(relevance)[0], called("something")).right


def test_what_a_model_calls_is_not_run_as_code(real: Checker) -> None:
    case = real.cases(TURNS)[0]
    real.begin(case)
    offered = case.tools[0]["function"]["name"]
    for name, key in (("__import__('os').getcwd", "a"), ("print", "a"), (offered, "a=print('ran')or 1,b")):
        [result] = real.perform(case, called(name, **{key: 1}).calls)
        assert result == "Error during execution: name 'unknown_function' is not defined"
    [broken] = [call for call in called(offered).calls]
    assert real.perform(case, [type(broken)("c", offered, '{"a": ')]) == []
    assert not real.judge_turns(case, [[Answer("No.")] for _ in case.turns]).right
