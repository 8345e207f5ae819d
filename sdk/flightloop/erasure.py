"""Erasure of a person's or a session's runs: requests, reports, and what stands in the place of erased content."""

from __future__ import annotations

from pydantic import Field, model_validator

from flightloop.content import Body, Part, TextPart, Wire
from flightloop.subject import ID_CHARS
from flightloop.verdicts import Verdict

ERASED = "[erased]"
"""Stands in the place of an erased text."""


def erased_content() -> list[Part]:
    """What stands in the place of an erased input or output."""
    return [TextPart(text=ERASED)]


def erased_verdict(verdict: Verdict) -> Verdict:
    """The verdict without its reason, which may quote, and the places of what it found."""
    return verdict.model_copy(update={"reason": verdict.reason and ERASED, "spans": []})


class ErasureCreate(Body):
    """Body of ``POST /v1/erasures``: whose runs are erased."""

    subject: str | None = Field(default=None, min_length=1, max_length=ID_CHARS)
    """Id of the subject."""
    session_id: str | None = Field(default=None, min_length=1, max_length=128, pattern=r"^[^\x00]*$")
    """A session, such as one of an anonymous user."""
    end_runs: bool = Field(default=False, strict=True)
    """Whether open runs are cancelled first. Otherwise they are an error."""
    dry_run: bool = Field(default=False, strict=True)
    """Whether to count only."""

    @model_validator(mode="after")
    def _names_one(self) -> ErasureCreate:
        if (self.subject is None) == (self.session_id is None):
            raise ValueError('give either "subject" or "session_id"')
        return self


class ErasureReport(Wire):
    """What was erased or, in a dry run, would be."""

    dry_run: bool = False
    runs: int = 0
    """Ended runs, with their events, approvals and writes."""
    open_runs: list[str] = Field(default_factory=list)
    """Runs that have not ended; some of them, if there are many."""
    answers: int = 0
    """Stored responses to requests with an idempotency key."""
    stops: int = 0
    """Emergency stops whose target or reason was erased."""
    keys: int = 0
    """API keys that were bound to the subject; they are revoked."""
    lines: int = 0
    """Lines of traces and logs."""
    rows: int = 0
    """Rows of data sets, and tasks of regressions."""
    record: str = ""
    """Object of the act in the audit log; a digest instead of the subject's id."""
    problems: list[str] = Field(default_factory=list)
    """What is left because something failed; a repetition continues."""
    out_of_reach: list[str] = Field(default_factory=list)
    """Where else the content may be."""
