"""Whether an object that a value names is the subject's, or one that an anonymous user proves to know."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from guardrails.aside import aside
from guardrails.evidence.other_numbers import without_other_numbers
from guardrails.subject_policy import Binding, same
from guardrails.text.words import Words, stands_in
from guardrails.types import GuardContext, NoEvidence

MOST_NAMED = 50
"""Numbers, or words with digits, and e-mail addresses of a user who is not signed in. Who writes more in a session is
guessing, and proves to know nothing."""


@dataclass
class Ownership:
    """Answers for one check, so that each object is looked up once.

    Fails closed: without evidence, an object is nobody's.
    """

    context: GuardContext
    _found: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)

    async def owns(self, binding: Binding, name: str, value: Any, row: dict[str, Any] | None = None) -> bool:
        """Whether the run may touch the object that ``value`` names.

        Args:
            name: the argument or field that has the value.
            row: the result's row, whose other fields may be proof if the binding has no evidence.

        Raises:
            NoEvidence: the lookup failed, or there is no such object.
        """
        if any(same(value, one) or (value is None and one is None) for one in binding.unless):
            return True
        if isinstance(value, list):
            return bool(value) and all([await self.owns(binding, name, one, row) for one in value])
        if isinstance(value, dict) or value is None:
            return False
        if self.context.subject is None:
            return await self._is_known(binding, name, value, row)
        wanted = self.context.subject.value(binding.equals)
        if wanted is None:
            return False
        if (tool := binding.compared(name)) is None or binding.field is None:
            return same(value, wanted)
        return same((await self._evidence(tool, name, value)).get(binding.field), wanted)

    async def _is_known(self, binding: Binding, name: str, value: Any, row: dict[str, Any] | None) -> bool:
        """Whether the user's own words prove that an anonymous user knows the object."""
        if "*" in binding.anonymous:
            return True
        if name in binding.anonymous and await self._is_said(value):
            return True
        others = [one for one in binding.anonymous if one != name]
        if not others:
            return False
        fields = row or {} if binding.evidence is None else await self._evidence(binding.evidence, name, value)
        return any([await self._is_said(fields.get(one)) for one in others])

    async def _is_said(self, value: Any) -> bool:
        """Whether the user's own words contain a value, which is neither empty nor a truth value."""
        if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value).strip():
            return False
        words = self.context.user_text
        return await aside(len(words), _stands_in, value, words)

    async def _evidence(self, tool: str, name: str, value: Any) -> dict[str, Any]:
        key = tool, name, f"{type(value).__name__}:{value}"
        if key not in self._found:
            found: Any = await self.context.look_up(tool, {name: value})
            if not isinstance(found, dict):
                raise NoEvidence(f"{tool} returned no object")
            self._found[key] = found
        return self._found[key]


def _stands_in(value: str | int | float, words: str) -> bool:
    if not stands_in(value, (words,)):
        return False
    read = Words.of(words)  # as `stands_in` reads them, with escapes decoded
    named = {word for word in read.plain.split() if any(map(str.isdigit, word))}
    # One word may have many numbers ("1+2+3"), and so may a few groups of digits.
    if max(len(named), len(read.numbers)) + sum("@" in one for one in read.exact) > MOST_NAMED:
        return False
    return not str(value).isdecimal() or stands_in(value, (without_other_numbers(words),))
