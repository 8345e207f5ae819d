"""Schema of a policy: a strict pydantic document, written in YAML.

Unknown keys and unknown rails are errors that name the field. Stages and sections that a policy
leaves out come from the built-in default policy, so an omission never removes a check. To have no
rails at a stage, write ``rails: []``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator

from flightloop.provenance import Origin
from flightloop.tool import Effect
from flightloop.verdicts import Action, Stage
from guardrails.approval_rule import WrittenApprovalRule
from guardrails.egress_document import Egress
from guardrails.limit_rules import ANY_TOOL, OWNER, LimitRule
from guardrails.placeholder_policy import PlaceholderPolicy
from guardrails.rail_entries import AnyEntry, Strict
from guardrails.regular_expression import RegularExpression
from guardrails.subject_policy import SubjectPolicy

Limit = Annotated[float, Field(allow_inf_nan=False)]
RuleKind = Literal["email", "url", "number", "text"]


LONGEST_MS = 600_000
"""Upper limit of a stage's ``timeout_ms``."""
STREAMABLE = ("normalise", "secrets", "pii", "terms", "links")
"""Rails that can check text while it arrives."""


class StagePolicy(Strict):
    """Rails and limits of a stage.

    ``timeout_ms`` leaves time for a tool process to start on a busy machine: a stage that runs out of time blocks a
    right answer. ``max_chars``: longer texts are blocked unread. ``fail_open``: allow when a rail fails or the time
    runs out.
    """

    rails: tuple[AnyEntry, ...]
    timeout_ms: int = Field(default=10_000, ge=1, le=LONGEST_MS)
    max_chars: int = Field(default=200_000, ge=1)
    fail_open: bool = False


class Stages(Strict):
    input: StagePolicy
    plan: StagePolicy
    tool_call: StagePolicy
    tool_result: StagePolicy
    stream: StagePolicy
    final: StagePolicy

    def of(self, stage: Stage) -> StagePolicy:
        found: StagePolicy = getattr(self, stage.value)
        return found

    @model_validator(mode="after")
    def _streamable(self) -> Stages:
        for index, entry in enumerate(self.stream.rails):
            if entry.rail not in STREAMABLE:
                raise ValueError(f"stream.rails.{index}: {entry.rail!r} can't check a stream; use it at another stage")
            if getattr(entry, "action", None) is Action.ASK:
                raise ValueError(f"stream.rails.{index}: a stream can't wait for a person; use another action than ask")
        return self


