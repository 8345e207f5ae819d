"""Formats in which models write tool calls.

Sources: Hermes (NousResearch's function calling; Qwen 2.5 and 3), Llama 3 (Meta's prompt formats), and the compact
format that the model ``edge`` is trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Marks:
    """Text around calls.

    Attributes:
        open, close: text before and after the calls; empty: none.
        each: whether each call has marks of its own. Otherwise the marks surround one call or a JSON list of calls.
        bare: whether a single call may stand without the brackets of a list.
    """

    open: str
    close: str
    each: bool = False
    bare: bool = True


@dataclass(frozen=True)
class CallFormat:
    """How a model writes calls, each a JSON object with the tool's name and its arguments.

    Attributes:
        name: the format's name.
        marks: what may surround the calls. The first is the format's own; the others are what models without training
            in the format prefer.
        arguments: the key of the arguments.
        parallel: whether a turn may have several calls.
    """

    name: str
    marks: tuple[Marks, ...]
    arguments: str = "arguments"
    parallel: bool = True

    @property
    def openings(self) -> tuple[str, ...]:
        """Texts with which calls begin; an answer that begins otherwise is text."""
        return tuple(
            f'{marks.open}{bracket}{{"name": '
            for marks in self.marks
            for bracket in ("", "[")
            if (marks.bare or bracket) and not (marks.each and bracket)
        )


_FENCE = Marks("```json\n", "\n```")
_NONE = Marks("", "")

COMPACT = CallFormat("compact", (Marks("<tool_call>", "</tool_call>", bare=False),))
HERMES = CallFormat("hermes", (Marks("<tool_call>\n", "\n</tool_call>", each=True), _FENCE, _NONE))
LLAMA3 = CallFormat("llama3", (_NONE, _FENCE), arguments="parameters", parallel=False)

CALL_FORMATS: Mapping[str, CallFormat] = {each.name: each for each in (COMPACT, HERMES, LLAMA3)}
