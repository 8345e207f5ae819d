"""Section ``subject`` of a policy: binds calls and results to the end user on whose behalf a run acts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(min_length=1, max_length=128)]
SubjectValue = Annotated[str, Field(pattern=r"^subject\.(id|claims\.[\w.-]{1,64})$")]
_EMAIL = re.compile(r"[^\s@]{1,64}@[^\s@]{1,190}\.[^\s@.]{1,63}")
Scalar = str | int | float | bool | None


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Binding(_Strict):
    """A value that names an object, which must be the subject's."""

    equals: SubjectValue = "subject.id"
    """What the value, or the evidence's ``field``, must equal: ``subject.id`` or ``subject.claims.NAME``."""
    evidence: Name | None = None
    """Pure tool that is called with the value, under the value's own name, and returns an object with ``field``.

    Agents need not have it. None: the value itself is compared."""
    field: Name | None = None
    """Field of the evidence that names the object's owner."""
    tools: tuple[Name, ...] | None = None
    """Tools to whose calls or results the binding applies; None: all."""
    unless: tuple[Scalar, ...] = ()
    """Values that name no object, such as 0."""
    left_out_in: tuple[Name, ...] = ()
    """Tools whose calls are made without a value that is not the subject's: the first of ``unless`` takes its place.
    Only for tools that do nothing else with it than tell a person."""
    anonymous: tuple[Name, ...] = ()
    """Fields by which an anonymous user proves to know the object: the user's own words contain one of their values.

    They are fields of the evidence, or else of the result's row; the name of the value itself stands for the value.
    Empty: an anonymous user has no objects. ``*``: any object, for results of calls whose arguments are bound."""

    @model_validator(mode="after")
    def _complete(self) -> Binding:
        if (self.evidence is None) != (self.field is None):
            raise ValueError('"evidence" and "field" must be given together')
        if self.left_out_in and not self.unless:
            raise ValueError('"left_out_in" needs "unless": a value that names no object')
        return self

    def compared(self, name: str) -> str | None:
        """Tool whose evidence is needed to compare the value called ``name`` with the subject's; None: the value is
        compared itself."""
        return None if self.field == name else self.evidence

    def applies_to(self, tool: str) -> bool:
        return self.tools is None or tool in self.tools


class AnonymousPolicy(_Strict):
    """Rights of a run without a subject: its user is anonymous."""

    tools: tuple[Name, ...] = ()
    """Tools that it may call, or ``*``; their arguments are bound all the same."""
    otherwise: Literal["block", "ask"] = "block"
    """Action on calls of other tools, and on calls whose objects the user has not proved to know."""

    def permits(self, tool: str) -> bool:
        return tool in self.tools or "*" in self.tools


class SubjectPolicy(_Strict):
    anonymous: AnonymousPolicy = Field(default_factory=AnonymousPolicy)
    arguments: dict[Name, Binding] = Field(default_factory=dict)
    """Bound arguments by name, at any depth of a call's arguments."""
    results: dict[Name, Binding] = Field(default_factory=dict)
    """Bound fields of results by name. A row with a field that is not the subject's is withheld."""

    def tools_named(self) -> Iterator[tuple[str, list[str]]]:
        """Yields fields and the tools that they name."""
        yield "subject.anonymous.tools", list(self.anonymous.tools)
        for kind, bindings in (("arguments", self.arguments), ("results", self.results)):
            for name, binding in bindings.items():
                yield f"subject.{kind}.{name}.tools", list(binding.tools or ())
                yield f"subject.{kind}.{name}.left_out_in", list(binding.left_out_in)
                yield f"subject.{kind}.{name}.evidence", [binding.evidence] if binding.evidence else []

    def evidence_named(self) -> Iterator[tuple[str, str, str]]:
        """Yields triples: a field's path, the tool that it names as evidence, and the tool's argument."""
        for kind, bindings in (("arguments", self.arguments), ("results", self.results)):
            for name, binding in bindings.items():
                if binding.evidence is not None:
                    yield f"subject.{kind}.{name}.evidence", binding.evidence, name


def same(value: Any, wanted: Any) -> bool:
    """Whether two scalars name the same object. A whole number equals its decimal digits: ids of subjects are texts.
    E-mail addresses of ASCII letters are compared without case."""
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if isinstance(value, int | float) and isinstance(wanted, int | float):
        return value == wanted
    texts = [_text(one) for one in (value, wanted)]
    return None not in texts and (texts[0] == texts[1] or _mailbox(texts[0]) == _mailbox(texts[1]) is not None)


def _text(value: Any) -> str | None:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, str | int | float) else None


def _mailbox(text: str | None) -> str | None:
    """An e-mail address in lower case; None if a text is none, or has letters that others look like."""
    return text.lower() if text is not None and text.isascii() and _EMAIL.fullmatch(text) else None
