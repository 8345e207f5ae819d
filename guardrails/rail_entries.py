"""Entries of a policy's stages: one class for each kind of rail, with its settings."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, field_validator, model_validator

from flightloop.verdicts import Action

Share = Annotated[float, Field(ge=0, le=1)]
NumberKind = Literal["email", "phone", "iban", "card", "us_ssn", "gb_nino", "es_dni", "it_cf", "fr_nir", "br_cpf"]
OtherKind = Literal["ip", "domain", "cn_ric", "de_idnr"]
TaggedKind = Literal[
    "person", "title", "organization", "address", "place", "postal_code", "nationality", "date", "birth_date", "age"
]
ContextKind = Literal["local_phone", "document"]
PiiKind = NumberKind | OtherKind | TaggedKind | ContextKind
"""Kinds of personal data: by pattern and checksum, by pattern, and by the tagger of entities."""
Source = Literal["user", "results"]
Text = Annotated[str, Field(max_length=500)]


class Strict(BaseModel):
    """Base of a policy's parts: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RailEntry(Strict):
    """Fields of all rails. ``tools``: apply only to calls and results of these tools."""

    tools: tuple[str, ...] | None = None


class NormaliseEntry(RailEntry):
    """Removes invisible and direction-changing characters, and replaces disguised letters and digits by ASCII."""

    rail: Literal["normalise"]


class SecretsEntry(RailEntry):
    """Credentials: patterns of detect-secrets and additional ones."""

    rail: Literal["secrets"]
    action: Action = Action.REDACT


class PiiEntry(RailEntry):
    """Personal data. ``keep``: allow values that occur in the user's own words or in the run's tool results.

    Names, addresses and dates (`guardrails.finders.personal.TAGGED`) are looked for only if ``kinds`` lists them.
    """

    rail: Literal["pii"]
    action: Action = Action.REDACT
    kinds: tuple[PiiKind, ...] = ("email", "phone", "iban", "card", "us_ssn", "gb_nino", "es_dni", "it_cf", "fr_nir")
    keep: tuple[Source, ...] = ("user", "results")


class TermsEntry(RailEntry):
    """Words and phrases, matched as a whole, ignoring case."""

    rail: Literal["terms"]
    terms: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field(min_length=1)
    action: Action = Action.BLOCK


class LinksEntry(RailEntry):
    """Links that can leak data: those to hosts that are neither in ``egress`` nor in the sources in ``keep``.
    ``trusted``: results and fields that strangers can't write."""

    rail: Literal["links"]
    action: Action = Action.REDACT
    keep: tuple[Source | Literal["trusted"], ...] = ("user",)


class ContentEntry(RailEntry):
    """Offensive language, by a trained classifier with the scores ``toxicity`` and ``hate``.

    A judge decides about toxicity between ``judge_from`` and ``block_at``.
    """

    rail: Literal["content"]
    block_at: Share | None = None  # toxicity from which on a text is blocked
    judge_from: Share | None = None
    weights: str | None = None  # file of the classifier's weights; default: the built-in one

    @model_validator(mode="after")
    def _band(self) -> ContentEntry:
        if self.judge_from is not None and (self.block_at is None or self.judge_from > self.block_at):
            raise ValueError('"judge_from" requires a "block_at" that is equal or higher')
        return self


class InjectionEntry(RailEntry):
    """Instructions to the model, found by rules. Scores ``injection``.

    ``taint_untrusted``: results of tools that return text from outside taint the run even without a hit.
    """

    rail: Literal["injection"]
    taint_at: Share | None = 0.5  # score from which on a result taints the run
    ask_at: Share | None = None  # score from which on a person is asked
    block_at: Share | None = None  # score from which on the text is blocked
    taint_untrusted: bool = False


class GroundednessEntry(RailEntry):
    """Numbers, identifiers, dates and e-mail addresses of an answer must occur in its evidence. Scores
    ``groundedness``.

    With an action ``redact``, the model of a run is asked once more, with the claims that have no evidence. Then the
    sentences that have such claims are removed.
    """

    rail: Literal["groundedness"]
    minimum: Share = 1.0
    action: Action = Action.ALLOW
    contradicted: Action = Action.ALLOW
    """Action on numbers that contradict the project's data, if ``action`` is less severe."""
    exact: Action = Action.ALLOW
    """Action on dates, and on numbers and codes of five and more digits, that stand nowhere, if ``action`` is less
    severe."""
    names: bool = False  # also names of persons, places and organisations
    otherwise: Text | Annotated[dict[Literal["en", "zh"], Text], Field(min_length=1)] = "I could not find that out."
    """The answer if every sentence is removed; several: by the language of the user's latest message."""


class InventedTimesEntry(RailEntry):
    """Times of day in an answer that stand in none of its evidence ("tomorrow at 10:00"): the phrase is cut."""

    rail: Literal["invented_times"]
    action: Action = Action.REDACT


class CodeScanEntry(RailEntry):
    """Weaknesses in code: in fenced blocks of texts, and in arguments of calls."""

    rail: Literal["code_scan"]
    severity: Literal["low", "medium", "high", "critical"] = "medium"
    """Weaknesses below this severity are ignored."""
    action: Action = Action.BLOCK
    unread: Literal["act", "allow"] = "act"
    """Action on code that could not be examined, for instance because it is invalid."""
    arguments: tuple[str, ...] = ("code", "source", "script", "program")
    """Names of arguments that are code as a whole. Fenced blocks are found in every argument."""
    language: Literal["python", "java"] | None = None
    """Language of code that names none; None: guess it."""


class ModerationEntry(RailEntry):
    """Texts, and arguments of calls, judged by an HTTP endpoint that speaks OpenAI's ``/v1/moderations``.

    It fails closed: without an answer in ``timeout_ms``, and with more than ``per_minute`` calls, the stage blocks.
    """

    rail: Literal["moderation"]
    url: str = Field(pattern=r"^https?://[^\s/]+(/\S*)?$", max_length=2000)
    """The whole URL, such as ``https://api.example.com/v1/moderations``."""
    model: str | None = None
    at: Share = 0.5
    """Score of a category from which on ``action`` follows."""
    action: Action = Action.BLOCK
    categories: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Watched categories; None: all, or the endpoint's own ``flagged`` if it tells no scores."""
    timeout_ms: int = Field(default=1500, ge=1, le=600_000)
    per_minute: int = Field(default=600, ge=1, le=1_000_000)
    """Budget: calls in any minute, of all runs together in one process."""

    @property
    def address(self) -> str:
        """The URL without user, password, query and fragment, which may hold a key."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @field_validator("action")
    @classmethod
    def _replaces_nothing(cls, value: Action) -> Action:
        if value is Action.REDACT:
            raise ValueError("a score says not which words to replace; use allow, ask or block")
        return value


class PluginEntry(RailEntry):
    """A rail of an installed package: the entry point ``name`` of the group ``flightloop.rails``."""

    rail: Literal["plugin"]
    name: str = Field(min_length=1, max_length=200)
    options: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the package's factory."""
    timeout_ms: int = Field(default=1000, ge=1, le=600_000)


AnyEntry = Annotated[
    NormaliseEntry
    | SecretsEntry
    | PiiEntry
    | TermsEntry
    | LinksEntry
    | ContentEntry
    | InjectionEntry
    | GroundednessEntry
    | InventedTimesEntry
    | CodeScanEntry
    | ModerationEntry
    | PluginEntry,
    Discriminator("rail"),
    BeforeValidator(lambda value: {"rail": value} if isinstance(value, str) else value),
]
