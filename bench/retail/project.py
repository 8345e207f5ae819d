"""The served project: an agent with tau2-bench's policy as its instructions, and the shop's tools."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from bench.retail.tools import TOOLS
from flightloop.tool import tool_of

AGENT = "retail"
GUARD = Path(__file__).parent / "policy.yaml"
HAND_OVER = "transfer_to_human_agents"
_TOOLS = '''"""The shop's tools."""

from bench.retail.tools import TOOLS

__all__ = ["TOOLS"]
'''


def write_project(folder: Path, instructions: str) -> Path:
    """Writes the project's files and returns its folder.

    Args:
        folder: created or replaced.
        instructions: the policy for the agent.
    """
    agent = {
        "name": AGENT,
        "description": "Customer service of tau2-bench's retail shop.",
        "instructions": instructions,
        "tools": [declared.spec.name for function in TOOLS if (declared := tool_of(function))],
        "policy": AGENT,
        # tau2-bench's policy requires that a turn is either one call or an answer.
        "planning": False,
        "parallel_calls": 1,
        "max_tokens": 400,
        "escalation": [HAND_OVER],
        "budget": {"steps": 24, "tokens": 250_000, "seconds": 600},
    }
    for name in ("agents", "policies"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "agents" / f"{AGENT}.yaml").write_text(
        yaml.safe_dump(agent, sort_keys=False, allow_unicode=True), "utf-8"
    )
    (folder / "tools.py").write_text(_TOOLS, "utf-8")
    shutil.copyfile(GUARD, folder / "policies" / f"{AGENT}.yaml")
    return folder
