"""Trails: what the models of a session read and wrote, from the journal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from agent.attachments.shown import MOST_CHARS, readings_shown, tables_in, tables_shown
from agent.loop.attached import image_reads, table_reads
from agent.loop.run_dependencies import Toolbox
from agent.loop.tool_results import is_dropped
from agent.run.history import History, Turn
from agent.run.journal import Journal, all_events
from agent.run.past import ORIGINS, unreported_writes
from flightloop.content import ImagePart, text_of
from flightloop.events import CallsDecided, RunCreated, ToolResult
from flightloop.runs import Origin, Run
from guardrails.rails.groundedness import AGAINST
from guardrails.types import Read, Trail


class GrowingTrail:
    """A run's trail, extended while its history grows.

    Args:
        before: trail of the earlier runs of the session, and of the runs that the run works for.
        run_id: run to name in its reads; None for the checked run.
    """

    def __init__(self, toolbox: Toolbox, before: Trail, run_id: str | None = None) -> None:
        self._toolbox, self._run_id = toolbox, run_id
        self._unread = before.unread
        self._reads = list(before.reads)
        self._written = list(before.written)
        self._decided: dict[str, int] = {}  # not those before: ids of calls are unique in a run only
        self._steps: dict[str, int] = {}
        self._arguments: dict[str, str] = {}
        self._written_by: dict[str, int] = {}
        self._places: dict[str, int] = {}  # of calls in ``_written``
        self._turns = self._results = 0

    def follow(self, history: History) -> Trail:
        """The trail up to the history's end."""
        self._write(history.turns[self._turns :])
        self._turns = len(history.turns)
        for result in history.results[self._results :]:
            self._read(result)
        self._results = len(history.results)
        return Trail(tuple(self._reads), tuple(self._written), dict(self._decided), self._unread)

    def _write(self, turns: Iterable[Turn]) -> None:
        for turn in turns:
            ids = [each.call.id for each in turn.calls]
            self._decided |= dict.fromkeys(ids, len(self._written))
            self._places |= {call_id: len(self._written) + at for at, call_id in enumerate(ids)}
            self._written += [f"{each.call.function.name} {each.call.function.arguments}" for each in turn.calls]
            self._written_by |= dict.fromkeys(ids, len(self._written))
            self._arguments |= {each.call.id: each.call.function.arguments for each in turn.calls}
            self._steps |= dict.fromkeys(ids, turn.decision.step)
            if isinstance(turn.decision, CallsDecided) and AGAINST in (turn.decision.problem or ""):
                # The model is told what the facts say, in the words of documents that anybody may have written.
                self._reads.append(
                    Read(f"facts {len(self._reads)}", "facts", turn.decision.problem, run_id=self._run_id)
                )

    def wrote(self, call_id: str, texts: Sequence[str]) -> None:
        """Adds what a sub-run wrote, as if this run had written it when it called the sub-agent."""
        if texts:
            self._written[self._places[call_id]] += "\n" + "\n".join(texts)

    def _read(self, result: ToolResult) -> None:
        self.wrote(result.call_id, result.wrote)
        if is_dropped(result):
            self._written[self._places[result.call_id]] = ""  # no tool got the guess, so none can repeat it
        spec = self._toolbox.get(result.tool) if result.tool in self._toolbox else None
        # An error may repeat what the model or a person wrote, so no part of it is trusted.
        trusted = spec.trusted_fields if spec is not None and result.ok else ()
        for content, own in ((result.content if result.ok else result.error, trusted), (result.note, ())):
            if content is not None:
                read = Read(
                    key=f"{result.call_id} {len(self._reads)}",
                    tool=result.tool,
                    content=content,
                    trusted=own,
                    strangers=spec is None or spec.returns_untrusted,
                    before=self._written_by.get(result.call_id, len(self._written)),
                    step=self._steps.get(result.call_id),
                    ok=result.ok,
                    run_id=self._run_id,
                    arguments=self._arguments.get(result.call_id, ""),
                )
                self._reads.append(read)


async def trail_before(
    journal: Journal, run: Run, earlier: Sequence[Run], seen: frozenset[str], toolbox: Toolbox
) -> Trail:
    """The trail of other runs: of the session's ``earlier`` ones, and of those that the run works for.

    Args:
        seen: ids of the earlier runs that belong to the conversation. What others have read, such as blocked ones, is
            no record, but an answer after them may tell of it.
    """
    callers = run.parent.callers if run.parent is not None else []
    trail = await _with_origins(Trail(), journal, run.tenant_id, run.origin)
    known = {*seen, *(caller.run_id for caller in callers)}
    working = frozenset([run.id, *known])  # what they wrote is in the trail already, in order
    for run_id in [*(one.id for one in earlier), *(caller.run_id for caller in callers)]:
        events, reads = await all_events(journal, run.tenant_id, run_id), trail.reads
        for created in (event for event in events if isinstance(event, RunCreated)):
            trail = await _with_origins(_with_attached(trail, created, run_id), journal, run.tenant_id, created.origin)
        history = History(run_id, events)
        growing = GrowingTrail(toolbox, trail, run_id)
        growing.follow(history)
        for call_id, texts in (await unreported_writes(journal, run.tenant_id, history, working)).items():
            growing.wrote(call_id, texts)
        trail = growing.follow(history)
        if run_id not in known:
            more = (replace(one, trusted=()) for one in trail.reads[len(reads) :])
            trail = replace(trail, reads=(*reads, *more))
    return trail


def _with_attached(trail: Trail, created: RunCreated, run_id: str) -> Trail:
    """Adds the images and tables that the user gave a run."""
    images = image_reads(readings_shown(created.readings, MOST_CHARS), run_id)
    tables = tables_in(text_of(tables_shown(created.input, MOST_CHARS)))
    return replace(trail, reads=(*trail.reads, *images, *table_reads(tables, run_id)))


async def _with_origins(trail: Trail, journal: Journal, tenant_id: str, origin: Origin | None) -> Trail:
    """Adds what the user gave the run that a fork began as, and so on. The fork may have another input, but its model
    goes on with what the origin's model wrote after reading the origin's."""
    for _ in range(ORIGINS):
        if origin is None:
            return trail
        run_id = origin.run_id
        events = await all_events(journal, tenant_id, run_id)
        created = next(event for event in events if isinstance(event, RunCreated))
        erased = (await journal.get(tenant_id, run_id)).erased_at is not None
        shown = any(isinstance(part, ImagePart) for part in created.input)
        trail = replace(_with_attached(trail, created, run_id), unread=trail.unread or erased or shown)
        origin = created.origin
    return replace(trail, unread=True)
