from __future__ import annotations

from pathlib import Path

from agent.admin.policies import test_policy as check_cases
from agent.config import Settings

POLICIES = Path(__file__).parents[2] / "examples" / "coder" / "policies"


async def test_the_policy_asks_nobody_about_addresses_in_a_program() -> None:
    told: list[str] = []
    assert await check_cases(Settings(), POLICIES / "coder.yaml", POLICIES / "cases.jsonl", told.append), told
