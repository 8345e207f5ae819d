"""One test of a program, as the tool ``run_tests`` takes it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator


class CodeTest(BaseModel):
    """A call with the value that it should return, or statements that should not raise."""

    model_config = ConfigDict(extra="forbid")

    call: str | None = Field(default=None, min_length=1, max_length=2_000)
    """An expression. Without ``expected``, its value is only reported."""
    expected: str | None = Field(default=None, max_length=2_000)
    """A literal."""
    statements: str | None = Field(default=None, min_length=1, max_length=20_000)

    @model_validator(mode="after")
    def _is_one(self) -> CodeTest:
        if (self.call is None) == (self.statements is None):
            raise ValueError('a test has either "call" or "statements"')
        return self

    @property
    def text(self) -> str:
        if self.statements is not None:
            return self.statements
        return f"{self.call}" if self.expected is None else f"{self.call} == {self.expected}"
