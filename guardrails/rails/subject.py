"""Rails that bind a run to its subject: calls name the subject's own objects only, and rows of others are withheld."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import regex

from flightloop.verdicts import Action, Verdict
from flightloop.wellformed import key_given_twice
from guardrails.evidence.ownership import Ownership
from guardrails.rails.filled import filled, has_unknown_default
from guardrails.subject_policy import Binding, SubjectPolicy
from guardrails.types import Checked, Judgement, NoEvidence, Rail, severest

WITHHELD = "withheld"
"""Key of the statement that replaces withheld rows."""
ALL_WITHHELD = "The result was withheld: it is not about the user on whose behalf this run acts."
ERROR = "error: "
"""Beginning of the result of a failed call."""
_LONGEST = 200
"""Characters of a value in a text that is not JSON."""


def calls_rail(policy: SubjectPolicy) -> Rail:
    """Blocks calls that name another's object, and calls that an anonymous subject may not make."""

    async def check(checked: Checked) -> Judgement:
        call, context = checked.call, checked.context
        if call is None:
            raise ValueError("stage tool_call needs a call")
        tool = call.spec.name
        problems: list[tuple[Action, str, str]] = []
        softer = Action.BLOCK if context.subject is not None else Action(policy.anonymous.otherwise)
        if context.subject is None and not policy.anonymous.permits(tool):
            problems.append((softer, "anonymous", f"an anonymous user may not call {tool}: the user has to sign in"))
        bindings = {name: binding for name, binding in policy.arguments.items() if binding.applies_to(tool)}
        for name in bindings:
            if name not in call.arguments and has_unknown_default(call, name):
                told = f"{name} must be given: it is bound to the subject, and its default is not known"
                problems.append((Action.BLOCK, "subject", told))
        ownership = Ownership(context)
        for name, value in _named(filled(call), bindings):
            told = _not_owned(name, bindings[name], anonymous=context.subject is None)
            try:
                if not await ownership.owns(bindings[name], name, value):
                    problems.append((softer, "subject", told))
            except NoEvidence:  # told in the same words: who asks learns nothing about objects of others
                problems.append((Action.BLOCK, "no_evidence", told))
        return _judgement(checked, problems)

    return check


def results_rail(policy: SubjectPolicy) -> Rail:
    """Withholds rows of a result that are not the subject's. The model reads a statement in their place."""

    async def check(checked: Checked) -> Judgement:
        tool = checked.call.spec.name if checked.call else ""
        bindings = {name.casefold(): (name, one) for name, one in policy.results.items() if one.applies_to(tool)}
        if not bindings:
            return Judgement()
        rows = _Rows(bindings, Ownership(checked.context))
        text = await rows.text(checked.text)
        if text is None:
            rows.withheld += 1
        if not rows.withheld:
            return _judgement(checked, [])
        reason = f"{rows.withheld} {'row is' if rows.withheld == 1 else 'rows are'} not the subject's"
        verdict = Verdict(
            action=Action.REDACT, rail="subject", stage=checked.stage, reason=reason, labels=["another_subject"]
        )
        return Judgement((verdict,), text=ALL_WITHHELD if text is None else text)

    return check


def _not_owned(name: str, binding: Binding, *, anonymous: bool) -> str:
    if not anonymous:
        return f"{name} is not known to name anything of the user on whose behalf this run acts"
    if not binding.anonymous:
        return f"{name}: the user has to sign in"
    return f"{name}: the user's own words contain neither {' nor '.join(binding.anonymous)}: ask for one of them"


def _named(value: Any, names: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Values of bound names, at any depth."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in names:
                yield key, inner
            yield from _named(inner, names)
    elif isinstance(value, list):
        for inner in value:
            yield from _named(inner, names)


def _judgement(checked: Checked, problems: list[tuple[Action, str, str]]) -> Judgement:
    verdict = Verdict(
        action=severest(action for action, _, _ in problems),
        rail="subject",
        stage=checked.stage,
        reason="; ".join(dict.fromkeys(reason for _, _, reason in problems)),
        labels=list(dict.fromkeys(label for _, label, _ in problems)),
    )
    return Judgement((verdict,))


class _Gone:
    """In place of a value that is withheld with all that it belongs to, up to the row."""


GONE = _Gone()


@dataclass
class _Rows:
    """Removes rows of others from a result.

    A row is an object in a list, or the whole result. It is withheld with everything in it.
    """

    bindings: dict[str, tuple[str, Binding]]
    """By name in lower case: the name as the policy has it, and the binding."""
    ownership: Ownership
    withheld: int = 0

    async def text(self, text: str) -> str | None:
        """The text without rows of others; None if nothing is left. Unchanged if all rows are the subject's."""
        if not self._mentions(text):
            return text
        before, value = self.withheld, _parsed(text)
        if value is None:
            return text if await self._all_owned(text) else None
        left = await self._left(value)
        if isinstance(left, _Gone):
            return None
        if self.withheld == before:
            return text
        return json.dumps(left, ensure_ascii=False, separators=(",", ":"))

    def _mentions(self, text: str) -> bool:
        """Whether a text contains a bound name, or escapes that may spell one."""
        folded = text.casefold()
        return any(name in folded for name in self.bindings) or "\\u" in text

    async def _left(self, value: Any) -> Any:
        if isinstance(value, dict):
            return await self._of_row(value)
        if isinstance(value, list):
            return await self._of_list(value)
        if isinstance(value, str) and self._mentions(value):
            text = await self.text(value)
            return GONE if text is None else text
        return value

    async def _of_list(self, rows: list[Any]) -> list[Any]:
        left = [one for row in rows if not isinstance(one := await self._left(row), _Gone)]
        if (gone := len(rows) - len(left)) == 0:
            return left
        self.withheld += gone
        return [*left, {WITHHELD: f"{gone} {'entry' if gone == 1 else 'entries'} of somebody else"}]

    async def _of_row(self, row: dict[str, Any]) -> Any:
        for key, value in row.items():
            if key.casefold() in self.bindings and not await self._owned(key, value, row):
                return GONE
        left = {key: await self._left(value) for key, value in row.items()}
        return GONE if any(isinstance(value, _Gone) for value in left.values()) else left

    async def _owned(self, key: str, value: Any, row: dict[str, Any] | None) -> bool:
        name, binding = self.bindings[key.casefold()]
        try:
            return await self.ownership.owns(binding, name, value, row)
        except NoEvidence:
            return False

    async def _all_owned(self, text: str) -> bool:
        """Whether all values that a text without structure gives for bound names are the subject's. Fails if it names
        them in a form that can't be read, such as the head of a table; only an error may mention them so."""
        names = "|".join(regex.escape(name) for name in self.bindings)
        mentions = len(regex.findall(names, text, regex.IGNORECASE))
        reads = rf"(?<![\w])({names})(?![\w])[\\\"'`]*\s*[:=]+>?\s*[\\\"'`\[({{]*([^\s\\\"'`,;)\]}}]{{0,{_LONGEST}}})"
        found = list(regex.finditer(reads, text, regex.IGNORECASE))
        if len(found) < mentions and not text.startswith(ERROR):
            return False
        for match in found:
            value = match.group(2)
            number = int(value) if regex.fullmatch(r"\d{1,15}", value) else value
            if not await self._owned(match.group(1), number, None):
                return False
        return True


def _parsed(text: str) -> Any:
    """The JSON value of a text that is an object or a list; None if it is none, or if readers may differ about it."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return None if key_given_twice(text) else json.loads(text)
    except (ValueError, RecursionError):
        return None
