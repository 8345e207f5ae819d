"""Which agents may ask each other, what they are called as tools, and what a cancel means for those that are asked."""

from __future__ import annotations

import pytest

from agent.project.agent_spec import AgentSpec
from agent.project.subagent import check, tool_name
from agent.run.journal import Journal
from flightloop.errors import ConfigError
from flightloop.events import CancelRequested
from flightloop.runs import Caller, Parent
from tests.agent.conftest import created


def agent(name: str, *agents: str) -> AgentSpec:
    return AgentSpec(name=name, instructions="Help.", agents=agents)


@pytest.mark.parametrize(
    ("agents", "said"),
    [
        ([agent("a", "b"), agent("b", "a")], "a → b → a: an agent can't delegate to itself"),
        ([agent("a", "a")], "a → a"),
        ([agent("a", "x")], "no agent is named x; known: a"),
        ([agent("a", "b" * 64), agent("b" * 64)], "exceeds 64 characters"),
        ([agent(f"a{n}", f"a{n + 1}") for n in range(4)] + [agent("a4")], "more than 4 agents"),
    ],
)
def test_families_that_can_not_be(agents: list[AgentSpec], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check({one.name: one for one in agents})


def test_names_become_tools() -> None:
    assert tool_name("order-desk") == "ask_order_desk"


async def test_a_cancel_reaches_those_that_work_for_the_run_while_that_goes_on(journal: Journal) -> None:
    def working_for(*runs: str) -> dict[str, object]:
        callers = [Caller(run_id=run_id, agent="helper", policy="default") for run_id in runs]
        return {"run_id": f"run_{len(runs)}", "parent": Parent(call_id="call_1_0", callers=callers)}

    await journal.create(created(run_id="run_0"))
    top = await journal.claim("w", 30.0)
    assert top is not None
    children = [created(**working_for("run_0")), created(**working_for("run_0", "run_1"))]
    await journal.append("run_0", [], top.lease, children)
    held = [await journal.claim("w", 30.0) for _ in children]
    assert None not in held
    assert await journal.cancelled("w") == frozenset()

    await journal.append("run_0", [CancelRequested(by="ann")])
    assert await journal.cancelled("w") == {"run_0", "run_1", "run_2"}
    assert await journal.cancelled("another") == frozenset()
    assert [(await journal.get("default", f"run_{n}")).status for n in range(3)] == ["running"] * 3
