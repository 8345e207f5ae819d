"""What a prompt asks for: a function, a class with its methods, or a program that is run as a whole."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    FUNCTION = "function"
    CLASS = "class"
    PROGRAM = "program"


@dataclass(frozen=True)
class Wanted:
    """What a program has to define."""

    kind: Kind
    entry: str | None = None
    """The function, or the class, that tests use; None: the prompt names none."""
    names: tuple[str, ...] = ()
    """Names that the prompt gives: of the function, or of the class and its methods."""


CLASS = re.compile(r"\bclass\s+(?:called\s+|named\s+)?[`'\"]?([A-Z]\w*)")
_NOUN = re.compile(r"\b(program|script|tool|application|function|method|class)\b", re.I)
_RUN = re.compile(r"\b(?:command[- ]line|standard input|stdin)\b", re.I)


def is_program(prompt: str) -> bool:
    """Whether a prompt that names neither a function nor a class asks for a program that is run."""
    noun = _NOUN.search(prompt)
    if noun is None:
        return bool(_RUN.search(prompt))
    return noun[1].lower() not in ("function", "method", "class")
