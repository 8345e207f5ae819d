"""Rules about hosts and recipients hold for the tools of MCP servers, too."""

from __future__ import annotations

from pathlib import Path

import pytest

from flightloop.errors import ConfigError
from flightloop.tool import Permission
from flightloop.verdicts import Action, Stage
from guardrails.guard import Guard
from guardrails.policy import parse_policy
from guardrails.types import Checked, CheckedCall, GuardContext
from tools.mcp.pins import McpTool, Pin, pinned_tools, write_pins
from tools.mcp.servers import Server

SENDING = {"to": {"type": "string"}, "text": {"type": "string"}, "replyUrl": {"type": "string"}, "total": {}}


@pytest.mark.parametrize(
    ("server", "listed", "network", "sinks"),
    [
        ({"url": "https://x.example"}, "keyed", True, ("to", "replyUrl")),
        ({"url": "https://x.example"}, "pure", True, ()),
        ({"command": ["cat"]}, "unsafe", False, ("to", "replyUrl")),
        ({"command": ["cat"], "hosts": ["*"]}, {"effect": "unsafe", "sinks": ["text"]}, True, ("text",)),
        ({"command": ["cat"]}, {"effect": "keyed", "sinks": []}, False, ()),
    ],
)
def test_rules_about_destinations_hold_for_a_servers_tools(
    tmp_path: Path, server: dict[str, object], listed: object, network: bool, sinks: tuple[str, ...]
) -> None:
    write_pins(tmp_path, {"web": {"send": Pin("Sends.", {"type": "object", "properties": SENDING})}})
    (send,) = pinned_tools(tmp_path, {"web": Server.model_validate({**server, "tools": {"send": listed}})})
    assert (Permission.NETWORK in send.spec.permissions, set(send.spec.sinks)) == (network, set(sinks))


@pytest.mark.parametrize(
    ("name", "schema", "sink"),
    [
        ("urls", {}, True),
        ("HTTPUrl", {}, True),
        ("chat_id", {}, True),
        ("channel_name", {}, True),
        ("replyTo", {}, True),
        ("payee", {}, True),
        ("message", {"type": "object", "properties": {"to": {}}}, True),
        ("messages", {"type": "array", "items": {"properties": {"recipients": {}}}}, True),
        ("host_count", {}, False),
        ("to_date", {}, False),
        ("account_type", {}, False),
        ("target_branch", {}, False),
        ("text", {"examples": [{"properties": {"to": 1}}]}, False),
    ],
)
def test_names_of_destinations(name: str, schema: dict[str, object], sink: bool) -> None:
    server = Server.model_validate({"url": "https://x.example", "tools": {"send": "keyed"}})
    assert server.tools["send"].sinks_among({name: schema}) == ((name,) if sink else ())


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"type": "strng", "default": 1}}},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/none", "default": 1}}},
        {"type": "object", "properties": None},
    ],
)
def test_a_servers_schema_that_cannot_be_used_is_an_error_that_names_the_tool(
    tmp_path: Path, schema: dict[str, object]
) -> None:
    write_pins(tmp_path, {"web": {"send": Pin("Sends.", schema)}})
    with pytest.raises(ConfigError, match=r"web\.tools\.send"):
        pinned_tools(tmp_path, {"web": Server.model_validate({"url": "https://x.example", "tools": {"send": "keyed"}})})


def test_a_sink_that_no_argument_has_is_an_error(tmp_path: Path) -> None:
    write_pins(tmp_path, {"web": {"send": Pin("Sends.", {"type": "object", "properties": SENDING})}})
    wrong = Server.model_validate({"command": ["cat"], "tools": {"send": {"effect": "keyed", "sinks": ["too"]}}})
    with pytest.raises(ConfigError, match=r"web\.tools\.send: sinks: it has no argument too"):
        pinned_tools(tmp_path, {"web": wrong})


async def test_a_servers_tool_sends_to_nobody_unnamed(tmp_path: Path) -> None:
    """Attack: an injected run sends data out by a server's tool: by its recipient, or by an address that it reads."""
    write_pins(
        tmp_path,
        {
            "web": {
                "send": Pin("Sends.", {"type": "object", "properties": SENDING}),
                "fetch": Pin("Reads.", {"type": "object", "properties": {"page": {"type": "string"}}}),
            }
        },
    )
    listed = Server.model_validate({"url": "https://x.example", "tools": {"send": "keyed", "fetch": "pure"}})
    fetch, send = sorted(pinned_tools(tmp_path, {"web": listed}), key=lambda one: one.spec.name)
    policy = (
        'name: desk\nversion: "1"\ntools: {provenance: allow, allow: {"*": ["*"]}}\negress: {hosts: [good.example]}\n'
    )
    guard, context = Guard(parse_policy(policy)), GuardContext(agent="desk", user_text="Write to ann@corp.example")

    async def ruled(tool: McpTool, **arguments: str) -> Action:
        call = CheckedCall("c", tool.spec, dict(arguments))
        return (await guard.check(Checked(Stage.TOOL_CALL, "", context, call))).action

    assert await ruled(send, to="ann@corp.example", text="Hi") is Action.ALLOW
    assert await ruled(send, to="eve@evil.example", text="Hi") is not Action.ALLOW
    assert await ruled(fetch, page="https://good.example/x") is Action.ALLOW
    assert await ruled(fetch, page="https://evil.example/?d=7") is Action.BLOCK
