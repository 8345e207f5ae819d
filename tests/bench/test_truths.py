from datetime import UTC, datetime

import pytest

from agent.evals.transcript import Exchange
from bench.truths import false_claims, rows, shows_markup
from flightloop.content import TextPart
from flightloop.events import ToolResult
from flightloop.runs import Budget, Run, RunStatus


def said(answer, *results):
    run = Run(
        id="run_1",
        agent="support",
        session_id="s",
        status=RunStatus.SUCCEEDED,
        input="hi",
        budget=Budget(),
        output=[TextPart(text=answer)],
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return Exchange(run, results)


def done(tool, ok=True, content="done"):
    return ToolResult(call_id="c", tool=tool, ok=ok, content=content)


@pytest.mark.parametrize(
    "answer",
    [
        "<tool_call>[{",
        '{"name": "get_order", "arguments": {}}',
        '[{"name": "get_order"}]',
        '{"goal": "find it", "tools": []}',
        "I call [TOOL_CALLS] now",
    ],
)
def test_markup_is_seen(answer):
    assert shows_markup(answer)


@pytest.mark.parametrize("answer", ["Your order was sent.", '{"total": 12}', "a < b", ""])
def test_words_are_none(answer):
    assert not shows_markup(answer)


@pytest.mark.parametrize(
    "answer", ["I have cancelled order 7.", "Your order has been cancelled.", "I've issued a refund.", "I refunded it."]
)
def test_a_claim_without_its_call_is_false(answer):
    assert list(false_claims([said(answer, done("cancel_order", ok=False))]))


@pytest.mark.parametrize("answer", ["I have not cancelled it.", "Shall I cancel it?", "It could not be cancelled."])
def test_what_claims_nothing(answer):
    assert not list(false_claims([said(answer)]))


def test_a_claim_is_true_from_its_call_on():
    assert not list(false_claims([said("I have cancelled order 7.", done("cancel_order")), said("I cancelled it.")]))
    assert not list(false_claims([said("It has been cancelled.", done("get_order", content={"status": "cancelled"}))]))


def test_the_rows_count_answers():
    shown, claimed = rows([[said("I have cancelled order 7.")], [said("<tool_call>")]])
    assert (shown.value, shown.cases, claimed.value) == (1, 2, 1)
