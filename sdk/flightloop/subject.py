"""Subject: the end user on whose behalf a run or completion acts.

The caller's key vouches for it: the server takes the subject from the request as the key may name it, and never from
what a user or a model writes. ``user`` and ``safety_identifier`` of OpenAI's protocol are not subjects.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, StrictFloat, StrictInt, StrictStr

from flightloop.content import Wire
from flightloop.limits import at_most
from flightloop.wellformed import unkept_number

ID_CHARS = 200
CLAIMS = 32
CLAIM_NAME = re.compile(r"[\w.-]{1,64}")
CLAIM_CHARS = 1000
"""Characters of one claim's value."""
CLAIMS_CHARS = 8000
"""Characters of all claims together."""

Claim = StrictBool | StrictInt | StrictFloat | StrictStr


def _id(value: str) -> str:
    if not value.isprintable() or value != value.strip():
        raise ValueError("must have printable characters only, and no space at its ends")
    return value


def _claims(claims: dict[str, Claim]) -> dict[str, Claim]:
    at_most(CLAIMS, len(claims), "claims")
    for name, value in claims.items():
        if not CLAIM_NAME.fullmatch(name):
            raise ValueError(f"{name[:64]!r} is not a claim's name: use 1 to 64 letters, digits, '_', '.' and '-'")
        if isinstance(value, str):
            at_most(CLAIM_CHARS, len(value), "characters of a claim", name)
        elif unkept_number(value) is not None:
            raise ValueError(f"{name}: not every reader of JSON keeps the number {value}")
    at_most(CLAIMS_CHARS, sum(len(name) + len(str(value)) for name, value in claims.items()), "characters of claims")
    return claims


class Subject(Wire):
    """An end user, as the holder of a key vouches for them."""

    id: Annotated[str, Field(min_length=1, max_length=ID_CHARS), AfterValidator(_id)]
    """Stable id of the user in the caller's system, such as a customer number."""
    claims: Annotated[dict[str, Claim], AfterValidator(_claims)] = Field(default_factory=dict)
    """What the caller knows about the user, such as an e-mail address: strings, numbers and booleans by name."""

    def value(self, path: str) -> Claim | None:
        """The value at ``subject.id`` or ``subject.claims.NAME``; None if there is no such claim."""
        name = path.removeprefix("subject.")
        return self.id if name == "id" else self.claims.get(name.removeprefix("claims."))


def _named(value: Any) -> Any:
    """A plain string is the id of a subject without claims. Unknown fields are errors, as in all request bodies."""
    if isinstance(value, str):
        return {"id": value}
    if isinstance(value, dict) and (unknown := sorted(map(str, value.keys() - Subject.model_fields.keys()))):
        raise ValueError(f"has an unknown field {unknown[0][:64]!r}; a subject has: id, claims")
    if not isinstance(value, dict | Subject):
        raise ValueError("must be the id as a text, or an object with id and claims")
    return value


GivenSubject = Annotated[
    Subject,
    BeforeValidator(_named, json_schema_input_type=Subject | Annotated[str, Field(min_length=1, max_length=ID_CHARS)]),
]
"""A subject in a request: its id, or an object with id and claims."""


class SpeaksFor(StrEnum):
    """Subjects for which a key may speak."""

    ANY = "any"  # for every subject that a request names
    ONE = "one"  # for the key's own subject only: a bound key
    NONE = "none"  # for no subject: its runs are anonymous


def shown_subject(subject: Subject | None) -> str:
    """The subject for people; "anonymous" if there is none."""
    return subject.id if subject is not None else "anonymous"
