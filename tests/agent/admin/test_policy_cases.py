"""The cases that are shipped with the default policy and the support agent's."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.admin import policies
from agent.admin.logs import configured

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("policy", ["guardrails/policies/default.yaml", "examples/support/policies/support.yaml"])
async def test_shipped_policies_decide_as_their_cases_expect(policy: str, tmp_path: Path) -> None:
    file, told = ROOT / policy, list[str]()
    settings = configured(home=tmp_path)
    assert await policies.test_policy(settings, file, file.with_name("cases.jsonl"), told.append), told
