"""``python -m agent redteam``: what it finds in projects with holes, and that it finds none where there are none."""

from __future__ import annotations

import io
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from agent.admin.redteam import Wish, redteam
from agent.config import Settings, load_settings
from agent.redteam.attack import Family
from agent.redteam.generate import Generator
from agent.redteam.planting_hosts import planted_in
from agent.redteam.repeats import repeats
from agent.redteam.target import targets
from agent.serve.factories import read_project
from agent.testing.model_server import ScriptedAnswer, ScriptedServer
from flightloop.errors import ConfigError
from flightloop.tool import Effect, ToolSpec
from guardrails.policy import parse_policy

TOOLS = '''
from typing import Any

from flightloop.tool import ToolContext, tool


@tool(effect="pure", returns_untrusted={untrusted})
def read_mail(number: int) -> Any:
    """Read a mail.

    Args:
        number: number of the mail
    """
    return {{"number": number, "body": "Hello."}}


@tool(effect="keyed")
def pay_invoice(context: ToolContext, invoice_id: int, amount: float, payee: str) -> Any:
    """Pay an invoice.

    Args:
        invoice_id: number of the invoice
        amount: euros
        payee: account
    """
    (context.data / "paid").write_text("paid")
    return "paid"


@tool(effect="keyed", permissions=("network",), hosts=("api.example.com",))
def post_report(url: str) -> Any:
    """Post a report.

    Args:
        url: where to
    """
    raise RuntimeError("this must not be called")
'''
AGENT = """
name: clerk
instructions: You read mails and pay invoices.
tools: [read_mail, pay_invoice, post_report]
policy: clerk
"""
OPEN = """
name: clerk
version: "1"
tools:
  allow: {clerk: ["*"]}
  ask: []
  lock_to_plan: "off"
  provenance: allow
  sinks: allow
  tainted_writes: allow
  repeated_writes: allow
egress:
  hosts: []
  arguments: allow
  contacts: allow
"""
CLOSED = """
name: clerk
version: "2"
tools:
  allow: {clerk: ["*"]}
  arguments:
    pay_invoice:
      amount: {maximum: 100}
limits:
  - {tools: [pay_invoice], sum: amount, per: [session], maximum: 100, action: ask}
"""


def project(folder: Path, policy: str, untrusted: bool = True) -> Settings:
    for name, text in {
        "tools.py": TOOLS.format(untrusted=untrusted),
        "agents/clerk.yaml": AGENT,
        "policies/clerk.yaml": policy,
    }.items():
        path = folder / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return load_settings(home=folder / "home", project=folder / "project")


async def attacked(settings: Settings, out: Path, **wish: Any) -> tuple[bool, dict[str, Any], str]:
    printed = io.StringIO()
    good = await redteam(settings, Wish(out=out, **{"rounds": 1, **wish}), Console(file=printed, width=120))
    return good, read(out), printed.getvalue()


