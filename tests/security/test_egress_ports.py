"""An egress entry opens one host on its ports: to the rail, to a sub-agent's guard and to ``http_get`` alike."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

import pytest

from flightloop.egress import EgressEntry, permits
from flightloop.errors import ConfigError
from flightloop.tool import Effect, Permission, ToolRefused, ToolSpec
from flightloop.verdicts import Action, Stage
from guardrails.guard import Guard
from guardrails.layered import Layered
from guardrails.policy import parse_policy
from guardrails.types import Checked, CheckedCall, GuardContext
from tools.fetching import check_address, check_host


def guard(*hosts: str) -> Guard:
    allow = "allow: {'*': ['*']}, sinks: allow"
    return Guard(parse_policy(f"name: mine\nversion: 1\ntools: {{{allow}}}\negress: {{hosts: {list(hosts)}}}\n"))


async def ruled(hosts: Sequence[str], url: str) -> Action:
    spec = ToolSpec("fetch", "", {"type": "object"}, Effect.PURE, permissions=frozenset({Permission.NETWORK}))
    checked = Checked(Stage.TOOL_CALL, "", GuardContext(agent="a"), CheckedCall("c1", spec, {"url": url}))
    return (await guard(*hosts).check(checked)).action


def performed(hosts: Sequence[str], host: str, port: int) -> bool:
    try:
        check_host(host, port, hosts)
    except ToolRefused:
        return False
    return True


CASES = [
    ("api.example", "https://api.example/", "api.example", 443, True),
    ("api.example", "http://api.example/", "api.example", 80, True),
    ("api.example", "https://api.example:8443/", "api.example", 8443, False),
    ("api.example:8443", "https://api.example:8443/", "api.example", 8443, True),
    ("api.example:8443", "https://api.example/", "api.example", 443, False),
    ("*.example", "https://a.example:8443/", "a.example", 8443, False),
    ("*.example:8443", "https://a.example:8443/", "a.example", 8443, True),
    ("*.example:8443", "https://a.example/", "a.example", 443, False),
    ("API.Example.:443", "https://api.example/", "api.example", 443, True),
    ("api.example:443", "http://api.example/", "api.example", 80, False),
    ("localhost", "http://localhost:9000/", "localhost", 9000, False),
    ("localhost:9000", "http://localhost:9000/", "localhost", 9000, True),
    ("127.0.0.1:9000", "http://127.0.0.1:9000/", "127.0.0.1", 9000, True),
    ("127.0.0.1:9000", "http://127.0.0.1:9001/", "127.0.0.1", 9001, False),
    ("127.0.0.1:80", "http://127.0.0.1/", "127.0.0.1", 80, True),
    ("[::1]:9000", "http://[::1]:9000/", "::1", 9000, True),
    ("[::1]:9000", "http://[0:0::1]:9000/", "::1", 9000, True),
    ("[::1]", "http://[::1]:9000/", "::1", 9000, False),
]


@pytest.mark.parametrize(("entry", "url", "host", "port", "allowed"), CASES)
async def test_rail_and_tool_read_an_entry_alike(entry: str, url: str, host: str, port: int, allowed: bool) -> None:
    assert await ruled([entry], url) is (Action.ALLOW if allowed else Action.BLOCK)
    assert performed([entry], host, port) is allowed


async def test_a_bare_name_beside_an_address_with_a_port_opens_no_other_port() -> None:
    hosts = ["localhost", "127.0.0.1:8080"]
    assert not performed(hosts, "localhost", 9000)
    assert await ruled(hosts, "http://localhost:9000/") is Action.BLOCK
    loopback = ipaddress.ip_address("127.0.0.1")
    check_address(loopback, 8080, hosts)
    for port in (80, 9000):
        with pytest.raises(ToolRefused, match="not public"):
            check_address(loopback, port, hosts)


@pytest.mark.parametrize("text", ["localhost:9000", "127.0.0.1:9000", "[::1]:9000", "::1", "//localhost:9000/x"])
async def test_an_address_without_a_scheme_is_seen(text: str) -> None:
    assert await ruled(["api.example"], text) is Action.BLOCK
    assert await ruled(["localhost:9000", "127.0.0.1:9000", "[::1]:9000", "[::1]"], text) is Action.ALLOW


async def test_a_time_is_no_address() -> None:
    assert await ruled(["api.example"], "12:30:00") is Action.ALLOW


def test_a_sub_agent_reaches_what_both_policies_open() -> None:
    both = Layered([guard("api.example:443", "*.shop.example"), guard("api.example", "a.shop.example", "b.example")])
    assert both.policy.document.egress.hosts == ("api.example:443", "a.shop.example")
    assert not permits(both.policy.document.egress.hosts, "api.example", 80)


@pytest.mark.parametrize(
    "entry", ["https://api.example", "api.example/x", "api.example:https", "a:0", "a:65536", "*", ""]
)
def test_what_is_no_entry_is_an_error_that_names_the_field(entry: str) -> None:
    with pytest.raises(ValueError, match=r"is not a host|the port after the colon"):
        EgressEntry.parse(entry)
    with pytest.raises(ConfigError, match=r"egress\.hosts"):
        guard(entry)
