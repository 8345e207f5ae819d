"""How a person reads where a call's values come from."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from flightloop.cli.render import event_line
from flightloop.events import ApprovalRequested
from flightloop.provenance import Match, Origin, Source, weakest
from flightloop.runs import Approval


def source(origin: Origin, **fields: object) -> Source:
    return Source.model_validate({"argument": "amount", "value": "99", "origin": origin, **fields})


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (source(Origin.USER), "amount 99 comes from the user's words"),
        (source(Origin.RECORD, tool="get", field="total"), "amount 99 comes from a trusted field of get (field total)"),
        (source(Origin.RECORD), "amount 99 comes from the signed-in subject"),
        (source(Origin.INVENTED), "amount 99 occurs neither in the user's words nor in a result"),
        (
            source(Origin.RESULT, tool="get", run_id="run_1", strangers=True),
            "amount 99 comes from the result of get in run_1, which strangers can write",
        ),
        (
            source(Origin.RECORD, tool="get", match=Match.COMPOSED, how="the sum of 90 and 9"),
            "amount 99 is the sum of 90 and 9, which comes from a trusted field of get",
        ),
    ],
)
def test_a_source_reads_as_a_sentence(found: Source, text: str) -> None:
    assert found.text == text


def test_the_weakest_origin_counts() -> None:
    assert weakest([Origin.USER, Origin.RESULT, Origin.RECORD]) is Origin.RESULT
    assert weakest([]) is Origin.USER


def test_the_cli_shows_the_source_of_each_value() -> None:
    found = [source(Origin.USER), source(Origin.RESULT, argument="to\nfrom", tool="get\x1b[2J", strangers=True)]
    asked = ApprovalRequested(
        approval_id="apr_1",
        call_id="c",
        tool="refund",
        arguments={"amount": 99},
        reason="why",
        sources=found,
        args_sha256="",
        policy_sha256="",
        expires_at=datetime.now(UTC),
    )
    line = event_line(asked)
    assert line is not None
    shown = line.plain.splitlines()
    assert "    amount 99 comes from the user's words" in shown
    assert shown[-2].startswith("    to from 99 comes from the result of get")
    assert "\x1b" not in shown[-2]


def test_approvals_of_older_versions_have_no_sources() -> None:
    fields = {"id": "apr_1", "run_id": "r", "agent": "a", "call_id": "c", "tool": "t", "arguments": {}, "reason": ""}
    moments = dict.fromkeys(("created_at", "expires_at"), datetime.now(UTC))
    assert Approval.model_validate({**fields, **moments, "args_sha256": "", "policy_sha256": ""}).sources == []
