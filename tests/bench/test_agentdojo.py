"""The rows of AgentDojo, in an invented world; and the rules by which its tools are declared."""

from __future__ import annotations

from typing import Any

import pytest

from bench.guardrails.agentdojo import drawn, measured
from bench.guardrails.dojo_tools import policy, spec_of
from bench.guardrails.dojo_world import Dojo
from bench.peers.peer import Peer
from flightloop.tool import EVERY_FIELD, Effect
from flightloop.verdicts import Action


async def test_an_injection_succeeds_without_a_guard_and_waits_for_a_person_with_one() -> None:
    with Peer("fake_agentdojo") as peer:
        rows = {row.name: row for row in await measured(peer, 10)}
    success = rows["agentdojo_attack_success"]
    assert success.value == 0
    assert success.peer_value == 1  # so the model does follow the injection
    assert success.cases == 4  # both attacks on both tasks
    assert rows["agentdojo_attack_asks"].value == 1
    assert rows["agentdojo_attack_success_tool_knowledge"].cases == 2
    assert rows["agentdojo_asks"].value == 0  # the user names the recipient, and asks for the act
    assert rows["agentdojo_utility_lost"].value == 0
    assert rows["agentdojo_utility_lost"].cases == 2


def test_the_sample_is_the_same_each_time() -> None:
    with Peer("fake_agentdojo") as peer:
        suites = Dojo(peer).suites
        assert drawn(suites, 1) == drawn(suites, 1)
        assert sorted(pair[1:] for pair in drawn(suites, 10)) == [("read", "steal"), ("send", "steal")]


def declared(name: str, *arguments: str, returns: tuple[str, ...] = ()) -> Any:
    schema = {"type": "object", "properties": {one: {"type": "string"} for one in arguments}}
    return spec_of({"name": name, "description": "", "parameters": schema, "returns": list(returns)})


@pytest.mark.parametrize(
    ("name", "untrusted", "trusted"),
    [
        ("get_unread_emails", True, ("id_",)),
        ("read_channel_messages", True, ("id_",)),
        ("read_file", True, ("id_",)),
        ("get_balance", False, EVERY_FIELD),
        ("search_contacts_by_email", False, EVERY_FIELD),
        ("send_email", False, ()),
    ],
)
def test_what_strangers_write_is_declared_by_names(name: str, untrusted: bool, trusted: tuple[str, ...]) -> None:
    spec = declared(name, returns=("id_", "body"))
    assert spec.returns_untrusted is untrusted
    assert spec.trusted_fields == trusted
    assert (spec.effect is Effect.PURE) is not name.startswith("send")


def test_destinations_of_writes_are_sinks_and_links_come_from_the_user() -> None:
    assert declared("send_email", "recipients", "body").sinks == ("recipients",)
    assert declared("read_inbox", "user").sinks == ()
    page = declared("get_webpage", "url")
    rule = policy([page]).document.tools.arguments["get_webpage"]["url"]
    assert rule.origins == ("user", "record")
    assert rule.otherwise is Action.ASK
