"""Runs hidden tests on generated programs, in the same sandbox as the generator's own tests."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.code.problems import Problem
from flightloop.tool import ToolContext
from tools.config import ToolsConfig
from tools.host import ToolHosts


def verdicts(programs: Sequence[tuple[Problem, str]]) -> list[bool]:
    """Whether each program passes its problem's hidden test. An empty program does not."""
    return asyncio.run(_verdicts(programs))


async def _verdicts(programs: Sequence[tuple[Problem, str]]) -> list[bool]:
    with TemporaryDirectory(prefix="flightloop-bench-") as folder:
        async with ToolHosts(["tools.builtin"], ToolsConfig(spare=0)) as hosts:
            return [await _passes(hosts, Path(folder), problem, code) for problem, code in programs]


async def _passes(hosts: ToolHosts, data: Path, problem: Problem, code: str) -> bool:
    result = await run_tests(hosts, data, problem, code) if code.strip() else {}
    return [test["passed"] for test in result.get("tests", [])] == [True]


async def run_tests(hosts: ToolHosts, data: Path, problem: Problem, code: str) -> dict[str, Any]:
    """What the tool says about a program and the problem's hidden test."""
    context = ToolContext("bench:0:0", "default", "bench", "bench", "bench", data, ())
    arguments = {"code": code, "language": problem.language, "tests": [{"statements": problem.test}]}
    outcome = await hosts.call("run_tests", arguments, context)
    return outcome.content if outcome.ok and isinstance(outcome.content, dict) else {"error": outcome.error}
