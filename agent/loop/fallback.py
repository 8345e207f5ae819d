"""What comes in place of a refusal: a look-up before it, an offer after it, and a person for who asks for one."""

from __future__ import annotations

from collections.abc import Collection, Set
from dataclasses import dataclass

from agent.loop.gate import Gate
from agent.loop.overview import overview
from agent.loop.person_wanted import wants_person
from agent.loop.refusal import (
    NOTHING_READ,
    UNSURE,
    bare_refusal,
    done_by,
    is_told_by,
    refused_in,
    refuses,
    without_denials,
)
from agent.loop.run_dependencies import RunDependencies
from agent.loop.tool_results import is_dropped
from agent.run.history import History, result_text
from flightloop.events import CallsDecided
from guardrails.evidence.agreed import agrees


@dataclass(frozen=True)
class Fallback:
    """What is left to do in a run whose model refuses.

    Attributes:
        tools: names of the tools that the model may call now.
    """

    deps: RunDependencies
    gate: Gate
    history: History
    tools: Set[str]

    @property
    def refusal(self) -> str | None:
        """The refusal that the agent's look-up came before."""
        decided = (turn.decision for turn in self.history.turns)
        refused = (one for one in decided if isinstance(one, CallsDecided) and one.problem == NOTHING_READ)
        return next((one.text for one in refused), None)

    def looks_up_first(self, answer: str) -> bool:
        """Whether the agent's look-up comes before this answer, a refusal in a run without any call."""
        return self.deps.agent.before_refusing in self.tools and not self.history.results and refuses(answer)

    @property
    def overview_due(self) -> bool:
        """Whether the agent's `overview` comes before an answer in place of a call of which the model is unsure: such a
        call may lack nothing but a number that it shows."""
        return self._overview is not None and not self.history.results

    def due(self, *, refused: bool, unsure: bool) -> str | None:
        """Name of the tool that is called next whatever the model thinks: a look-up in place of a refusal or of a call
        that was too unsure, or the one that gives the case to a person, if the user asks for one or has just said yes
        to the offer of one.

        Args:
            refused: whether the model has just refused without having looked anything up.
            unsure: whether it was unsure of a call without having looked anything up.
        """
        wanted: tuple[str | None, ...]
        if refused:
            wanted = (self.deps.agent.before_refusing,)
        elif unsure or self._then:
            wanted = (self._then or self._overview,)
        elif not self.history.results and (self._asks_for_person() or self._accepts_offer()):
            wanted = self.deps.agent.escalation
        else:
            return None
        return next((name for name in wanted if name in self.tools), None)

    @property
    def after_overview(self) -> bool:
        """Whether the overview was called just now because the model was unsure, or made something up."""
        *_, before, last = (None, None, *self.history.turns)
        if before is None or last is None or not last.calls:
            return False
        unsure = isinstance(before.decision, CallsDecided) and before.decision.problem == UNSURE
        return unsure or any(is_dropped(state.result) for state in before.calls)

    @property
    def _then(self) -> str | None:
        """What comes after a call that has just been held back: the overview, or the call again."""
        last = self.history.turns[-1].calls if self.history.turns else ()
        return next((state.result.then for state in last if state.result and state.result.then), None)

    @property
    def held_confidence(self) -> list[float | None]:
        """How sure the model was of the calls that have just been held back, to be made again."""
        last = self.history.turns[-1].calls if self.history.turns else ()
        return [state.confidence for state in last if state.result and state.result.then == state.result.tool]

    @property
    def _overview(self) -> str | None:
        return overview(self.deps.hosts.registry, self.tools)

    def denies(self, answer: str) -> bool:
        """Whether an answer refuses right after the case was given to a person."""
        results = self.history.results
        given = bool(results) and results[-1].ok and results[-1].tool in self.deps.agent.escalation
        return given and refuses(answer)

    async def concluded(self, answer: str) -> tuple[str, str]:
        """An answer as the user reads it, and what is added to it, with the blank before it.

        A refusal is wrong if the case was just given to a person: the agent's notice stands in its place. To another
        one is added what the run has done all the same, in place of the sentences that deny it; else, if it only
        refuses or no look-up changed it, the offer.
        """
        text = self._or_refusal(answer)
        language, done = refused_in(text), self._done()
        if language is None:
            return text, ""
        if self.denies(text):
            notice = self.deps.agent.escalation_notice.get(language)
            others = self._done(self.deps.agent.escalation if notice else ())
            return "\n".join(filter(None, [notice, others])) or text, ""
        if done:
            left = without_denials(text, self._done_throughout)
            # What was on both sides of a sentence that is left out may be a link or a number together.
            harmless = left == text or (await self.gate.shows(left)).text == left
            return (left, f"\n{done}") if left and harmless else (done, "")
        lasting = text == self.refusal or bare_refusal(text)
        offer = self.deps.agent.refusal_offer.get(language) if lasting else None
        return text, f" {offer}" if offer else ""

    def _or_refusal(self, answer: str) -> str:
        """An answer after a look-up in place of a refusal; the refusal itself if nothing else was called and the answer
        does not come from what was read."""
        results, refusal = self.history.results, self.refusal
        if refusal is None or any(result.tool != self.deps.agent.before_refusing for result in results):
            return answer
        read = (result_text(result) for result in results if result.ok)
        return answer if is_told_by(answer, [self.gate.words, *read]) else refusal

    def _done(self, besides: Collection[str] = ()) -> str:
        """What the run has done, but for calls of the tools in ``besides``."""
        return done_by((one for one in self.history.results if one.tool not in besides), self.deps.hosts.registry)

    @property
    def has_done(self) -> bool:
        """Whether the run has changed something."""
        return bool(self._done())

    @property
    def _done_throughout(self) -> Set[str]:
        """Names of the tools whose calls have all changed what they were to change."""
        results = self.history.results
        return {one.tool for one in results if one.ok} - {one.tool for one in results if not one.ok}

    def _asks_for_person(self) -> bool:
        return self.gate.latest is not None and wants_person(self.gate.latest.text)

    def _accepts_offer(self) -> bool:
        latest, offers = self.gate.latest, tuple(self.deps.agent.refusal_offer.values())
        return latest is not None and agrees(latest.text) and latest.after.rstrip().endswith(offers)
