"""A fake platform with one agent, and a worker that answers at once."""

from collections.abc import Iterator

import pytest

from flightloop import AsyncFlightloop, Flightloop
from flightloop import events as ev
from flightloop.runs import AgentInfo, Budget, Run, RunStatus, StopReason
from flightloop.testing import FakeServer, World


def answer(world: World, run: Run) -> None:
    world.append(run.id, ev.RunStarted(worker="w1", fence=1))
    world.append(run.id, ev.Planned(goal="help", tools=["find"], model=ev.ModelCall(model="m", confidence=0.5)))
    world.say(run.id, "All ")
    world.say(run.id, "done.")
    world.append(run.id, ev.Replied(text="All done.", model=ev.ModelCall(model="m", confidence=0.7)))
    ended = ev.RunEnded(status=RunStatus.SUCCEEDED, stop_reason=StopReason.ANSWERED, output="All done.")
    world.append(run.id, ended)


@pytest.fixture
def world() -> World:
    found = World()
    budget = Budget(steps=8)
    found.agents = [
        AgentInfo(name="support", model="m", tools=[], policy="p", policy_sha256="0" * 64, budget=budget, planning=True)
    ]
    return found


@pytest.fixture
def server(world: World) -> Iterator[FakeServer]:
    with FakeServer(world, on_run=answer) as running:
        yield running


@pytest.fixture
def client(server: FakeServer) -> Iterator[Flightloop]:
    with Flightloop(server.url, server.api_key) as found:
        yield found


@pytest.fixture
async def async_client(server: FakeServer):
    async with AsyncFlightloop(server.url, server.api_key) as found:
        yield found
