"""``policy test``: cases that have a subject, and evidence about its objects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.admin.policies import test_policy as check_policy
from agent.config import Settings
from flightloop.errors import ConfigError

POLICY = """
name: desk
version: 1
tools: {allow: {"*": ["*"]}}
subject:
  anonymous: {tools: [show], otherwise: ask}
  arguments: {order_id: {evidence: owner_of, field: customer, anonymous: [email]}}
  results: {customer: {}}
"""
OWNERS = {"owner_of": {"1": {"customer": 7, "email": "me@example.com"}, "2": {"customer": 8}}}
CALL = {"stage": "tool_call", "tool": "show", "effect": "pure", "evidence": OWNERS}


async def checked(folder: Path, *cases: dict[str, Any]) -> tuple[bool, list[str]]:
    (folder / "desk.yaml").write_text(POLICY)
    (folder / "cases.jsonl").write_text("\n".join(map(json.dumps, cases)))
    told: list[str] = []
    good = await check_policy(Settings(), folder / "desk.yaml", folder / "cases.jsonl", told.append)
    return good, told


async def test_cases_have_subjects_and_evidence(tmp_path: Path) -> None:
    good, told = await checked(
        tmp_path,
        {**CALL, "arguments": {"order_id": 1}, "subject": "7", "expect": "allow"},
        {**CALL, "arguments": {"order_id": 1}, "subject": {"id": "7", "claims": {"vip": True}}, "expect": "allow"},
        {**CALL, "arguments": {"order_id": 2}, "subject": "7", "expect": "block"},
        {**CALL, "arguments": {"order_id": 3}, "subject": "7", "expect": "block"},
        {**CALL, "arguments": {"order_id": 1}, "expect": "ask"},
        {**CALL, "arguments": {"order_id": 1}, "user_text": "me@example.com", "expect": "allow"},
        {**CALL, "tool": "pay", "expect": "ask"},
        {"stage": "tool_result", "tool": "show", "text": '{"customer": 8}', "subject": "7", "expect": "redact"},
        {"stage": "tool_result", "tool": "show", "text": '{"customer": 7}', "subject": "7", "expect": "allow"},
    )
    assert (good, told[1:]) == (True, ["9 of 9 cases as expected"])


async def test_an_unexpected_decision_about_a_subject_is_told(tmp_path: Path) -> None:
    good, told = await checked(tmp_path, {**CALL, "arguments": {"order_id": 2}, "subject": "7", "expect": "allow"})
    assert not good
    assert "cases.jsonl:1: expected allow, got block subject: order 2 is not one of yours" in told[1]


async def test_a_wrong_subject_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cases.jsonl:1: subject"):
        await checked(tmp_path, {**CALL, "subject": {"name": "Ann"}, "expect": "allow"})


async def test_cases_say_who_must_decide(tmp_path: Path) -> None:
    (tmp_path / "pay.yaml").write_text(
        'name: pay\nversion: 1\ntools: {provenance: allow, allow: {"*": ["*"]}, approval: {not_starter: true},'
        " ask: [{tool: pay, approval: {persons: 2}}]}\n"
    )
    case = {"stage": "tool_call", "tool": "pay", "effect": "keyed", "expect": "ask"}
    wanted = [{"persons": 2, "not_starter": True}, {"persons": 2}, {"not_starter": True}, None]
    (tmp_path / "cases.jsonl").write_text("\n".join(json.dumps({**case, "approval": one}) for one in wanted))
    told: list[str] = []
    assert not await check_policy(Settings(), tmp_path / "pay.yaml", tmp_path / "cases.jsonl", told.append)
    got = 'got "approval": {"persons":2,"not_starter":true}'
    assert [line.partition(": ")[2] for line in told[1:-1]] == [
        f'expected "approval": {{"persons":2,"not_starter":false}}, {got}',
        f'expected "approval": {{"persons":1,"not_starter":true}}, {got}',
    ]
    assert told[-1] == "2 of 4 cases as expected"