class ArgumentRule(Strict):
    """Limits of one argument.

    ``from_user_words``: the value must occur in the user's own words. While decoding, ``kind`` narrows the
    choice to the values of that kind that occur there. ``from``: origins that the value may have; another one leads to
    ``otherwise``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    enum: tuple[str | int | float | bool, ...] | None = Field(default=None, min_length=1)
    const: str | int | float | bool | None = None
    max_length: int | None = Field(default=None, alias="maxLength", ge=0)
    minimum: Limit | None = None
    maximum: Limit | None = None
    pattern: RegularExpression | None = None
    from_user_words: bool = False
    kind: RuleKind = "text"
    origins: tuple[Origin, ...] | None = Field(default=None, alias="from", min_length=1)
    otherwise: Action = Action.ASK  # what follows another origin than those of ``from``

    @field_validator("otherwise")
    @classmethod
    def _stops(cls, value: Action) -> Action:
        if value not in (Action.ASK, Action.BLOCK):
            raise ValueError('use ask or block; to allow all origins, list them in "from"')
        return value

    @model_validator(mode="before")
    @classmethod
    def _holds_something(cls, value: Any) -> Any:
        given = value if isinstance(value, dict) else {"": value}
        if empty := [name for name, limit in given.items() if limit is None]:
            raise ValueError(f"{', '.join(map(str, empty)) or 'a rule'} has no value: give one, or remove the field")
        if "otherwise" in given and not {"from", "origins"} & given.keys():
            raise ValueError('"otherwise" requires "from" in the same rule')
        if all(name == "kind" or (name == "from_user_words" and limit is False) for name, limit in given.items()):
            raise ValueError("the rule limits nothing: add a limit, or remove the rule")
        return value


class ReadRule(Strict):
    """Looks up the value of an argument that is omitted or equals one of ``when``. The value is ``field`` of an
    earlier result whose field ``key`` equals the call's argument of that name.
    """

    when: tuple[Limit, ...] = ()
    key: str
    field: str


class AskRule(Strict):
    """Calls that a person decides about: calls of ``tool``, or of tools with ``effect``.

    With ``argument``, only calls whose value is above ``above`` or isn't a number. ``read``: see ``ReadRule``;
    a value that cannot be read needs a person too. With ``confidence_below``, only calls whose confidence is known
    and lower; it is known in runs whose model tells it.
    """

    tool: str | None = None
    effect: Effect | None = None
    argument: str | None = None
    above: Limit | None = None
    read: ReadRule | None = None
    confidence_below: float | None = Field(default=None, gt=0, le=1)
    reason: str = ""
    approval: WrittenApprovalRule | None = None  # who must decide; None: as ``tools.approval`` says

    @model_validator(mode="after")
    def _complete(self) -> AskRule:
        if (self.tool is None) == (self.effect is None):
            raise ValueError('"tool" or "effect" is required, but not both')
        if (self.argument is None) != (self.above is None):
            raise ValueError('"argument" and "above" must be given together')
        if self.read is not None and self.argument is None:
            raise ValueError('"read" requires "argument" and "above" in the same rule')
        return self


class ToolsPolicy(Strict):
    """Which tools each agent may call, with which arguments, and what happens to risky calls."""

    allow: dict[str, tuple[str, ...]]
    """Agent (or ``*``) → tools (or ``*``). An agent that isn't named may call nothing."""
    arguments: dict[str, dict[str, ArgumentRule]] = Field(default_factory=dict)
    ask: tuple[AskRule, ...] = ()  # calls that a person decides about
    approval: WrittenApprovalRule | None = None
    """Who must decide about each call that asks, whatever asks. A rule of its own can only demand more. None: anybody
    with the right to decide."""
    lock_to_plan: Literal["auto", "confirm", "off", "ask", "block"] = "auto"
    """For writes with tools that are not in the plan. ``auto``: ask once strangers' text was read, if the plan was made
    before; without such a plan, ask unless the user's words name the act. ``confirm``: once anything of them was read,
    ask the user, whatever was planned or said before. Neither applies to ``harmless`` tools."""
    tainted_writes: Action = Action.ASK
    """Action on a write after a tool result looked like an instruction. Doesn't apply to ``harmless`` tools."""
    repeated_writes: Action = Action.ASK
    """Action on a write that the session has made already, unless the user asks again. Not for ``harmless`` tools."""
    forbidden_writes: Action = Action.ASK
    """Action on a write that the user's latest words forbid. Doesn't apply to ``harmless`` tools."""
    harmless: tuple[str, ...] = ()  # tools whose writes need no protection
    provenance: Action = Action.ASK
    """Action on a write with an identifier or amount that comes neither from the user nor from a trusted record.
    Doesn't apply to ``harmless`` tools, nor to arguments whose rule has ``from``."""
    sinks: Action = Action.ASK
    """Action on a call whose destination argument (a sink) has a value of unknown origin."""
    false_claims: Action = Action.REDACT
    """Action on an answer that claims something was done that was not; ``redact`` replaces it by the list of calls."""

    @field_validator("tainted_writes", "repeated_writes", "forbidden_writes", "provenance", "sinks")
    @classmethod
    def _no_redact(cls, value: Action) -> Action:
        if value is Action.REDACT:
            raise ValueError("a call cannot be redacted; use allow, ask or block")
        return value

    @field_validator("false_claims")
    @classmethod
    def _no_ask(cls, value: Action) -> Action:
        if value is Action.ASK:
            raise ValueError("ask is not possible for an answer; use allow, redact or block")
        return value

    def reads_evidence(self, tool: str, effect: Effect) -> bool:
        """Whether a rule about calls of a tool reads the user's words or results."""
        arguments = self.arguments.get(tool, {}).values()
        asks = (rule for rule in self.ask if tool == rule.tool or effect is rule.effect)
        return any(rule.from_user_words for rule in arguments) or any(rule.read is not None for rule in asks)

    @property
    def needs_plan(self) -> bool:
        """Whether writes must be in a plan, so that one is made even for a model that does not read it."""
        return self.lock_to_plan in ("ask", "block")

    def allowed(self, agent: str) -> frozenset[str]:
        return frozenset(self.allow.get(agent, self.allow.get("*", ())))


class Constitution(Strict):
    """Principles for an answer. The model checks its answer against them, and revises one that breaks them."""

    enabled: bool = False
    principles: tuple[str, ...] = ()
    max_revisions: int = Field(default=2, ge=0, le=5)

    @model_validator(mode="after")
    def _not_empty(self) -> Constitution:
        if self.enabled and not self.principles:
            raise ValueError('"principles" must have at least one entry while "enabled" is true')
        return self


