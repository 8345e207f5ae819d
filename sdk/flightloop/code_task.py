"""Task of a code generator: language, security level and constraints.

An agent gets it as the first line of its input, as JSON; the rest of the input is the prompt. Input without that line
is a prompt with default settings.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from flightloop.content import Body

Name = Annotated[str, Field(min_length=1, max_length=200)]
_LANGUAGE = re.compile(r"(?<!\w)(python|java)(?:\s?\d[\d.]*)?(?!\w)", re.I)
Growth = Literal["O(1)", "O(log n)", "O(n)", "O(n log n)", "O(n^2)", "O(n^3)"]
"""How the time of a function may grow with the size of its input."""


class CodeLanguage(StrEnum):
    PYTHON = "python"
    JAVA = "java"


class SecurityLevel(StrEnum):
    LOW = "low"  # findings are reported
    MEDIUM = "medium"  # findings of medium severity and worse are repaired, as far as the model can
    HIGH = "high"  # a program is only returned if it was compiled and tested and has no findings


class CodeConstraints(Body):
    """What a program may use, and how it must look. Everything is checked."""

    imports: list[Name] | None = Field(default=None, max_length=200)
    """Modules or packages that may be imported, with what lies below them; None: any."""
    network: bool = True
    """False: nothing that reaches the network."""
    files: bool = True
    """False: nothing that reaches files."""
    signature: str | None = Field(default=None, min_length=1, max_length=1000)
    """A function that must be defined: ``def area(radius: float) -> float`` or ``static int area(int radius)``."""
    max_complexity: int | None = Field(default=None, ge=1, le=1000)
    """Largest cyclomatic complexity of a function."""
    max_line: int | None = Field(default=None, ge=20, le=10_000)
    """Longest line, in characters."""
    style: bool = False
    """Names, unused imports and white space by the language's usual style."""
    growth: Growth | None = None
    """Largest growth of the function's time, which is measured. Needs ``signature`` with annotations."""

    @property
    def any(self) -> bool:
        """Whether anything but growth is constrained."""
        return self.model_copy(update={"growth": None}) != CodeConstraints()


class CodeTask(Body):
    """Settings of a generation."""

    language: CodeLanguage = CodeLanguage.PYTHON
    security_level: SecurityLevel = SecurityLevel.MEDIUM
    constraints: CodeConstraints = Field(default_factory=CodeConstraints)
    rounds: int = Field(default=6, ge=1, le=20)
    """Maximum number of programs that are written or repaired."""

    @model_validator(mode="after")
    def _can_be_measured(self) -> Self:
        if self.constraints.growth is not None and self.constraints.signature is None:
            raise ValueError('"growth" is measured by calling a function: name it in "signature"')
        return self


def language_of(prompt: str, default: CodeLanguage = CodeLanguage.PYTHON) -> CodeLanguage:
    """Language of a prompt for which none is given: the one that it names, if it names only one."""
    named = {word.lower() for word in _LANGUAGE.findall(prompt)}
    return CodeLanguage(named.pop()) if len(named) == 1 else default


def task_text(task: CodeTask, prompt: str) -> str:
    """Input of an agent that generates code."""
    return f"{task.model_dump_json(exclude_defaults=True)}\n{prompt}"


def parsed_task(text: str) -> tuple[CodeTask, str]:
    """Settings and prompt of an input. A first line that isn't JSON of settings belongs to the prompt."""
    first, _, rest = text.partition("\n")
    if not first.startswith("{"):
        return CodeTask(), text
    try:
        return CodeTask.model_validate_json(first), rest
    except ValidationError:
        return CodeTask(), text