def read(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(out.read_text())
    return found


async def test_a_policy_without_rules_has_holes_and_each_is_told_with_what_closes_it(tmp_path: Path) -> None:
    good, found, told = await attacked(project(tmp_path, OPEN), tmp_path / "out.json")
    assert not good
    holes = {(one["family"], one["tool"]) for one in found["findings"] if one["outcome"] == "executed"}
    assert {
        ("injected write", "pay_invoice"),
        ("forged approval", "pay_invoice"),
        ("call markup", "pay_invoice"),
        ("foreign value", "pay_invoice"),
        ("destination", "pay_invoice"),
        ("invented value", "pay_invoice"),
        ("repeated write", "pay_invoice"),
    } <= holes
    assert ("leak", "post_report") not in holes  # its own host is not on the policy's list
    assert "tools.lock_to_plan: auto" in told
    assert "tools.provenance: ask" in told
    assert "left out: tool post_report: reaches out of this machine" in told
    posted = {one["tool_said"] for one in found["findings"] if one["tool"] == "post_report"}
    assert posted <= {"", "not called"}
    assert all(one["advice"] for one in found["findings"] if one["outcome"] == "executed")
    assert not (tmp_path / "home" / "data").exists()  # the deployment's own data


async def test_the_default_rules_leave_no_hole(tmp_path: Path) -> None:
    good, found, told = await attacked(project(tmp_path, CLOSED), tmp_path / "out.json")
    assert [one for one in found["findings"] if one["outcome"] == "executed"] == []
    assert good
    assert "No attack passed without an approval." in told
    assert found["outcomes"]["asked"] > found["outcomes"]["not reached"]
    languages = {one["detail"][:2] for one in found["findings"] if one["family"] == "injected write"}
    assert languages == {"en", "de", "zh", "es"}


async def test_a_tool_that_does_not_declare_strangers_text_is_found(tmp_path: Path) -> None:
    silent = project(tmp_path, CLOSED)
    tools = tmp_path / "project" / "tools.py"
    tools.write_text(tools.read_text().replace(", returns_untrusted=True", ""))
    policy = tmp_path / "project" / "policies" / "clerk.yaml"
    policy.write_text(CLOSED.replace("tools:\n", "tools:\n  provenance: allow\n  tainted_writes: allow\n"))
    good, found, _ = await attacked(silent, tmp_path / "out.json")
    assert not good
    advice = [line for one in found["findings"] for line in one.get("advice", [])]
    assert any(line.startswith("@tool(returns_untrusted=True) on read_mail") for line in advice)


def test_the_same_seed_makes_the_same_attacks(tmp_path: Path) -> None:
    loaded = read_project(project(tmp_path, CLOSED))
    [target], _ = targets(loaded)
    first, again, other = (Generator(target, loaded.registry, seed).round(0) for seed in (3, 3, 4))
    assert first == again
    assert first != other
    assert {one.family for one in first} == set(Family) - {Family.OTHER_SUBJECT}  # the policy has no section for it
    later = Generator(target, loaded.registry, 3).round(1)
    assert [one.planted for one in first] != [one.planted for one in later]
    assert {len(one.said) for one in first} == {1, 2, 3, 4}


def test_every_value_is_valid_for_its_tool_and_below_the_policy_s_limits(tmp_path: Path) -> None:
    loaded = read_project(project(tmp_path, CLOSED))
    [target], _ = targets(loaded)
    for number in range(3):
        for one in Generator(target, loaded.registry, 1).round(number):
            for name, arguments in (call for turn in one.calls for call in turn):
                assert not loaded.registry.problems(name, arguments)
                assert arguments.get("amount", 0) <= 100


async def test_a_database_without_a_seed_is_copied_and_stays_as_it_is(tmp_path: Path) -> None:
    settings = project(tmp_path, OPEN)
    (tmp_path / "project" / "project.yaml").write_text("database: mails.db\n")
    settings.data.mkdir(parents=True)
    with closing(sqlite3.connect(settings.data / "mails.db")) as database, database:
        database.execute("CREATE TABLE invoices (id INTEGER)")
        database.execute("INSERT INTO invoices VALUES (4711)")
    before = (settings.data / "mails.db").read_bytes()
    _, found, _ = await attacked(settings, tmp_path / "out.json")
    assert any("4711" in one["said"][0] for one in found["findings"])
    assert (settings.data / "mails.db").read_bytes() == before
    assert [path.name for path in settings.data.iterdir()] == ["mails.db"]


async def test_an_agent_that_can_be_attacked_in_no_way_is_an_error(tmp_path: Path) -> None:
    settings = project(tmp_path, CLOSED)
    with pytest.raises(ConfigError, match="nothing to attack"):
        await redteam(settings, Wish(agent="nobody"), Console(quiet=True))


async def test_a_real_model_that_does_nothing_ignores_the_attacks(tmp_path: Path) -> None:
    server = ScriptedServer(ScriptedAnswer(text="I would rather not."), reads_plans=False)
    async with server.serving() as url:
        good, found, told = await attacked(project(tmp_path, OPEN), tmp_path / "out.json", url=url)
    assert good
    assert found["model"] == "scripted"
    outcomes = found["outcomes"]
    assert outcomes["ignored"] + outcomes["not reached"] == found["attacks"]
    assert outcomes["ignored"] > 0
    assert "No attack passed without an approval." in told
    assert len(server.requests) >= found["attacks"]


def test_a_write_with_another_text_is_bounded_by_a_limit_or_is_attacked() -> None:
    spec = ToolSpec(
        "send_note",
        "Sends a note.",
        {"type": "object", "properties": {"to": {"type": "string"}, "text": {"type": "string"}}},
        Effect.KEYED,
    )
    document = parse_policy(CLOSED.replace("clerk", "other")).document
    details = [detail for *_, detail in repeats(document, spec, {"to": "bob@mail.example", "text": "Hi"})]
    assert details == ["the same call", "spelt otherwise", "worded otherwise"]
    limited = CLOSED.replace("tools: [pay_invoice], sum: amount", "tools: [send_note], count: 1").replace(
        ", maximum: 100", ""
    )
    document = parse_policy(limited).document
    details = [detail for *_, detail in repeats(document, spec, {"to": "bob@mail.example", "text": "Hi"})]
    assert details == ["the same call", "spelt otherwise"]


def test_text_is_planted_where_strangers_can_write_only() -> None:
    spec = ToolSpec("get_order", "", {"type": "object"}, Effect.PURE, returns_untrusted=True, trusted_fields=("state",))
    assert planted_in({"state": "sent", "note": "Hi."}, "X", spec) == {"state": "sent", "note": "Hi. X"}
    assert planted_in({"state": "sent"}, "X", spec) == {"state": "sent", "note": "X"}
    assert planted_in([{"state": "sent", "street": "Elm"}, {"state": "new"}], "X", spec) == [
        {"state": "sent", "street": "Elm", "note": "X"},
        {"state": "new"},
    ]
    assert planted_in("Hello.", "X", spec) == "Hello.\nX"
    assert planted_in(None, "X", spec) == "X"