class PolicyDocument(Strict):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    version: Annotated[str, BeforeValidator(lambda value: str(value) if isinstance(value, int | float) else value)]
    description: str = ""
    streaming: Literal["held", "live"] = "held"  # held: release an answer at its end; live: while it is generated
    stages: Stages
    tools: ToolsPolicy
    egress: Egress
    constitution: Constitution = Field(default_factory=Constitution)
    subject: SubjectPolicy | None = None  # binds calls and results to the end user; None: nothing is bound
    limits: tuple[LimitRule, ...] = Field(default=(), max_length=50)  # on sums and counts of calls over time
    placeholders: PlaceholderPolicy | None = None  # personal data that the model must not see; None: it sees all
    refusal: str = "I'm sorry, I can't help with that."  # text in place of a blocked answer

    def canonical(self) -> dict[str, Any]:
        """The whole document as JSON data, including defaults. Without ``subject``, ``limits``, ``placeholders`` and
        ``approval`` where there are none, so that they change no hash of policies that lack them. Other new fields do.
        """
        absent = {name for name in ("subject", "limits", "placeholders") if not getattr(self, name)}
        whole = self.model_dump(mode="json", by_alias=True, exclude=absent or None)
        for rule in (whole["tools"], *whole["tools"]["ask"], *whole.get("limits", ())):
            if rule["approval"] is None:
                del rule["approval"]
        return whole

    @model_validator(mode="after")
    def _bindings_fail_closed(self) -> PolicyDocument:
        for stage in (Stage.TOOL_CALL, Stage.TOOL_RESULT) if self.subject is not None else ():
            if self.stages.of(stage).fail_open:
                raise ValueError(f'stages.{stage}.fail_open must be false: "subject" binds calls and results')
        if self.limits and self.stages.tool_call.fail_open:
            raise ValueError('stages.tool_call.fail_open must be false: "limits" hold for every call')
        if self.placeholders and self.stages.tool_call.fail_open:
            raise ValueError('stages.tool_call.fail_open must be false: "placeholders" hold for every call')
        return self

    @model_validator(mode="after")
    def _owners_known(self) -> PolicyDocument:
        bindings = self.subject.arguments if self.subject is not None else {}
        for index, limit in enumerate(self.limits):
            for name in (key.removesuffix(OWNER) for key in limit.per if key.endswith(OWNER)):
                if name not in bindings or not all(map(bindings[name].applies_to, limit.tools)):
                    raise ValueError(
                        f"limits.{index}.per: {name}{OWNER} needs subject.arguments.{name}, for these tools: it"
                        " tells how the owner is found"
                    )
        return self

    def arguments_named(self) -> Iterator[tuple[str, str, str]]:
        """Yields triples: a field's path, and the tool and the argument that the field names."""
        for tool, rules in self.tools.arguments.items():
            for name in rules:
                yield f"tools.arguments.{tool}.{name}", tool, name
        for index, rule in enumerate(self.tools.ask):
            if rule.tool and rule.argument:
                yield f"tools.ask.{index}.argument", rule.tool, rule.argument
                if rule.read is not None:
                    yield f"tools.ask.{index}.read.key", rule.tool, rule.read.key
        if self.subject is not None:
            yield from self.subject.evidence_named()
        if self.placeholders is not None:
            yield from self.placeholders.arguments_named()
        for index, limit in enumerate(self.limits):
            for field, argument in limit.arguments_named():
                yield from ((f"limits.{index}.{field}", tool, argument) for tool in limit.tools if tool != ANY_TOOL)

    def tools_named(self) -> Iterator[tuple[str, str]]:
        """Yields pairs: a field's path, and a tool that the field names, such as ``("tools.ask.0.tool", "transfer")``.
        Skips ``*``."""
        lists: dict[str, Iterable[str]] = {f"tools.allow.{agent}": names for agent, names in self.tools.allow.items()}
        lists["tools.arguments"] = self.tools.arguments
        lists |= {f"tools.ask.{index}.tool": [rule.tool] for index, rule in enumerate(self.tools.ask) if rule.tool}
        lists["tools.harmless"] = self.tools.harmless
        lists |= {f"limits.{index}.tools": limit.tools for index, limit in enumerate(self.limits)}
        lists |= dict(self.subject.tools_named()) if self.subject is not None else {}
        lists |= {"placeholders.tools": self.placeholders.tools} if self.placeholders is not None else {}
        for stage in Stage:
            for index, entry in enumerate(self.stages.of(stage).rails):
                lists[f"stages.{stage}.rails.{index}.tools"] = entry.tools or ()
        yield from ((field, name) for field, names in lists.items() for name in names if name != "*")
