"""The language of a policy: a strict pydantic document, written in YAML.

Unknown keys and unknown rails are errors that name the field. A stage or section that a policy
leaves out is taken from the built-in default policy, so that leaving out can never mean "no check";
``rails: []`` says that a stage has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

import regex
from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, field_validator, model_validator

from flightloop.egress import EgressEntry
from flightloop.patterns import to_the_end
from flightloop.tool import Effect
from flightloop.verdicts import Action, Stage

Share = Annotated[float, Field(ge=0, le=1)]
Limit = Annotated[float, Field(allow_inf_nan=False)]
PiiKind = Literal["email", "phone", "iban", "card", "us_ssn", "gb_nino", "es_dni", "it_cf", "fr_nir", "br_cpf"]
Source = Literal["user", "results"]
RuleKind = Literal["email", "url", "number", "text"]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RailEntry(Strict):
    """Common to all rails. ``tools``: only for calls and results of these tools."""

    tools: tuple[str, ...] | None = None


class NormaliseEntry(RailEntry):
    """NFKC, and invisible or direction-changing characters removed (at stage stream: the latter only)."""

    rail: Literal["normalise"]


class SecretsEntry(RailEntry):
    """Credentials: detect-secrets' patterns and own ones."""

    rail: Literal["secrets"]
    action: Action = Action.REDACT


class PiiEntry(RailEntry):
    """Personal data. ``keep``: leave what already stands in the user's own words or in the run's tool results."""

    rail: Literal["pii"]
    action: Action = Action.REDACT
    kinds: tuple[PiiKind, ...] = ("email", "phone", "iban", "card", "us_ssn", "gb_nino", "es_dni", "it_cf", "fr_nir")
    keep: tuple[Source, ...] = ("user", "results")


class TermsEntry(RailEntry):
    """Words and phrases, matched whole and without regard to case."""

    rail: Literal["terms"]
    terms: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field(min_length=1)
    action: Action = Action.BLOCK


class LinksEntry(RailEntry):
    """Links to hosts that are neither in ``egress`` nor in what ``keep`` names: an answer's way to leak."""

    rail: Literal["links"]
    action: Action = Action.REDACT
    keep: tuple[Source, ...] = ("user",)


class ContentEntry(RailEntry):
    """Offensive language, by a trained classifier. Scores ``toxicity`` and ``hate``; of the former,
    from ``judge_from`` to ``block_at``, a judge decides."""

    rail: Literal["content"]
    block_at: Share | None = None
    judge_from: Share | None = None
    weights: str | None = None

    @model_validator(mode="after")
    def _band(self) -> ContentEntry:
        if self.judge_from is not None and (self.block_at is None or self.judge_from > self.block_at):
            raise ValueError("judge_from needs a block_at that is not below it")
        return self


class InjectionEntry(RailEntry):
    """Instructions to the model, by rules. Scores ``injection``. ``taint_untrusted``: a result of a tool
    that returns strangers' text taints the run even without a hit."""

    rail: Literal["injection"]
    taint_at: Share | None = 0.5
    ask_at: Share | None = None
    block_at: Share | None = None
    taint_untrusted: bool = False


class GroundednessEntry(RailEntry):
    """Numbers, identifiers, dates and e-mails of an answer must stand in its evidence. Scores ``groundedness``."""

    rail: Literal["groundedness"]
    minimum: Share = 1.0
    action: Action = Action.ALLOW


AnyEntry = Annotated[
    NormaliseEntry
    | SecretsEntry
    | PiiEntry
    | TermsEntry
    | LinksEntry
    | ContentEntry
    | InjectionEntry
    | GroundednessEntry,
    Discriminator("rail"),
    BeforeValidator(lambda value: {"rail": value} if isinstance(value, str) else value),
]

LONGEST_MS = 600_000
"""That a stage may take."""
STREAMABLE = ("normalise", "secrets", "pii", "terms", "links")
"""Rails that can judge text while it arrives."""


class StagePolicy(Strict):
    """``max_chars``: a longer text is blocked unread. ``fail_open``: a failed rail or an overrun allows."""

    rails: tuple[AnyEntry, ...]
    timeout_ms: int = Field(default=2000, ge=1, le=LONGEST_MS)
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
                raise ValueError(f"stream.rails.{index}: {entry.rail} cannot judge text while it arrives")
            if getattr(entry, "action", None) is Action.ASK:
                raise ValueError(f"stream.rails.{index}: a stream cannot wait for a person")
        return self


class ArgumentRule(Strict):
    """Limits of one argument. ``from_user_words``: its value must stand in the user's own words;
    ``kind`` then narrows the choice, while decoding, to the values of that kind found there."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    enum: tuple[str | int | float | bool, ...] | None = Field(default=None, min_length=1)
    const: str | int | float | bool | None = None
    max_length: int | None = Field(default=None, alias="maxLength", ge=0)
    minimum: Limit | None = None
    maximum: Limit | None = None
    pattern: str | None = None
    from_user_words: bool = False
    kind: RuleKind = "text"

    @model_validator(mode="before")
    @classmethod
    def _holds_something(cls, value: Any) -> Any:
        given = value if isinstance(value, dict) else {"": value}
        if empty := [name for name, limit in given.items() if limit is None]:
            raise ValueError(f"{', '.join(map(str, empty)) or 'a rule'} has no value: give one or leave it out")
        if all(name == "kind" or (name == "from_user_words" and limit is False) for name, limit in given.items()):
            raise ValueError("says nothing about the argument: give a limit, or leave the rule out")
        return value

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                regex.compile(to_the_end(value))
            except regex.error as error:
                raise ValueError(f"not a regular expression: {error}") from None
        return value


class ReadRule(Strict):
    """Where the value is found that an omitted argument, or one that equals one of ``when``, stands for: in
    ``field`` of an earlier result whose ``key`` equals the call's argument of that name."""

    when: tuple[Limit, ...] = ()
    key: str
    field: str


