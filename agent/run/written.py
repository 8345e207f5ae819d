"""Calls that change something, as a session's index of writes has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

DOUBT = "?"
"""Stored in place of a written call's tool: somebody was asked if a write is what the user meant."""


@dataclass(frozen=True)
class Written:
    """A call that changes something: one whose intent is journaled, or one that a person has denied; or a doubt."""

    run_id: str
    callers: tuple[str, ...]
    """Chain of runs that delegated to the call's run, from the root run on."""
    call_id: str
    tool: str
    arguments: dict[str, Any]
    args_sha256: str
    ok: bool | None = None
    """Whether the call succeeded; None: it has no result yet."""
    uncertain: bool = False
    """Whether the call may have taken effect although it did not succeed."""
    told: str = ""
    """Beginning of the result or error, as the model reads it."""
    kin: bool = False
    """Whether the call's run and the run for which it was read have the same root run, through sub-runs and forks."""
    unsure: bool = False
    """Whether equivalent arguments may have another hash."""
    denied: bool = False
    """Whether a person denied the call, so that it was not made."""
