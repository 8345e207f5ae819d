"""The cases that are shipped with the default policy and the support agent's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.admin import policies
from agent.admin.logs import configured
from flightloop.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("policy", ["guardrails/policies/default.yaml", "examples/support/policies/support.yaml"])
async def test_shipped_policies_decide_as_their_cases_expect(policy: str, tmp_path: Path) -> None:
    file, told = ROOT / policy, list[str]()
    settings = configured(home=tmp_path)
    assert await policies.test_policy(settings, file, file.with_name("cases.jsonl"), told.append), told


PRIVATE = """\
name: private
version: "1"
tools: {allow: {"*": ["*"]}, provenance: allow}
egress: {arguments: allow, contacts: allow}
placeholders: {kinds: [email, person], tools: {send_message: [to]}}
"""


@pytest.mark.parametrize(
    ("tool", "arguments", "expect"),
    [
        ("send_message", {"to": "ada@example.org"}, "allow"),
        ("send_message", {"to": "ada@example.org", "text": "From Anna Smith"}, "block"),
        ("send_message", {"to": "[EMAIL_1]"}, "block"),
        ("search_web", {"query": "ada@example.org"}, "block"),
        ("search_web", {"query": "mugs"}, "allow"),
    ],
)
async def test_a_case_tells_who_gets_personal_data(
    tool: str, arguments: dict[str, str], expect: str, tmp_path: Path
) -> None:
    case = {"stage": "tool_call", "tool": tool, "effect": "pure", "arguments": arguments, "expect": expect}
    case["user_text"] = "My name is Anna Smith, ada@example.org"
    (tmp_path / "private.yaml").write_text(PRIVATE)
    (tmp_path / "cases.jsonl").write_text(json.dumps(case))
    told = list[str]()
    settings = configured(home=tmp_path)
    passed = await policies.test_policy(settings, tmp_path / "private.yaml", tmp_path / "cases.jsonl", told.append)
    assert passed, told


async def test_a_case_may_have_any_separator_of_lines_in_its_text(tmp_path: Path) -> None:
    cases, told = tmp_path / "cases.jsonl", list[str]()
    written = [{"stage": "input", "text": text, "expect": "allow"} for text in ("one\u2028two", "three")]
    cases.write_text("\n".join(json.dumps(case, ensure_ascii=False) for case in written), encoding="utf-8")
    policy = ROOT / "guardrails" / "policies" / "default.yaml"
    assert await policies.test_policy(configured(home=tmp_path), policy, cases, told.append), told
    assert told[-1] == "2 of 2 cases as expected"


async def test_cases_that_are_no_text_are_refused(tmp_path: Path) -> None:
    cases = tmp_path / "cases.jsonl"
    cases.write_bytes(b"\xff")
    policy = ROOT / "guardrails" / "policies" / "default.yaml"
    with pytest.raises(ConfigError, match="cannot be read"):
        await policies.test_policy(configured(home=tmp_path), policy, cases, print)