class AskRule(Strict):
    """A person decides about calls of ``tool``, or of tools with ``effect``; with ``argument`` only
    above ``above``, or where the argument isn't a number. ``read``: see ``ReadRule``; what cannot be
    read is asked about."""

    tool: str | None = None
    effect: Effect | None = None
    argument: str | None = None
    above: Limit | None = None
    read: ReadRule | None = None
    reason: str = ""

    @model_validator(mode="after")
    def _complete(self) -> AskRule:
        if (self.tool is None) == (self.effect is None):
            raise ValueError("names either a tool or an effect")
        if (self.argument is None) != (self.above is None):
            raise ValueError("argument and above go together")
        if self.read is not None and self.argument is None:
            raise ValueError("read needs an argument")
        return self


class ToolsPolicy(Strict):
    """``allow``: agent (or ``*``) → tools (or ``*``); an agent that isn't named may call nothing.
    ``sinks``: what to do when an argument that says where something goes has an unknown origin.
    ``tainted_writes``: what to do with a write once a result looked like an instruction. ``repeated_writes``: what to
    do with a write that the session has made already, unless the user asks for it again. ``forbidden_writes``: what to
    do with a write that the user's latest words forbid. None of them applies to ``harmless`` tools. ``false_claims``:
    what to do with an answer that says something was done and was not; ``redact`` puts what was done in its place."""

    allow: dict[str, tuple[str, ...]]
    arguments: dict[str, dict[str, ArgumentRule]] = Field(default_factory=dict)
    ask: tuple[AskRule, ...] = ()
    lock_to_plan: Literal["off", "ask", "block"] = "off"
    tainted_writes: Action = Action.ASK
    repeated_writes: Action = Action.ASK
    forbidden_writes: Action = Action.ASK
    harmless: tuple[str, ...] = ()
    sinks: Action = Action.ASK
    false_claims: Action = Action.REDACT

    @field_validator("tainted_writes", "repeated_writes", "forbidden_writes", "sinks")
    @classmethod
    def _no_redact(cls, value: Action) -> Action:
        if value is Action.REDACT:
            raise ValueError("a call cannot be redacted here: allow, ask or block")
        return value

    @field_validator("false_claims")
    @classmethod
    def _no_ask(cls, value: Action) -> Action:
        if value is Action.ASK:
            raise ValueError("nobody is asked about an answer: allow, redact or block")
        return value

    def reads_evidence(self, tool: str, effect: Effect) -> bool:
        """Whether a rule about calls of a tool looks into the user's words or into results."""
        arguments = self.arguments.get(tool, {}).values()
        asks = (rule for rule in self.ask if tool == rule.tool or effect is rule.effect)
        return any(rule.from_user_words for rule in arguments) or any(rule.read is not None for rule in asks)

    def allowed(self, agent: str) -> frozenset[str]:
        return frozenset(self.allow.get(agent, self.allow.get("*", ())))


class Egress(Strict):
    """Hosts that may be reached, as ``flightloop.egress`` reads them: ``host``, ``host:port``, ``*.host``."""

    hosts: tuple[str, ...] = ()

    @field_validator("hosts")
    @classmethod
    def _entries(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            EgressEntry.parse(text)
        return value


class Constitution(Strict):
    """Principles that the model itself checks its answer against, and revises it by."""

    enabled: bool = False
    principles: tuple[str, ...] = ()
    max_revisions: int = Field(default=2, ge=0, le=5)

    @model_validator(mode="after")
    def _not_empty(self) -> Constitution:
        if self.enabled and not self.principles:
            raise ValueError("principles: none are given")
        return self


class PolicyDocument(Strict):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    version: Annotated[str, BeforeValidator(lambda value: str(value) if isinstance(value, int | float) else value)]
    description: str = ""
    streaming: Literal["held", "live"] = "held"
    stages: Stages
    tools: ToolsPolicy
    egress: Egress
    constitution: Constitution = Field(default_factory=Constitution)
    refusal: str = "I'm sorry, I can't help with that."

    def canonical(self) -> dict[str, Any]:
        """The whole document as JSON data, defaults written out."""
        return self.model_dump(mode="json", by_alias=True)

    def arguments_named(self) -> Iterator[tuple[str, str, str]]:
        """Fields, and the tools and arguments that they name."""
        for tool, rules in self.tools.arguments.items():
            for name in rules:
                yield f"tools.arguments.{tool}.{name}", tool, name
        for index, rule in enumerate(self.tools.ask):
            if rule.tool and rule.argument:
                yield f"tools.ask.{index}.argument", rule.tool, rule.argument
                if rule.read is not None:
                    yield f"tools.ask.{index}.read.key", rule.tool, rule.read.key

    def tools_named(self) -> Iterator[tuple[str, str]]:
        """Fields and the tools that they name: ``("tools.ask.0.tool", "refund_order")``; ``*`` is none."""
        lists: dict[str, Iterable[str]] = {f"tools.allow.{agent}": names for agent, names in self.tools.allow.items()}
        lists["tools.arguments"] = self.tools.arguments
        lists |= {f"tools.ask.{index}.tool": [rule.tool] for index, rule in enumerate(self.tools.ask) if rule.tool}
        lists["tools.harmless"] = self.tools.harmless
        for stage in Stage:
            for index, entry in enumerate(self.stages.of(stage).rails):
                lists[f"stages.{stage}.rails.{index}.tools"] = entry.tools or ()
        yield from ((field, name) for field, names in lists.items() for name in names if name != "*")
