"""A call or a plan that a model writes as text: it is never shown as an answer."""

from __future__ import annotations

import json
import re

CALL_AS_TEXT = "it was a call or a plan written as text; call tools by the protocol, or answer in words"
MARKERS = ("<tool_call", "</tool_call", "<|tool_call", "<function=", "<|python_tag|>", "[TOOL_CALLS]", "<｜tool▁call")
"""What open models write around their calls (Hermes and Qwen, Phi, Llama, Mistral, DeepSeek), as their chat templates
show it."""
LONGEST = 8192
"""Characters of an answer that begins as JSON which are held back; a longer one is no call."""
_MARKER = re.compile("|".join(map(re.escape, MARKERS)))
_BEGUN = re.compile(r'\s*(?:```[a-z]*\s*)?\[?\s*\{\s*"(?:name|function|type|goal)"')
_FENCED = re.compile(r"```[a-z]*\n(.*?)\n?```", re.DOTALL)


class CallAsText(Exception):
    """The answer is a call or a plan written as text, or has one in it."""


class Markup:
    """``push`` pieces of an answer, then ``finish``; each returns what is no call, or can't become one any more.

    Args:
        json_wanted: the answer is to be JSON, whatever it says.
    """

    def __init__(self, *, json_wanted: bool) -> None:
        self._free = json_wanted
        self._begun = False
        self._held = ""

    def push(self, text: str) -> str:
        """Raises CallAsText."""
        if self._free:
            return text
        self._held += text
        if _MARKER.search(self._held):
            raise CallAsText(CALL_AS_TEXT)
        if not self._begun and self._may_be_json():
            return ""
        keep = _open_marker(self._held)
        return self._release(len(self._held) - keep)

    def finish(self, *, cut: bool = False) -> str:
        """The end of the answer: returns the rest; of one that was ``cut``, not what a call may have begun with.

        Raises CallAsText.
        """
        if not self._begun and _is_call(self._held):
            raise CallAsText(CALL_AS_TEXT)
        if cut and not self._begun and _BEGUN.match(self._held):
            return ""
        return self._release(len(self._held) - (_open_marker(self._held) if cut else 0))

    def _release(self, end: int) -> str:
        text, self._held = self._held[:end], self._held[end:]
        self._begun = self._begun or bool(text.strip())
        return text

    def _may_be_json(self) -> bool:
        text = self._held.lstrip()
        return len(self._held) <= LONGEST and (text.startswith(("{", "[", "```")) or text in ("", "`", "``"))


def _open_marker(text: str) -> int:
    """Characters at a text's end that a marker may begin with."""
    longest = min(len(text), max(map(len, MARKERS)) - 1)
    return next((n for n in range(longest, 0, -1) if any(marker.startswith(text[-n:]) for marker in MARKERS)), 0)


def _is_call(text: str) -> bool:
    stripped = text.strip()
    fenced = _FENCED.fullmatch(stripped)
    try:
        value = json.loads(fenced[1] if fenced else stripped)
    except (ValueError, RecursionError):
        return False
    found = value if isinstance(value, list) else [value]
    return bool(found) and all(isinstance(one, dict) and _told(one) for one in found)


def _told(value: dict[str, object]) -> bool:
    """Whether an object is a call in one of the usual forms, or a plan as this project's agents make it."""
    names = value.keys()
    if "function" in names and isinstance(value["function"], dict):
        return _told(value["function"])
    is_call = isinstance(value.get("name"), str) and bool({"arguments", "parameters"} & names) and len(names) <= 4
    return is_call or names == {"goal", "tools"}
