"""``python -m agent policy test``: checks a policy against expected decisions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from agent.config import Settings
from agent.serve import factories
from agent.serve.code_scan import code_scan
from agent.serve.moderation import make_moderate
from flightloop.errors import ConfigError
from flightloop.subject import GivenSubject
from flightloop.tool import Effect, Permission, ToolSpec
from flightloop.verdicts import Action, Stage
from guardrails.approval_rule import ApprovalRule
from guardrails.evidence.confirmed import shown
from guardrails.guard import Guard
from guardrails.limit_share import LimitShare
from guardrails.policy import load_policy
from guardrails.types import Checked, CheckedCall, GuardContext, NoEvidence, Read, Trail, Utterance


class CaseRead(BaseModel):
    """A result that the model of a case has read.

    ``trusted_fields``: as `@tool` declares them; ``["*"]`` trusts all. ``returns_untrusted``: whether the tool says
    that strangers write the rest.
    """

    model_config = ConfigDict(extra="forbid")

    tool: str
    result: Any
    trusted_fields: tuple[str, ...] = ()
    returns_untrusted: bool = True


class Case(BaseModel):
    """One line of a case file. ``arguments``, ``parameters`` (a JSON Schema), ``effect``, ``permissions``, ``sinks``
    and the model's ``confidence`` belong to ``tool``; the fields from ``agent`` on are context."""

    model_config = ConfigDict(extra="forbid")

    stage: Stage
    text: str = ""
    expect: Action
    approval: ApprovalRule | None = None
    """Who must decide about a call that asks; None: the case does not say."""
    tool: str | None = None
    arguments: dict[str, Any] = Field(default_factory=dict)
    parameters: dict[str, Any] = Field(default_factory=lambda: {"type": "object", "properties": {}})
    effect: Effect = Effect.UNSAFE
    permissions: frozenset[Permission] = frozenset()
    sinks: tuple[str, ...] = ()
    confidence: float | None = None
    agent: str = ""
    user_text: str = ""
    question: str = ""
    """The agent's answer before ``user_text``."""
    confirmed: bool = False
    """Whether ``user_text`` is a yes to the platform's question about this very call."""
    now: AwareDatetime | None = None
    """When the user wrote, in the user's time zone; None: unknown."""
    plan: tuple[str, ...] = ()
    tainted: bool = False
    results: tuple[str, ...] = ()
    """Results of tools that return text from outside."""
    trusted_results: tuple[str, ...] = ()
    reads: tuple[CaseRead, ...] = ()
    """Results with the fields that their tools trust, oldest first; instead of ``results`` and ``trusted_results``."""
    subject: GivenSubject | None = None
    """End user; None: anonymous."""
    evidence: dict[str, dict[str, dict[str, Any]]] = Field(default_factory=dict)
    """What tools tell as evidence: by tool and by the argument's value as text. All else is unknown to them."""

    used: dict[int, Decimal] = Field(default_factory=dict)
    """What other calls have used of the policy's limits over time, by the limit's position; otherwise nothing."""

    async def look_up(self, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """The case's evidence. Raises NoEvidence."""
        (value,) = arguments.values()
        try:
            return self.evidence[tool][str(value)]
        except KeyError:
            raise NoEvidence(f"the case has no evidence of {tool} about {value!r}") from None

    def _trail(self) -> Trail | None:
        reads = (
            Read(f"read {at}", one.tool, one.result, one.trusted_fields, one.returns_untrusted)
            for at, one in enumerate(self.reads)
        )
        return Trail(tuple(reads)) if self.reads else None

    async def used_of(self, call_id: str, shares: Sequence[LimitShare]) -> Sequence[Decimal]:
        return [self.used.get(share.place, Decimal(0)) for share in shares]

    def _said(self) -> tuple[Utterance, ...]:
        if self.now is None and not self.question:
            return ()
        return (Utterance(self.user_text, self.now or datetime.now(UTC), self.question),)

    def to_check(self) -> Checked:
        call = None
        if self.tool is not None:
            spec = ToolSpec(self.tool, "", self.parameters, self.effect, permissions=self.permissions, sinks=self.sinks)
            call = CheckedCall("case", spec, self.arguments, confidence=self.confidence)
        context = GuardContext(
            agent=self.agent,
            user_text=self.user_text,
            said=self._said(),
            plan=self.plan,
            clean_plan=self.plan or None,
            tainted=self.tainted,
            subject=self.subject,
            look_up=self.look_up,
            used=self.used_of,
            results=(*self.results, *self.trusted_results),
            trusted_results=self.trusted_results,
            trail=self._trail(),
            confirmed=frozenset({shown(call)} if self.confirmed and call is not None else ()),
        )
        return Checked(self.stage, self.text, context, call)


async def test_policy(settings: Settings, file: Path, cases: Path | None, tell: Callable[[str], None]) -> bool:
    """Checks a policy, and prints a line for each case with an unexpected decision. Returns whether all cases passed.

    Raises:
        ConfigError: the policy or a case is invalid, or the policy's project does not load with it.
    """
    policy = load_policy(file)
    if (folder := _project_of(file)) is not None:
        # Only the project knows which tools the policy may name.
        factories.read_project(settings.model_copy(update={"project": folder}))
    tell(f"{policy.name} {policy.version}, sha256 {policy.sha256}")
    if cases is None:
        return True
    guard = Guard(policy, code_scan=code_scan, moderate=make_moderate(settings))
    wrong = total = 0
    for number, case in _cases(cases):
        ruling = await guard.check(case.to_check())
        total += 1
        if ruling.action is not case.expect:
            wrong += 1
            tell(f"{cases}:{number}: expected {case.expect}, got {ruling.action} {ruling.reason}".rstrip())
        elif case.approval is not None and ruling.approval != case.approval:
            wrong += 1
            tell(f"{cases}:{number}: expected {_written(case.approval)}, got {_written(ruling.approval)}")
    tell(f"{total - wrong} of {total} cases as expected")
    return wrong == 0


def _written(rule: ApprovalRule) -> str:
    """The rule as a case has it."""
    return f'"approval": {rule.model_dump_json()}'


async def show_policy(settings: Settings, sha256: str, tell: Callable[[str], None]) -> None:
    """Prints the stored policy whose hash begins with ``sha256``.

    Raises:
        ConfigError: no or several policies have this hash.
        Conflict: its text was changed.
    """
    journal = factories.open_journal(settings, check_keys=False)
    try:
        found = await journal.acts.policy_hashes(sha256)
        if len(found) != 1:
            many = f"{len(found) or 'no'} policies that decided something"
            raise ConfigError(f"{many} have a hash that begins with {sha256}")
        text = await journal.acts.policy(found[0])
    finally:
        await journal.close()
    tell(json.dumps(json.loads(text or ""), indent=2, ensure_ascii=False))


def _project_of(file: Path) -> Path | None:
    folder = file.resolve().parent
    return folder.parent if folder.name == "policies" and (folder.parent / "agents").is_dir() else None


def _cases(path: Path) -> Iterator[tuple[int, Case]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from error
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: JSON strings may have other separators
        if line.strip():
            try:
                yield number, Case.model_validate_json(line)
            except ValidationError as error:
                first = error.errors()[0]
                field = ".".join(map(str, first["loc"])) or "line"
                raise ConfigError(f"{path}:{number}: {field}: {first['msg']}") from None
