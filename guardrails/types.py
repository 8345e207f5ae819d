"""What the guard is asked about, and what it answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from flightloop.chat import ToolDef
from flightloop.tool import ToolSpec
from flightloop.verdicts import Action, Stage, Verdict
from guardrails.policy import Policy
from guardrails.spelling import most_characters


class Statement(Protocol):
    """A number at characters [start, end) of a text of which a source of facts knows whether it is right.

    ``numbers`` as they are written; ``fact``: what the source has, and where. ``strict``: a wrong one is wrong even if
    the user said it before.
    """

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def numbers(self) -> tuple[float, ...]: ...
    @property
    def right(self) -> bool: ...
    @property
    def strict(self) -> bool: ...
    @property
    def fact(self) -> str: ...


Facts = Callable[[str, str], Awaitable[Sequence[Statement]]]
"""Of a text, and of the user's words that it answers: the statements in it that something is known about."""


async def no_facts(text: str, asked: str) -> Sequence[Statement]:
    """Of who knows nothing."""
    return ()


@dataclass(frozen=True)
class Write:
    """A call of a tool that changes something, and what became of it.

    Attributes:
        ok: it succeeded; None: it has not ended yet.
        uncertain: it is not ``ok``, and may have had its effect all the same.
        told: the result or the error, as the model reads it.
        run_id: of an earlier call of the session, the run that a user asked for and that led to it.
        known_by: the hash that all spellings of the call share; None: of the arguments as they are.
        unsure: other spellings of it may have other hashes.
    """

    tool: str
    arguments: dict[str, Any]
    ok: bool | None
    told: str = ""
    run_id: str = ""
    uncertain: bool = False
    known_by: str | None = None
    unsure: bool = False

    @property
    def may_be_done(self) -> bool:
        return self.ok is not False or self.uncertain

    @cached_property
    def args_sha256(self) -> str:
        return self.known_by or args_sha256(self.tool, self.arguments)


@dataclass(frozen=True)
class Past:
    """What a run's session holds beside the run.

    Attributes:
        writes: of other runs.
        family: of these, the ones that the same words of the user led to, and those of other forks of the same run.
        delegated: of runs that work for this one, and of those that it was forked from.
        asked: the user's latest words.
        cut: there are older ones that were not read.
    """

    writes: tuple[Write, ...] = ()
    family: tuple[Write, ...] = ()
    delegated: tuple[Write, ...] = ()
    asked: str = ""
    cut: bool = False


class ReadPast(Protocol):
    """Reads a session's past: its newest writes, or its newest with this hash of tool and arguments, or those of them
    that are of this tool."""

    async def __call__(self, args_sha256: str | None = None, tool: str | None = None) -> Past: ...


async def no_past(args_sha256: str | None = None, tool: str | None = None) -> Past:
    """Of a run without a session."""
    return Past()


@dataclass(frozen=True)
class GuardContext:
    """The run that a checked text or call belongs to.

    ``user_text`` holds all the user's own words in the session; ``plan`` the tools of the current
    plan; ``results`` the tool results so far, as text; ``trusted_results`` those among them that
    come from tools whose results no stranger can write; ``written`` the names and arguments of calls that
    the model wrote, and ``written_before`` how many of them each trusted result came after;
    ``approved_args`` the ``args_sha256`` that a person approved under this policy, when ``approved_for`` is what the
    person was asked about (see ``asked_about``). ``facts`` knows what
    the agent can look up; ``looked_up`` are those among the results that come from there. ``writers`` are the tools
    with which the agent can change something, ``writes`` their calls in this run, in order; ``past`` reads the rest of
    the session. ``memo`` keeps what rails work out about these texts for the run's next checks.
    """

    tenant_id: str = "default"
    agent: str = ""
    session_id: str = ""
    run_id: str = ""
    user_text: str = ""
    plan: tuple[str, ...] = ()
    tainted: bool = False
    results: tuple[str, ...] = ()
    trusted_results: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    written_before: tuple[int, ...] = ()
    approved_args: frozenset[str] = frozenset()
    approved_for: frozenset[str] = frozenset()
    facts: Facts = no_facts
    looked_up: tuple[str, ...] = ()
    writers: tuple[ToolSpec, ...] = ()
    writes: tuple[Write, ...] = ()
    past: ReadPast = no_past
    memo: dict[object, object] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def characters(self) -> int:
        """Of the evidence and of what the model wrote, which some rails search as well."""
        return sum(map(most_characters, (self.user_text, *self.results, *self.written)))


