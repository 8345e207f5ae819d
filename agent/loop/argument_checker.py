"""Checks the arguments of a decision's calls against their tools' schemas. Both are untrusted input."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from agent.loop.run_dependencies import Toolbox
from flightloop.chat import FunctionCall
from guardrails.aside import LONG, aside, on_behalf_of
from tools.validation import MOST_SECONDS

TOGETHER_S = 2.0
"""CPU seconds for checking all calls of a decision. Ordinary decisions take a thousandth of that."""
IN_LOOP_S = 0.02
"""CPU seconds after which the decision's remaining calls are checked in a thread."""
TOO_LONG = "the arguments of all these calls take too long to check together: make fewer calls at once"


@dataclass(frozen=True)
class CheckedArguments:
    """Result of checking a call's arguments."""

    problems: list[str]
    form: dict[str, Any]
    """Canonical arguments, with which the call is performed."""
    identity: dict[str, Any]
    """Arguments that identify the call: equal for all arguments that the schema treats as equivalent."""


class ArgumentChecker:
    """Checks the calls of one decision. Slow checks run in a thread that takes turns between tenants."""

    def __init__(self, toolbox: Toolbox, tenant_id: str) -> None:
        self._toolbox, self._tenant_id = toolbox, tenant_id
        self._taken = 0.0

    async def problems(self, call: FunctionCall, arguments: dict[str, Any]) -> list[str]:
        """Errors in a call's arguments. Raises NotFound if the tool is unknown."""
        return (await self.checked(call, arguments)).problems

    async def checked(self, call: FunctionCall, arguments: dict[str, Any]) -> CheckedArguments:
        """Errors and canonical form of a call's arguments. Raises NotFound if the tool is unknown."""
        beside = self._taken > IN_LOOP_S or self._toolbox.is_expensive(call.name, len(call.arguments))
        with on_behalf_of(self._tenant_id):
            checked, seconds = await aside(LONG if beside else 0, self._timed, call.name, arguments)
        self._taken += seconds
        return checked

    def _timed(self, name: str, arguments: dict[str, Any]) -> tuple[CheckedArguments, float]:
        left, began = TOGETHER_S - self._taken, time.thread_time()
        if left <= 0:
            return CheckedArguments([TOO_LONG], arguments, arguments), 0.0
        if problems := self._toolbox.problems(name, arguments, min(MOST_SECONDS, left)):
            return CheckedArguments(problems, arguments, arguments), time.thread_time() - began
        form = self._toolbox.canonical(name, arguments)
        return CheckedArguments([], form, self._toolbox.identity(name, form)), time.thread_time() - began
