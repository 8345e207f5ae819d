"""Field of a policy that holds a regular expression."""

from __future__ import annotations

from typing import Annotated

import regex
from pydantic import AfterValidator

from flightloop.patterns import to_the_end


def _compiling(value: str) -> str:
    try:
        regex.compile(to_the_end(value))
    except regex.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return value


RegularExpression = Annotated[str, AfterValidator(_compiling)]
"""A regular expression, in which ``$`` is the very end of the text."""
