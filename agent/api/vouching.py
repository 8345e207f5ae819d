"""Subjects of requests: a caller's key vouches for the end user that a run or completion acts for.

A bound key speaks for one subject. It starts and sees this subject's runs only, and gives no decisions of operators.
"""

from __future__ import annotations

from agent.api.auth import Principal
from flightloop.errors import Forbidden, NotFound
from flightloop.runs import Run
from flightloop.subject import SpeaksFor, Subject


def vouched(caller: Principal, named: Subject | None) -> Subject | None:
    """The subject of a request; None: it acts for an anonymous one.

    Args:
        named: the subject that the request names, if any.

    Raises:
        Forbidden: the caller's key may not speak for this subject.
    """
    if caller.speaks_for is SpeaksFor.ANY:
        return named
    if caller.speaks_for is SpeaksFor.NONE:
        if named is not None:
            raise Forbidden(f"the key {caller.name} speaks for no subject: leave 'subject' out", param="subject")
        return None
    own = caller.subject
    if own is None:
        raise Forbidden(f"the key {caller.name} is bound to a subject that it lacks: create another key")
    if named is not None and (named.id != own.id or (named.claims and named.claims != own.claims)):
        raise Forbidden(
            f"the key {caller.name} speaks for the subject {own.id} with the claims that it was created with: leave"
            " 'subject' out",
            param="subject",
        )
    return own


def may_continue(caller: Principal, run: Run) -> Subject | None:
    """The subject of a run that the caller resumes or forks. Raises Forbidden if the key may not speak for it."""
    if run.subject is not None and caller.speaks_for is SpeaksFor.NONE:
        raise Forbidden(
            f"run {run.id} acts for the subject {run.subject.id}, and the key {caller.name} speaks for no subject: use"
            " a key that may speak for it"
        )
    return vouched(caller, run.subject)


def visible(caller: Principal, run: Run) -> Run:
    """The run. Raises NotFound if it isn't of the only subject for which the caller's key speaks."""
    if caller.subject is not None and (run.subject is None or run.subject.id != caller.subject.id):
        raise NotFound(f"no run {run.id}")
    return run


def visible_subject(caller: Principal, wanted: str | None) -> str | None:
    """Id of the subject whose runs a list shows; None: those of all. Raises Forbidden."""
    if caller.subject is None:
        return wanted
    if wanted not in (None, caller.subject.id):
        raise Forbidden(f"the key {caller.name} sees the runs of the subject {caller.subject.id} only", param="subject")
    return caller.subject.id
