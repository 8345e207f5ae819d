"""Releases streamed text only when nothing in it can still become part of a finding.

However the text is cut into pieces, the output equals what the same detectors make of the whole
text. No character of a redacted or blocked span is ever released. A detector that fails blocks the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flightloop.verdicts import Action, Span, Stage, Verdict
from guardrails.combinators import FAIL_CLOSED
from guardrails.finders.pattern import Finding, merged, placeholder
from guardrails.rails.detector import MOST_SPANS, Detector, found_reason
from guardrails.text.normalise import Visible
from guardrails.types import GuardContext, Ruling, severest

OFTEN = 256
"""Up to this many open characters are searched again with each piece."""


class StreamBlocked(Exception):
    """A detector blocks the stream. ``before``: the text up to the finding, the last that may be released."""

    def __init__(self, ruling: Ruling, before: str = "") -> None:
        super().__init__(ruling.reason)
        self.ruling = ruling
        self.before = before


class HoldBack:
    """Stream filter: takes text by ``push`` and ends with ``finish``; both return text that may be shown.

    Args:
        held: release nothing before ``finish``.
        strip: remove invisible characters first.
    """

    def __init__(
        self,
        detectors: Sequence[Detector],
        context: GuardContext,
        *,
        held: bool = False,
        strip: bool = True,
        policy_sha256: str = "",
    ) -> None:
        self._detectors = detectors
        self._keep = [detector.filter_for(context) for detector in detectors]
        self._context = context
        self._held = held
        self._visible: Callable[[str], str] = Visible().push if strip else str
        self._sha256 = policy_sha256
        self._text = ""
        self._released = 0  # characters before this position are released
        self._judged = [0] * len(detectors)  # by detector: all findings that begin before this position are known
        self._open: list[tuple[Detector, Finding]] = []
        """Findings that are known but not settled yet."""
        self._live, self._due = [0] * len(detectors), [0] * len(detectors)
        self._hits: list[tuple[Detector, Finding]] = []
        self._blocked: StreamBlocked | None = None
        self._failure: Verdict | None = None

    def push(self, text: str) -> str:
        """Takes the next piece and returns the text that is settled.

        Raises:
            StreamBlocked: a blocking finding is settled, or a detector failed. Every later call raises it too.
        """
        if self._blocked:
            raise self._blocked
        self._text += self._visible(text)
        if self._held:
            return ""
        length = len(self._text)
        try:
            for index, detector in enumerate(self._detectors):
                if length >= self._due[index]:
                    self._live[index] = live = detector.finder.live(self._text, self._live[index])
                    # Open text is searched again after it grew by a quarter: searching all of it with each piece is
                    # quadratic.
                    self._due[index] = length + (length - live) // 4 if length - live > OFTEN else 0
            return self._release(self._live)
        except StreamBlocked:
            raise
        except Exception as error:
            raise self._failed(error) from error

    def finish(self) -> str:
        """Ends the text and returns the rest.

        Raises:
            StreamBlocked: as ``push``.
        """
        if self._blocked:
            raise self._blocked
        try:
            return self._release([len(self._text)] * len(self._detectors))
        except StreamBlocked:
            raise
        except Exception as error:
            raise self._failed(error) from error

    @property
    def holding(self) -> int:
        """Number of characters that were received but not yet released."""
        return len(self._text) - self._released

    def ruling(self) -> Ruling:
        """The ruling on the text that is settled so far. Spans refer to the stripped text.

        An answer without text, which consists only of calls, gets no verdicts.
        """
        verdicts = tuple(self._verdict(detector) for detector in self._detectors) if self._text else ()
        verdicts += (self._failure,) if self._failure else ()
        action = severest(verdict.action for verdict in verdicts)
        reason = "; ".join(verdict.reason for verdict in verdicts if verdict.action is action and verdict.reason)
        return Ruling(action, "", None, verdicts, reason, self._context.tainted)

    def _failed(self, error: Exception) -> StreamBlocked:
        """Ends the stream: what a detector has not read must not be released."""
        reason = f"failed: {type(error).__name__}: {error}"
        self._failure = Verdict(
            action=Action.BLOCK,
            rail="stage",
            stage=Stage.STREAM,
            reason=reason,
            labels=[FAIL_CLOSED],
            policy_sha256=self._sha256,
        )
        self._blocked = StreamBlocked(self.ruling())
        return self._blocked

    def _release(self, final: Sequence[int]) -> str:
        # What begins before a detector's position is final for it, so each beginning is searched once.
        for index, (detector, keep) in enumerate(zip(self._detectors, self._keep, strict=True)):
            if final[index] > self._judged[index]:
                if candidates := detector.finder.find(self._text, self._judged[index], final[index]):
                    self._open += [(detector, finding) for finding in keep(self._text, candidates)]
                self._judged[index] = final[index]
        boundary = min(final, default=len(self._text))
        if not self._open:  # by far the most frequent case
            shown, self._released = self._text[self._released : boundary], boundary
            return shown
        # A finding across the boundary moves the boundary to its beginning, where it may meet another finding.
        for _, finding in sorted(self._open, key=lambda item: -item[1].end):
            if finding.start < boundary < finding.end:
                boundary = finding.start
        settled = [(detector, finding) for detector, finding in self._open if finding.end <= boundary]
        self._open = [(detector, finding) for detector, finding in self._open if finding.end > boundary]
        self._hits += settled
        blocking = [finding.start for detector, finding in settled if detector.action is Action.BLOCK]
        redacted = [finding for detector, finding in settled if detector.action is Action.REDACT]
        if blocking:
            before = "" if self._held else self._shown_before(min(blocking), redacted)
            self._blocked = StreamBlocked(self.ruling())
            raise StreamBlocked(self._blocked.ruling, before)
        shown = self._shown(redacted, boundary)
        self._released = boundary
        return shown

    def _shown_before(self, boundary: int, redacted: list[Finding]) -> str:
        for finding in sorted(redacted, key=lambda finding: -finding.end):
            if finding.start < boundary < finding.end:
                boundary = finding.start
        return self._shown([finding for finding in redacted if finding.end <= boundary], boundary)

    def _shown(self, findings: list[Finding], boundary: int) -> str:
        pieces, at = [], self._released
        for finding in merged(findings):
            pieces += [self._text[at : finding.start], placeholder(finding)]
            at = finding.end
        return "".join([*pieces, self._text[at:boundary]])

    def _verdict(self, detector: Detector) -> Verdict:
        found = sorted(finding for owner, finding in self._hits if owner is detector)
        labels = sorted({finding.label for finding in found})
        return Verdict(
            action=detector.action if found else Action.ALLOW,
            rail=detector.name,
            stage=Stage.STREAM,
            reason=found_reason(labels, len(found)),
            spans=[Span(start=item.start, end=item.end, label=item.label) for item in found[:MOST_SPANS]],
            labels=labels,
            policy_sha256=self._sha256,
        )
