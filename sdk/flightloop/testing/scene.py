"""A day at a shop: a world with agents, a history of runs, and figures of all three tiers.

For trying a console or a client without a platform. The same seed gives the same history.
"""

from __future__ import annotations

import hashlib
import random
from datetime import UTC, datetime, timedelta
from typing import Any

from flightloop.chat import ModelCard
from flightloop.runs import AgentInfo, Budget, PolicyInfo, RunCreate, ToolInfo
from flightloop.testing.figures import Figures
from flightloop.testing.plots import PLOTS
from flightloop.testing.script import Clock, play
from flightloop.testing.world import World

POLICY: dict[str, Any] = {
    "name": "support",
    "version": "3",
    "description": "Refunds above 50 € and address changes need a person.",
    "streaming": "held",
    "stages": {
        "input": {"rails": ["normalise", "secrets", {"rail": "injection", "block_at": 0.9}]},
        "tool_call": {"rails": [{"rail": "secrets", "action": "block"}]},
        "tool_result": {"rails": ["normalise", {"rail": "injection", "taint_at": 0.5}]},
        "final": {"rails": ["secrets", "pii", "groundedness"]},
    },
    "tools": {
        "allow": {"support": ["search_customers", "orders_of", "order_details", "pay_back", "change_delivery"]},
        "ask": [{"tool": "pay_back", "argument": "amount", "above": 50, "reason": "a large refund"}],
        "tainted_writes": "ask",
    },
    "egress": {"hosts": []},
}
SHA = hashlib.sha256(repr(POLICY).encode()).hexdigest()

_TOOLS = (
    ("search_customers", "Finds a customer by e-mail address.", "pure", ("email",)),
    ("orders_of", "Lists a customer's orders, newest first.", "pure", ("customer_id",)),
    ("order_details", "Items, prices and delivery of one order.", "pure", ("order_id",)),
    ("track_parcel", "Where a parcel is and when it will arrive.", "pure", ("order_id",)),
    ("pay_back", "Pays an order back, wholly or in part.", "transactional", ("order_id", "amount")),
    ("change_delivery", "Changes the address of an order that has not left.", "transactional", ("order_id", "address")),
    ("search_policies", "Searches the shop's policy documents.", "pure", ("question",)),
)


def shop(runs: int = 36, seed: int = 7) -> World:
    """A world whose last hours are filled with that many runs."""
    world = World()
    world.tools = [_tool(*row) for row in _TOOLS]
    world.policies = [PolicyInfo(name="support", version="3", sha256=SHA, document=POLICY, loaded_at=datetime.now(UTC))]
    world.agents = [
        _agent(
            "support",
            "Helps customers with orders, refunds and deliveries.",
            [tool.name for tool in world.tools],
            ["returns"],
        ),
        _agent("returns", "Decides about returns and books the pick-up.", ["order_details", "pay_back"], []),
    ]
    world.models = [
        ModelCard(id="smollm2-135m-moe", context_length=8192, parameters=163_000_000, active_parameters=139_000_000)
    ]
    world.figures = Figures()
    chance = random.Random(seed)
    for index in range(runs):
        began = datetime.now(UTC) - timedelta(minutes=4 * (runs - index) + chance.uniform(0, 3))
        plot = chance.choices(PLOTS, weights=[plot.weight for plot in PLOTS])[0]
        if plot.waits or index == runs - 3:
            plot = next(plot for plot in PLOTS if plot.waits) if index >= runs - 3 else PLOTS[0]
        body = RunCreate.model_validate(
            {"agent": plot.agent, "input": plot.asked, "session_id": f"ses_{chance.getrandbits(32):08x}"}
        )
        run = world.create(body)
        play(world, run.id, plot, Clock(began), chance)
    return world


def _tool(name: str, description: str, effect: str, arguments: tuple[str, ...]) -> ToolInfo:
    properties = {argument: {"type": "number" if argument == "amount" else "string"} for argument in arguments}
    return ToolInfo(
        name=name,
        description=description,
        parameters={"type": "object", "properties": properties, "required": list(arguments)},
        effect=effect,
        timeout_s=10.0,
        permissions=[],
    )


def _agent(name: str, description: str, tools: list[str], agents: list[str]) -> AgentInfo:
    return AgentInfo(
        name=name,
        description=description,
        model="smollm2-135m-moe",
        tools=tools,
        agents=agents,
        policy="support",
        policy_sha256=SHA,
        budget=Budget(steps=12, tokens=24_000, seconds=180, cost=0.05),
        planning=True,
    )
