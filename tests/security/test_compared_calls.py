"""Comparing a call with a session's earlier ones holds nobody up."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from flightloop.tool import Effect, ToolSpec
from flightloop.verdicts import Stage
from guardrails.policy import default_policy
from guardrails.policy_document import PolicyDocument
from guardrails.rails import forbidden
from guardrails.rails.forbidden import forbidden_rail
from guardrails.same_calls import is_among, may_be_done
from guardrails.types import Checked, CheckedCall, GuardContext, Past, Write

SPEC = ToolSpec("tag", "Tags.", {"type": "object", "properties": {"names": {"type": "array"}}}, Effect.KEYED)


@pytest.mark.parametrize("compare", [is_among, may_be_done])
async def test_earlier_calls_are_compared_beside_the_event_loop(compare: Any) -> None:
    """One is enough: its arguments may be long, and have to be read by the present schema."""
    threads: list[str] = []

    def alike(arguments: dict[str, Any]) -> bool:
        threads.append(threading.current_thread().name)
        return arguments == {"names": ["b", "a"]}

    call = CheckedCall("c", SPEC, {"names": ["a", "b"]}, spelt_alike=alike)
    assert not await compare(call, [Write("tag", {"names": ["c"]}, True), Write("pay", {"names": ["b", "a"]}, True)])
    assert await compare(call, [Write("tag", {"names": ["b", "a"]}, True)])
    assert len(threads) == 2
    assert threading.current_thread().name not in threads


async def test_a_calls_long_arguments_are_read_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []
    monkeypatch.setattr(forbidden, "why_not", lambda *_: threads.append(threading.current_thread()))

    async def past(args_sha256: str | None = None, tool: str | None = None) -> Past:
        return Past(asked="Tag it.")

    document: PolicyDocument = default_policy().document
    for names in (["short"], ["\ufdfa" * 100_000]):
        call = CheckedCall("c", SPEC, {"names": names})
        await forbidden_rail(document)(Checked(Stage.TOOL_CALL, "", GuardContext(past=past), call))
    assert [thread is threading.main_thread() for thread in threads] == [True, False]
