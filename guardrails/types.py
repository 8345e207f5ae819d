"""Types of the guard's input and output."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from flightloop.chat import ToolDef
from flightloop.subject import Subject
from flightloop.tool import ToolSpec
from flightloop.verdicts import Action, Stage, Verdict
from guardrails.approval_rule import ANYBODY, ApprovalRule
from guardrails.limit_share import LimitShare, ReadUsed, not_counted
from guardrails.policy import Policy
from guardrails.text.spelling import most_characters

if TYPE_CHECKING:
    from guardrails.placeholders.register import Register


class Statement(Protocol):
    """A number in a text, at characters [start, end), that a source of facts can confirm or refute.

    ``numbers``: possible readings of the number. ``fact``: what the source states, and where. ``strict``: a wrong
    number is an error even if the user stated it before.
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
"""Maps a text, and the user's text that it answers, to those statements in it that the source knows about."""


async def no_facts(text: str, asked: str) -> Sequence[Statement]:
    """Null object: returns no statements."""
    return ()


LookUp = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]
"""Calls a pure tool of the project, by name and with arguments, as evidence; returns the fields of its result. Raises
NoEvidence."""


class NoEvidence(Exception):
    """There is no evidence about an object: it does not exist, or the tool failed. The message says which."""


async def no_evidence(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Evidence where no tools can be called, as in completions."""
    raise NoEvidence(f"{tool} can't be called here")


@dataclass(frozen=True)
class Write:
    """A call of a tool that changes something, and its outcome."""

    tool: str  # name of the tool
    arguments: dict[str, Any]
    ok: bool | None  # whether it succeeded; None: it has not ended
    result: str = ""
    """Text of the result or error, as the model reads it."""
    run_id: str = ""
    """Id of the root run, created by the user's request, that led to the call. Empty for calls of the checked run."""
    uncertain: bool = False  # the call is not ``ok``, but may still have had its effect
    known_by: str | None = None
    """Hash that all spellings of the call share; None: the hash of the arguments as given."""
    unsure: bool = False
    """Other spellings of the call may have other hashes."""

    @property
    def may_be_done(self) -> bool:
        return self.ok is not False or self.uncertain

    @cached_property
    def args_sha256(self) -> str:
        return self.known_by or args_sha256(self.tool, self.arguments)


@dataclass(frozen=True)
class Past:
    """The rest of a session: what runs other than the checked one did.

    Attributes:
        writes: writes of other runs.
        family: the subset of ``writes`` that belongs to the same user request, or to other forks of the same run.
        delegated: writes of the run's sub-runs, and of the runs that it was forked from.
        denied: calls that a person denied to other runs of the same user request.
        asked: the user's latest words.
        cut: whether older writes may exist that were not read.
    """

    writes: tuple[Write, ...] = ()
    family: tuple[Write, ...] = ()
    delegated: tuple[Write, ...] = ()
    denied: tuple[Write, ...] = ()
    asked: str = ""
    cut: bool = False


class ReadPast(Protocol):
    """Reads a session's past: its newest writes, or the newest ones with a hash of tool and arguments. With ``tool``,
    only writes of that tool."""

    async def __call__(self, args_sha256: str | None = None, tool: str | None = None) -> Past: ...


async def no_past(args_sha256: str | None = None, tool: str | None = None) -> Past:
    """Past of a run without a session."""
    return Past()


@dataclass(frozen=True)
class Read:
    """A result that the model has read, and how far its fields are trusted."""

    key: str  # unique in its trail
    tool: str
    content: Any  # JSON value
    trusted: tuple[str, ...] = ()
    """Fields whose values come from the tool's own system; ``*`` for the whole result."""
    strangers: bool = True
    """Whether the tool says that strangers write the rest (``returns_untrusted``)."""
    before: int = 0
    """Number of items of the trail's ``written`` before the result."""
    step: int | None = None
    run_id: str | None = None  # run that read it, if it is not the checked one
    ok: bool = True  # False: an error
    arguments: str = ""
    """Arguments of its call, as JSON. What strangers told the model to look up makes no record."""

    @cached_property
    def characters(self) -> int:
        return most_characters(str(self.content))


@dataclass(frozen=True)
class Trail:
    """Results that the models of a session read and calls that they wrote, in order, to trace a call's values."""

    reads: tuple[Read, ...] = ()
    written: tuple[str, ...] = ()
    """Names and arguments of the calls that the models wrote."""
    decided: Mapping[str, int] = field(default_factory=dict)
    """Number of items of ``written`` before a call's decision, by call id. Other calls were decided last."""
    unread: bool = False  # whether models of the session may have read what is not among ``reads``

    @cached_property
    def characters(self) -> int:
        return sum(one.characters for one in self.reads) + sum(map(len, self.written))


@dataclass(frozen=True)
class Utterance:
    """A message of the user, and what it refers to."""

    text: str
    at: datetime
    """When it was written, in the user's time zone. ``tomorrow`` is the day after."""
    after: str = ""
    """The agent's answer before it, as the user saw it; empty at the beginning of a session."""
    zoned: bool = True
    """Whether the time zone is known; otherwise it is UTC, and the user's day may be the one before or after."""
    run_id: str = ""
    """Run that answered it; empty for the latest message."""


@dataclass(frozen=True)
class GuardContext:
    """The run that a checked text or call belongs to, as rails see it."""

    tenant_id: str = "default"
    agent: str = ""
    session_id: str = ""
    run_id: str = ""
    instructions: str = ""
    """The agent's instructions, as the model reads them."""
    user_text: str = ""
    """All of the user's own words in the session."""
    said: tuple[Utterance, ...] = ()
    """The messages of ``user_text`` one by one, oldest first; empty if it is unknown when they were written."""
    answered: tuple[str, ...] = ()
    """Answers of the agent's earlier runs in the session, which its policy let pass."""
    plan: tuple[str, ...] = ()
    """Tools of the current plan."""
    clean_plan: tuple[str, ...] | None = None
    """Tools of the latest plan that was made before any text of strangers was read; None if there is none."""
    callers_plan: tuple[str, ...] | None = None
    """Tools in the plans of the runs that this one works for; None if none of their policies locks to the plan."""
    tainted: bool = False
    """A tool result looked like instructions, or came from an untrusted source."""
    results: tuple[str, ...] = ()
    """Tool results so far, as text."""
    trusted_results: tuple[str, ...] = ()
    """Results of tools that return no text from outside."""
    written: tuple[str, ...] = ()
    """Names and arguments of the calls that the model wrote."""
    written_before: tuple[int, ...] = ()
    """Number of items of ``written`` before each trusted result."""
    approved_args: frozenset[str] = frozenset()
    """The ``args_sha256`` that a person approved under this policy."""
    approved_for: frozenset[str] = frozenset()
    """The questions that the person was asked (see ``asked_about``), and the figures of limits that they saw."""
    approved_under: ApprovalRule = ANYBODY
    """Who had to decide when it was asked."""
    confirmed: frozenset[str] = frozenset()
    """Calls to which the user's latest message says yes, as ``guardrails.evidence.confirmed`` shows them."""
    subject: Subject | None = None
    """End user on whose behalf the run acts; None: anonymous."""
    look_up: LookUp = no_evidence
    """Evidence about objects that calls and results name."""
    facts: Facts = no_facts
    """Statements that the agent's data can confirm or refute."""
    looked_up: tuple[str, ...] = ()
    """Results that come from the same data as ``facts``."""
    writers: tuple[ToolSpec, ...] = ()
    """Tools with which the agent can change something."""
    writes: tuple[Write, ...] = ()
    """Calls of ``writers`` in this run, in order."""
    unsure: bool = False  # whether a call was withheld in this run, since the model was too unsure of it
    past: ReadPast = no_past
    """Reads the rest of the session."""
    trail: Trail | None = None
    """Reads and writes by field; None: only ``results``, ``trusted_results`` and ``written`` are known."""
    used: ReadUsed = not_counted
    """Reads what other calls have used of the policy's limits over time."""
    register: Register | None = None
    """Placeholders of the session's personal data; None: nothing is hidden from the model, or nothing was read yet."""
    memo: dict[object, object] = field(default_factory=dict, compare=False, repr=False)
    """Cache of values that rails compute from these texts, for the run's next checks."""

    def plans(self, tool: str) -> bool:
        """Whether a tool is in the run's plan and, if ``callers_plan`` is set, in its callers' plans."""
        return tool in self.plan and (self.callers_plan is None or tool in self.callers_plan)

    @cached_property
    def characters(self) -> int:
        """Number of characters of the evidence and of the calls that the model wrote, which some rails search."""
        texts = (self.instructions, self.user_text, *self.answered, *self.results, *self.written)
        return sum(map(most_characters, texts))


def args_sha256(tool: str, arguments: dict[str, Any]) -> str:
    """Hash of a call's tool and arguments, in hex. Approvals are bound to it."""
    canonical = json.dumps(
        {"arguments": arguments, "tool": tool}, sort_keys=True, ensure_ascii=False, separators=(",", ":")
    )
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class CheckedCall:
    """A tool call; at stage ``tool_result`` the call that the result belongs to."""

    call_id: str
    spec: ToolSpec
    arguments: dict[str, Any]
    known_by: str | None = None
    """Hash that all spellings of the call share; None: the hash of the arguments as given."""
    unsure: bool = False
    """Other spellings of the call may have other hashes."""
    confidence: float | None = None
    """Probability that the model assigned to the decision's calls together; None if it tells none."""
    spelt_alike: Callable[[dict[str, Any]], bool] | None = field(default=None, compare=False, repr=False)
    """Returns whether other arguments mean the same in the tool's current schema.

    An earlier call's hash was made with an earlier schema, and types may convert differently over time.
    """

    @cached_property
    def args_sha256(self) -> str:
        return self.known_by or args_sha256(self.spec.name, self.arguments)

    def is_same(self, tool: str, digest: str, arguments: dict[str, Any]) -> bool:
        """Whether a call equals this one: by hash, by its arguments, or by their meaning in the schema."""
        if digest == self.args_sha256:
            return True
        if tool != self.spec.name:
            return False
        return arguments == self.arguments or (self.spelt_alike is not None and self.spelt_alike(arguments))

    def may_be(self, write: Write) -> bool:
        """Whether a write may be the same call."""
        unknown = (self.unsure or write.unsure) and write.tool == self.spec.name
        return unknown or self.is_same(write.tool, write.args_sha256, write.arguments)

    def may_be_done(self, writes: Iterable[Write]) -> bool:
        """Whether one of the writes may be this call and may have had its effect."""
        return any(write.may_be_done and self.may_be(write) for write in writes)


@dataclass(frozen=True)
class Checked:
    """The text or call to check. At stage ``tool_call``, the rails check ``call``, and ``text`` is empty."""

    stage: Stage
    text: str
    context: GuardContext
    call: CheckedCall | None = None
    stopped: bool = False
    """The run was stopped. Rails must not call a model then; a check that needs a model blocks."""


@dataclass(frozen=True)
class Judgement:
    """A rail's decision: its verdicts, and the replacement if it redacts.

    A rail that doesn't apply returns ``Judgement()``, which allows without a verdict. ``text`` and
    ``arguments`` are None if they stay as they are.
    """

    verdicts: tuple[Verdict, ...] = ()
    text: str | None = None
    arguments: dict[str, Any] | None = None
    tainted: bool = False
    shares: tuple[LimitShare, ...] = ()
    """The call's shares of limits over time."""
    approval: ApprovalRule = ANYBODY
    """Who must decide, if the rail asks."""
    guessed: tuple[str, ...] = ()
    """Arguments whose values the model has just made up."""

    @property
    def action(self) -> Action:
        return severest(verdict.action for verdict in self.verdicts)


Rail = Callable[[Checked], Awaitable[Judgement]]
"""Checks a text or call. Combinators turn rails into another rail."""

Judge = Callable[[str], Awaitable[str]]
"""Sends a prompt to a model and returns its answer."""


@dataclass(frozen=True)
class Ruling:
    """The guard's decision: the severest action of all verdicts, and the text and arguments to continue with."""

    action: Action
    text: str
    arguments: dict[str, Any] | None
    verdicts: tuple[Verdict, ...]
    reason: str  # joined reasons of the verdicts with that action
    tainted: bool  # whether the run is tainted from now on
    shares: tuple[LimitShare, ...] = ()  # what the call adds to limits over time
    approval: ApprovalRule = ANYBODY  # who must decide, if the action is ASK
    guessed: tuple[str, ...] = ()  # arguments whose values the model has just made up

    @property
    def told(self) -> str:
        """The reason without the names of rails, which a model would repeat to the user."""
        return "; ".join(dict.fromkeys(one.reason for one in self.verdicts if one.action is self.action))


def asked_about(verdict: Verdict) -> str:
    """A verdict as one line of the question that a person is asked."""
    return f"{verdict.rail}: {verdict.reason}"


def severest(actions: Iterable[Action]) -> Action:
    """The severest action; ALLOW if there is none."""
    return max(actions, key=lambda action: action.severity, default=Action.ALLOW)


class GuardStream(Protocol):
    """Holds back an answer while it is decoded: see ``guardrails.holdback``."""

    def push(self, text: str) -> str: ...
    def finish(self) -> str: ...
    def ruling(self) -> Ruling: ...


class Guarding(Protocol):
    """Interface of a guard."""

    @property
    def policy(self) -> Policy: ...

    async def check(self, checked: Checked) -> Ruling: ...
    async def narrow(
        self, tools: Sequence[ToolDef], context: GuardContext, writes: frozenset[str] = frozenset()
    ) -> list[ToolDef]: ...
    def stream(self, context: GuardContext) -> GuardStream: ...
