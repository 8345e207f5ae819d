"""The engine: schedule, run, sample, commit. A single thread drives it, without locks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from flightloop.chat import Tags
from flightloop.errors import ContextTooLong, Interrupted, InvalidRequest, Overloaded
from model.config import ModelConfig
from model.engine.block_groups import block_groups
from model.engine.generation import Generation
from model.engine.local import local_runner
from model.engine.masks import MaskWriter
from model.engine.recorder import Recorder
from model.engine.request import RANKS, EngineLoad, EngineOutput, EngineRequest, SampledToken
from model.engine.runner import Runner, step_batch
from model.engine.sampler import Chooser, choose, sample
from model.engine.scheduler import Scheduler, Slice
from model.engine.sequence import Sequence
from model.engine.vocabulary import Vocabulary
from model.native.runner import NativeRunner
from model.weights.loaded import LoadedModel
from observability.metrics import Metrics

RECORD_INTERVAL_S = 0.05
"""Longest age of the load figures while the engine is busy."""

_Drawn = tuple[Generation, tuple[int, ...]]
"""A request whose next token a step samples, and the drafts that the step verifies."""


class StopSignal(Protocol):
    """Interface of the emergency stop that the engine polls."""

    def poll(self) -> None:
        """Reads the state of the stop. Called once per step for all sequences, so it must be cheap."""
        ...

    def epoch(self) -> int:
        """Number of the newest known interrupt."""
        ...

    def stopped(self, tags: Tags, admitted_epoch: int) -> bool:
        """Whether a request with these tags, admitted at that epoch, must end now."""
        ...


class Engine:
    """Serves many requests at a time on one model.

    Args:
        loaded: the model. Its decoder runs here unless a ``runner`` is given.
        config: slots, blocks, longest context, and limits of steps and queue.
        stop: emergency stop, polled once per step.
        metrics: metrics of this process.
        runner: computes the steps instead of this process (a sharded model).
        clock: returns a monotonic time in seconds.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        config: ModelConfig,
        stop: StopSignal,
        metrics: Metrics,
        *,
        runner: Runner | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.max_context = min(config.max_context, loaded.config.max_positions)
        self.vocabulary = Vocabulary(loaded.tokenizer, loaded.config.vocab, loaded.chat)
        self._runner = runner or local_runner(loaded, config)
        self._scheduler = Scheduler(
            block_groups(loaded.config, config),
            config.slots,
            max(config.step_tokens, config.slots),
            config.draft_tokens,
        )
        self._masks = MaskWriter(self.vocabulary.size)
        self._choose: Chooser = self._runner.choose if isinstance(self._runner, NativeRunner) else choose
        self._stop = stop
        self._recorder = Recorder(metrics, loaded.name)
        self._queue_limit = config.queue
        self._clock = clock
        self._generations: dict[str, Generation] = {}
        self._arrivals = 0
        self._service_seconds = 1.0  # from a request's first step to its end, smoothed
        self._next_record = 0.0

    @property
    def has_work(self) -> bool:
        return bool(self._generations)

    def add(self, request: EngineRequest) -> None:
        """Queues a request. ``step`` returns its outputs.

        Raises:
            Overloaded: the queue is full; ``retry_after`` is set.
            ContextTooLong: the prompt leaves no room for an answer.
            Interrupted: an emergency stop covers the request's tags.
            InvalidRequest: an empty prompt, an id in use, or a grammar that can't be compiled.
        """
        try:
            self._check(request)
            epoch = self._admission_epoch(request)
            sequence = Sequence(request, self._arrivals, epoch)
            generation = Generation(sequence, self.vocabulary, self.max_context, self._clock())
        except Exception:
            self._recorder.rejected()
            raise
        self._arrivals += 1
        self._generations[request.id] = generation
        self._scheduler.add(sequence)

    def cancel(self, request_id: str) -> None:
        """Ends a request without further output and frees its blocks at once. Ignores unknown ids."""
        generation = self._generations.get(request_id)
        if generation is not None:
            self._end(generation, "cancelled")
            self._record()

    def step(self) -> list[EngineOutput]:
        """Advances every running request: by a chunk of its prompt, a token, or more if drafts were accepted."""
        outputs = self._interrupted()
        slices = self._scheduler.schedule(self._guess)
        if slices:
            drawn = self._admitted(slices)
            masks = self._masks.begin(drawn)
            logits = self._runner.run(step_batch(slices))
            draws = [generation.draw for generation, drafts in drawn for _ in range(1 + len(drafts))]
            outputs += self._commit(slices, drawn, sample(logits, draws, masks(), self._choose))
        self._record()
        return outputs

    def load(self) -> EngineLoad:
        running, pool = self._scheduler.running, self._scheduler.pool
        held = sum(len(sequence.blocks) for sequence in running) * pool.block_size
        filled = sum(sequence.computed for sequence in running)
        return EngineLoad(
            slots=self._scheduler.slots,
            running=len(running),
            waiting=len(self._scheduler.waiting),
            kv_used_ratio=pool.used_ratio(),
            kv_fragmentation_ratio=1 - filled / held if held else 0.0,
        )

    def check_integrity(self) -> None:
        """Raises AssertionError if requests, sequences and blocks disagree."""
        self._scheduler.check_integrity()
        known = {each.request.id for each in [*self._scheduler.running, *self._scheduler.waiting]}
        assert known == set(self._generations), "a request is lost or served without being known"

    def _check(self, request: EngineRequest) -> None:
        if request.id in self._generations:
            raise InvalidRequest(f"request id {request.id!r} is in use", param="id")
        if not request.prompt:
            raise InvalidRequest("the prompt is empty", param="messages")
        if len(request.prompt) >= self.max_context:
            given = f"the conversation has {len(request.prompt)} and leaves no room for an answer"
            raise ContextTooLong.of(self.max_context, given)
        rank = RANKS[request.priority]
        ahead = sum(waiting.rank[0] <= rank for waiting in self._scheduler.waiting)
        if ahead >= self._queue_limit:
            seconds = max(1.0, round(self._service_seconds * ahead / self._scheduler.slots, 1))
            raise Overloaded(f"{ahead} requests are waiting; the limit is {self._queue_limit}", retry_after=seconds)

    def _admission_epoch(self, request: EngineRequest) -> int:
        self._stop.poll()
        epoch = self._stop.epoch() if request.epoch is None else request.epoch
        if self._stop.stopped(request.tags, epoch):
            raise Interrupted("an emergency stop is in force; requests are refused until it is cleared")
        return epoch

    def _interrupted(self) -> list[EngineOutput]:
        self._stop.poll()
        stopped = [
            generation
            for generation in self._generations.values()
            if self._stop.stopped(generation.sequence.request.tags, generation.sequence.epoch)
        ]
        for generation in stopped:
            self._end(generation, "interrupted")
        return [generation.abort(self._clock(), interrupted=True) for generation in stopped]

    def _guess(self, sequence: Sequence, most: int) -> list[int]:
        return self._generations[sequence.request.id].guess(most)

    def _admitted(self, slices: list[Slice]) -> list[_Drawn]:
        """Marks requests that run for the first time; returns those whose next tokens the step samples."""
        now = self._clock()
        drawn = []
        for each in slices:
            generation = self._generations[each.sequence.request.id]
            if generation.admitted is None:
                generation.admitted = now
            if each.samples:
                drawn.append((generation, each.drafts))
        return drawn

    def _commit(self, slices: list[Slice], drawn: list[_Drawn], tokens: list[SampledToken]) -> list[EngineOutput]:
        now = self._clock()
        outputs, row = [], 0
        for generation, drafts in drawn:
            rows = tokens[row : row + 1 + len(drafts)]
            row += len(rows)
            outputs.append(generation.abort(now) if generation.error else generation.accept(rows, drafts, now))
        self._scheduler.commit(slices)
        for (generation, _), output in zip(drawn, outputs, strict=True):
            if output.last:
                self._end(generation, output.finish or "error")
        return outputs

    def _end(self, generation: Generation, outcome: str) -> None:
        now = self._clock()
        self._scheduler.remove(generation.sequence)
        del self._generations[generation.sequence.request.id]
        seconds = now - generation.arrived
        if generation.admitted is not None:
            self._service_seconds += 0.2 * (now - generation.admitted - self._service_seconds)
        self._recorder.ended(generation.summary(now), outcome, seconds, generation.sequence.request.trace_id)
        self._recorder.experts(self._runner.expert_tokens())

    def _record(self) -> None:
        now = self._clock()
        if now >= self._next_record or not self.has_work:
            self._next_record = now + RECORD_INTERVAL_S
            self._recorder.load(self.load())
