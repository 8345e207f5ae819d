"""Which agents may ask each other, and what they are called as tools."""

from __future__ import annotations

import pytest

from agent.spec import AgentSpec
from agent.subagent import check, tool_name
from flightloop.errors import ConfigError


def agent(name: str, *agents: str) -> AgentSpec:
    return AgentSpec(name=name, instructions="Help.", agents=agents)


@pytest.mark.parametrize(
    ("agents", "said"),
    [
        ([agent("a", "b"), agent("b", "a")], "a → b → a: an agent can't work for itself"),
        ([agent("a", "a")], "a → a"),
        ([agent("a", "x")], "no agent is named x; known: a"),
        ([agent("a", "b" * 64), agent("b" * 64)], "more than 64 characters"),
        ([agent(f"a{n}", f"a{n + 1}") for n in range(4)] + [agent("a4")], "at most 4"),
    ],
)
def test_families_that_can_not_be(agents: list[AgentSpec], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check({one.name: one for one in agents})


def test_names_become_tools() -> None:
    assert tool_name("order-desk") == "ask_order_desk"
