"""Resolves calls: tool, valid arguments, and a hash that all spellings of the same call share."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from agent.loop.argument_checker import ArgumentChecker, CheckedArguments
from agent.loop.gate import Gate
from agent.loop.run_dependencies import RunDependencies
from agent.run.history import CallState
from flightloop.errors import NotFound
from flightloop.tool import ToolSpec
from guardrails.types import CheckedCall, Write, args_sha256
from tools.host import Unsure

TOO_LONG = "the tool took too long to check these arguments: give fewer or shorter values"


class Refused(Exception):
    """The call is not made: it is invalid, or the guard or a person denied it. The message is the call's result."""


class CallResolver:
    """Resolves the calls of one decision, each only once."""

    def __init__(self, deps: RunDependencies, gate: Gate, tenant_id: str) -> None:
        self._deps, self._gate = deps, gate
        self._checker = ArgumentChecker(deps.hosts.registry, tenant_id)
        self._calls: dict[str, asyncio.Task[CheckedCall]] = {}
        self._forms: dict[str, dict[str, Any] | None] = {}
        """Identities of earlier calls under the current schema, by the hash of their original arguments."""

    async def of(self, state: CallState) -> CheckedCall:
        """A call as it would be performed. Raises Refused if it can't be."""
        call_id = state.call.id
        if call_id not in self._calls:
            self._calls[call_id] = asyncio.create_task(self._resolved(state))
        task = self._calls[call_id]
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.cancel()
            raise

    async def redacted(self, state: CallState, spec: ToolSpec, arguments: dict[str, Any]) -> CheckedCall:
        """A call with arguments redacted by a guardrail. Raises Refused if it can't be performed."""
        checked = await self._checker.checked(state.call.function, arguments)
        if checked.problems:
            told = "; ".join(checked.problems)
            raise Refused(f"a guardrail redacted the call's arguments, and the tool does not accept the result: {told}")
        return await self._checked_call(state, spec, arguments, checked)

    async def under_way(self, states: Sequence[CallState]) -> list[Write]:
        """Those of the calls that change something, have no result yet and could be performed."""
        writes = []
        for state in states:
            if state.result is not None:
                continue
            if (begun := state.intent) is not None:
                writes.append(
                    Write(begun.tool, begun.arguments, ok=None, known_by=begun.args_sha256, unsure=begun.unsure)
                )
                continue
            with suppress(Refused):
                call = await self.of(state)
                write = Write(call.spec.name, call.arguments, ok=None, known_by=call.args_sha256, unsure=call.unsure)
                writes.append(write)
        return writes

    async def _resolved(self, state: CallState) -> CheckedCall:
        name, toolbox = state.call.function.name, self._deps.hosts.registry
        if name not in self._deps.tools:
            raise Refused(f"no tool is named {name!r}; use one of: {', '.join(self._deps.tools) or 'none'}")
        try:
            arguments = state.call.function.parsed()
            spec = toolbox.get(name)
            checked = await self._checker.checked(state.call.function, arguments)
        except ValueError as error:
            raise Refused(f"the arguments are not a JSON object: {error}") from error
        except NotFound as error:
            raise Refused(error.message) from error
        if checked.problems:
            raise Refused("; ".join(checked.problems))
        return await self._checked_call(state, spec, checked.form, checked)

    async def _checked_call(
        self, state: CallState, spec: ToolSpec, arguments: dict[str, Any], checked: CheckedArguments
    ) -> CheckedCall:
        told, unsure = None, False
        try:
            told = await self._gate.known_by(state, spec, checked.form)
        except TimeoutError:  # it may be another spelling of a call that was made or denied
            raise Refused(TOO_LONG) from None
        except Unsure:
            unsure = True
        known_by = args_sha256(spec.name, checked.identity if told is None else told)
        alike = partial(self._alike, spec.name, checked)
        return CheckedCall(state.call.id, spec, arguments, known_by, unsure, state.confidence, alike)

    def _alike(self, tool: str, checked: CheckedArguments, arguments: dict[str, Any]) -> bool:
        """Whether arguments, possibly written under an earlier schema, mean the same under the current one."""
        written = args_sha256(tool, arguments)
        if written not in self._forms:  # each rail compares the same earlier calls
            self._forms[written] = self._form(tool, arguments)
        return self._forms[written] == checked.identity

    def _form(self, tool: str, arguments: dict[str, Any]) -> dict[str, Any] | None:
        toolbox = self._deps.hosts.registry
        try:
            return toolbox.identity(tool, toolbox.canonical(tool, arguments))
        except (NotFound, ValueError, RecursionError):
            return None
