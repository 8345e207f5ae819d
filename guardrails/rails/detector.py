"""Makes a rail from a finder, for texts and for the arguments of calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flightloop.verdicts import Action, Span, Stage, Verdict
from guardrails.aside import aside
from guardrails.finders.pattern import Finder, Finding, merged, redact
from guardrails.text.normalise import unescaped_places
from guardrails.text.scalars import KeysClash, map_scalars, scalar_texts
from guardrails.types import Checked, GuardContext, Judgement, Rail

MOST_SPANS = 256
"""Maximum number of places that a verdict lists, so that records stay small compared with the text."""

FilterForContext = Callable[[GuardContext], Callable[[str, list[Finding]], list[Finding]]]
"""Maps a context to a filter that drops the findings allowed by this context."""


def allow_none(context: GuardContext) -> Callable[[str, list[Finding]], list[Finding]]:
    return lambda text, findings: findings


@dataclass(frozen=True)
class Detector:
    """A named finder, the action on its findings, and a filter that drops findings allowed by the context."""

    name: str
    finder: Finder
    action: Action
    filter_for: FilterForContext = allow_none  # drops findings that the context allows

    def spans(self, text: str, context: GuardContext) -> list[Finding]:
        return self.not_allowed(text, self.find(text), context)

    def find(self, text: str) -> list[Finding]:
        """All findings, regardless of the context."""
        findings = self.finder.find(text)
        if "\\" in text:  # JSON may escape what is searched for
            plain, places = unescaped_places(text)
            inner = self.finder.find(plain)
            findings += [Finding(places[one.start], places[one.end], one.label) for one in inner]
        return findings

    def not_allowed(self, text: str, findings: list[Finding], context: GuardContext) -> list[Finding]:
        """The findings that the context doesn't allow."""
        return merged(self.filter_for(context)(text, findings)) if findings else []


def found_in(finder: Finder, arguments: Any) -> Iterator[tuple[str, Finding]]:
    """Findings in the strings, numbers and keys of arguments, each with the text that contains it."""
    detector = Detector("", finder, Action.ALLOW)
    for text in scalar_texts(arguments):
        yield from ((text, finding) for finding in detector.find(text))


def found_reason(labels: list[str], places: int) -> str:
    """A verdict's reason: the labels found, and the number of places if not all are listed."""
    more = f" in {places} places, of which {MOST_SPANS} are listed" if places > MOST_SPANS else ""
    return f"found {', '.join(labels)}{more}" if labels else ""


def verdict_of(detector: Detector, stage: Stage, findings: list[Finding]) -> Verdict:
    labels = sorted({finding.label for finding in findings})
    return Verdict(
        action=detector.action if findings else Action.ALLOW,
        rail=detector.name,
        stage=stage,
        reason=found_reason(labels, len(findings)),
        spans=[Span(start=item.start, end=item.end, label=item.label) for item in findings[:MOST_SPANS]],
        labels=labels,
    )


def detector_rail(detector: Detector) -> Rail:
    """Makes a rail from a detector. Verdict spans refer to the rail's input text or, for a call, to the argument value
    that contains the finding."""

    async def check(checked: Checked) -> Judgement:
        text, context = checked.text, checked.context
        if checked.stage is Stage.TOOL_CALL and checked.call is not None:
            given = checked.call.arguments
            texts = scalar_texts(given)
            characters = sum(map(len, texts))
            if not await aside(characters, _any_found, detector, texts):
                return Judgement((verdict_of(detector, checked.stage, []),))
            return await aside(characters + context.characters, _check_arguments, detector, checked, given)
        findings = await aside(len(text), detector.find, text)
        if findings:  # the evidence is searched only for what was found
            findings = await aside(len(text) + context.characters, detector.not_allowed, text, findings, context)
        verdict = await aside(len(findings), verdict_of, detector, checked.stage, findings)
        if detector.action is Action.REDACT and findings:
            return Judgement((verdict,), text=await aside(len(text), redact, text, findings))
        return Judgement((verdict,))

    return check


def detectors_rail(detectors: Sequence[Detector]) -> Rail:
    """Makes a rail for texts from several detectors. All of them search the same text, as in a stream: after one has
    replaced a part of a link, another could not see where it leads."""

    async def check(checked: Checked) -> Judgement:
        text, context = checked.text, checked.context
        verdicts, replaced = [], []
        for detector in detectors:
            findings = await aside(len(text), detector.find, text)
            if findings:
                findings = await aside(len(text) + context.characters, detector.not_allowed, text, findings, context)
            verdicts.append(await aside(len(findings), verdict_of, detector, checked.stage, findings))
            replaced += findings if detector.action is Action.REDACT else []
        return Judgement(tuple(verdicts), text=await aside(len(text), redact, text, replaced) if replaced else None)

    return check


def _any_found(detector: Detector, texts: Iterable[str]) -> bool:
    return any(detector.find(text) for text in texts)


def _check_arguments(detector: Detector, checked: Checked, arguments: dict[str, Any]) -> Judgement:
    found: list[Finding] = []

    def visit(text: str) -> str:
        findings = detector.spans(text, checked.context)
        found.extend(findings)
        return redact(text, findings)

    try:
        clean = map_scalars(arguments, visit)
    except KeysClash:
        reason = "redaction would make two keys in the arguments equal"
        return Judgement((Verdict(action=Action.BLOCK, rail=detector.name, stage=checked.stage, reason=reason),))
    replaced = detector.action is Action.REDACT and bool(found)
    return Judgement((verdict_of(detector, checked.stage, found),), arguments=clean if replaced else None)