def args_sha256(tool: str, arguments: dict[str, Any]) -> str:
    """Hash of one call's tool and arguments: what an approval is bound to. Hex."""
    canonical = json.dumps(
        {"arguments": arguments, "tool": tool}, sort_keys=True, ensure_ascii=False, separators=(",", ":")
    )
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class CheckedCall:
    """A tool call; at stage ``tool_result`` the call that the result belongs to.

    Attributes:
        known_by: the hash that all spellings of the call share; None: of the arguments as they are.
        unsure: other spellings of it may have other hashes.
        spelt_alike: whether other arguments are the same by the tool's schema as it is now. What its types make of them
            may differ from one moment to the next, and the hash of an earlier call is that of an earlier schema.
    """

    call_id: str
    spec: ToolSpec
    arguments: dict[str, Any]
    known_by: str | None = None
    unsure: bool = False
    spelt_alike: Callable[[dict[str, Any]], bool] | None = field(default=None, compare=False, repr=False)

    @cached_property
    def args_sha256(self) -> str:
        return self.known_by or args_sha256(self.spec.name, self.arguments)

    def is_same(self, tool: str, digest: str, arguments: dict[str, Any]) -> bool:
        """Whether a call is this one: by its hash, its arguments as they are, or these by the schema."""
        if digest == self.args_sha256:
            return True
        if tool != self.spec.name:
            return False
        return arguments == self.arguments or (self.spelt_alike is not None and self.spelt_alike(arguments))

    def may_be(self, write: Write) -> bool:
        """Whether a write is the same call, as far as one can tell."""
        unknown = (self.unsure or write.unsure) and write.tool == self.spec.name
        return unknown or self.is_same(write.tool, write.args_sha256, write.arguments)

    def may_be_done(self, writes: Iterable[Write]) -> bool:
        """Whether one of the writes may be this call, and may have had its effect."""
        return any(write.may_be_done and self.may_be(write) for write in writes)


@dataclass(frozen=True)
class Checked:
    """The text or call under check. At stage ``tool_call`` it is ``call``, and ``text`` is empty."""

    stage: Stage
    text: str
    context: GuardContext
    call: CheckedCall | None = None
    stopped: bool = False
    """The run was stopped: no model is asked any more, and a check that needs one refuses."""


@dataclass(frozen=True)
class Judgement:
    """What a rail says: its verdicts, and the replacement if it redacts.

    A rail that does not apply returns ``Judgement()``: a decision to allow, without a verdict.
    ``text`` and ``arguments`` are None where they stay as they are.
    """

    verdicts: tuple[Verdict, ...] = ()
    text: str | None = None
    arguments: dict[str, Any] | None = None
    tainted: bool = False

    @property
    def action(self) -> Action:
        return severest(verdict.action for verdict in self.verdicts)


Rail = Callable[[Checked], Awaitable[Judgement]]
"""Checks a text or call. Combinators return a Rail again."""

Judge = Callable[[str], Awaitable[str]]
"""A prompt to a model; its answer as text."""


@dataclass(frozen=True)
class Ruling:
    """The guard's decision: the severest action of all verdicts, and what to go on with."""

    action: Action
    text: str
    arguments: dict[str, Any] | None
    verdicts: tuple[Verdict, ...]
    reason: str
    tainted: bool


def asked_about(verdict: Verdict) -> str:
    """What a person is asked about, as one of several lines."""
    return f"{verdict.rail}: {verdict.reason}"


def severest(actions: Iterable[Action]) -> Action:
    """The severest of some actions; ALLOW where there is none."""
    return max(actions, key=lambda action: action.severity, default=Action.ALLOW)


class GuardStream(Protocol):
    """Holds an answer back while it is decoded: see ``guardrails.holdback``."""

    def push(self, text: str) -> str: ...
    def finish(self) -> str: ...
    def ruling(self) -> Ruling: ...


class Guarding(Protocol):
    """What a guard does for a run."""

    @property
    def policy(self) -> Policy: ...

    async def check(self, checked: Checked) -> Ruling: ...
    async def narrow(
        self, tools: Sequence[ToolDef], context: GuardContext, writes: frozenset[str] = frozenset()
    ) -> list[ToolDef]: ...
    def stream(self, context: GuardContext) -> GuardStream: ...
