"""Detects tool calls and plans that a model writes as text, so that they are never shown as an answer."""

from __future__ import annotations

import json
from collections.abc import Collection

import regex

CALL_AS_TEXT = "it was a call or a plan written as text; call tools by the protocol, or answer in words"
LONGEST = 8192
"""Maximum characters held back while an answer may be a call; a longer answer is released as text."""
_WINDOW = 48
"""Maximum characters of a mark without the tool's name. Only the text's end of this length can begin a mark."""
_MARKS = (
    r"<[\s/|｜]{0,3}(?:tool|function)[\s_▁-]{0,2}(?:calls?|code|response)",
    r"&lt;/?(?:tool|function)[\s_-]{0,2}call",
    r"<\s?/?(?:function=|invoke\s)",
    r"<[\s/|｜]{0,3}tools?\s?[>{\[|:]",
    r"<[\s/|｜]{0,3}(?:[a-z]{1,8}_)?(?:call|function|action|plan|invoke)s?\s?>\s{0,3}[\[{]",
    r"<\|?python_tag\|?>",
    r"\[TOOL_CALLS?\]",
)
"""Markup that open models write around calls, as in the chat templates of Hermes, Qwen, Phi, Llama, Mistral and
DeepSeek, and its variations by small models."""
_OBJECT = r'[{｛]\s{0,3}"name"\s{0,3}:\s{0,3}"[^"]{1,40}"\s{0,3},\s{0,3}"(?:arguments|parameters)"'
_OBJECT_WINDOW = 80
"""Maximum characters of ``_OBJECT``, the beginning of a call of any tool."""
_PLAN = regex.compile(r'[{｛]\s{0,3}"goal"')
"""The beginning of this project's plans."""
_FIRST = frozenset('<&[{｛"tTaA')
"""First characters of marks."""
_BEGUN = regex.compile(r'\s*+(?:```[a-z]*+\s*+)?\[?\s*+\{\s*+"(?:name|function|type|goal|tool|action)"')
_FENCED = regex.compile(r"```[a-z]*\n(.*?)\n?```", regex.DOTALL)


class CallAsText(Exception):
    """The answer is, or contains, a call or plan written as text."""


class Markup:
    """Filter for an answer: ``push`` the pieces, then ``finish``. Both return text that is certainly not a call.

    Args:
        tools: names of the tools offered to the model.
        json_wanted: whether JSON output was requested; then nothing is filtered.
    """

    def __init__(self, tools: Collection[str] = (), *, json_wanted: bool) -> None:
        self._free = json_wanted
        self._begun = False
        self._held = ""
        names = "|".join(map(regex.escape, sorted(tools)))
        self._window = max(_WINDOW + max(map(len, tools)), _OBJECT_WINDOW) if tools else _WINDOW
        own = (
            rf'"(?:name|tool|action|function)"\s{{0,3}}[:：]\s{{0,3}}"(?:{names})"',
            rf"\bto=functions\.(?:{names})\b",
            rf"\bAction\s?:\s?(?:{names})\b",
            rf"<[\s/|]{{0,3}}\w{{1,12}}\s?>\s{{0,3}}(?:functions\.)?(?:{names})\s?\(",
            rf'"tools"\s{{0,3}}[:：]\s{{0,3}}[(\[]{{0,2}}\s{{0,3}}"(?:{names})"',
            _OBJECT,
            _PLAN.pattern,
        )
        self._marks = regex.compile("|".join([*_MARKS, *(own if names else ())]), regex.IGNORECASE)
        self._written = regex.compile(rf"[\s`\[]*(?:functions\.)?(?:{names})\s?\(") if names else None

    def push(self, text: str) -> str:
        """Adds a piece and returns text to release. Raises CallAsText."""
        if self._free:
            return text
        searched = max(0, len(self._held) - self._window)
        self._held += text
        if self._marks.search(self._held, searched):
            raise CallAsText(CALL_AS_TEXT)
        if not self._begun and self._may_be_call():
            return ""
        if _PLAN.search(self._held, searched):
            raise CallAsText(CALL_AS_TEXT)
        return self._release(self._open_mark())

    def finish(self, *, cut: bool = False) -> str:
        """Ends the answer and returns the rest. If the answer was ``cut``, drops the beginning of a possible call.

        Raises CallAsText.
        """
        if not self._begun and (_is_call(self._held) or self._is_written_call()):
            raise CallAsText(CALL_AS_TEXT)
        if cut and not self._begun and (_BEGUN.match(self._held) or self._is_written_call()):
            return ""
        return self._release(self._open_mark() if cut else len(self._held))

    def _release(self, end: int) -> str:
        text, self._held = self._held[:end], self._held[end:]
        self._begun = self._begun or bool(text.strip())
        return text

    def _may_be_call(self) -> bool:
        text = self._held.lstrip()
        if len(self._held) > LONGEST:
            return False
        return (
            text.startswith(("{", "[", "```"))
            or text in ("", "`", "``")
            or (self._written is not None and bool(self._written.match(self._held, partial=True)))
        )

    def _is_written_call(self) -> bool:
        """Whether the answer is a call in program syntax: ``renew_loan(title="Solaris")``."""
        return self._written is not None and bool(self._written.match(self._held))

    def _open_mark(self) -> int:
        """Position at which an incomplete mark may begin; the length of the held text if there is none."""
        length = len(self._held)
        for at in range(max(0, length - self._window), length):
            if self._held[at] in _FIRST and any(
                mark.fullmatch(self._held, at, partial=True) for mark in (self._marks, _PLAN)
            ):
                return at
        return length


def _is_call(text: str) -> bool:
    stripped = text.strip()
    fenced = _FENCED.fullmatch(stripped)
    try:
        value = json.loads(fenced[1] if fenced else stripped)
    except (ValueError, RecursionError):
        return False
    found = value if isinstance(value, list) else [value]
    return bool(found) and all(isinstance(one, dict) and _is_call_object(one) for one in found)


def _is_call_object(value: dict[str, object]) -> bool:
    """Whether an object is a call in a common format, or a plan in this project's format."""
    names = value.keys()
    if "function" in names and isinstance(value["function"], dict):
        return _is_call_object(value["function"])
    is_call = isinstance(value.get("name"), str) and bool({"arguments", "parameters"} & names) and len(names) <= 4
    return is_call or ("goal" in names and names <= {"goal", "tools"})
