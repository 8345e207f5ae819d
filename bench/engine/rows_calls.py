"""Rows of constrained answers: tool calls, costs of grammars, and drafts of copied text."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import count
from typing import Any

from bench.engine.bench import Bench
from bench.engine.contest import OURS, Measure, Player, Taken, alternate
from bench.engine.rows_decode import TRIAL
from bench.engine.subject import Subject
from bench.engine.workload import MOST_TOKENS, as_tasks, call_requests, copied
from bench.rows import Row

CALLS = 16
ONE_BY_ONE = 4
"""Calls of a round, each alone."""
PEERS = ("llama_cpp", "vllm")


def one_call(bench: Bench) -> list[Row]:
    """The row ``toolcalls_1``: one call at a time with drafts, against llama.cpp with its grammar."""
    subject = bench.dense(slots=1, drafts=True)

    def task(turn: int, most: int = MOST_TOKENS) -> dict[str, Any]:
        requests = call_requests(subject.loaded.name, 1, turn)
        asked = as_tasks(requests, subject.engine.vocabulary, subject.engine.max_context)
        return {"task": "toolcalls", "requests": [{**each, "most": most} for each in asked]}

    def theirs(peer: Player) -> Measure:
        turns = count()
        return lambda: ONE_BY_ONE / sum(float(peer.ask(task(next(turns)))["seconds"]) for _ in range(ONE_BY_ONE))

    def ours() -> Measure:
        turns = count()

        def measure() -> float:
            asked = [call_requests(subject.loaded.name, 1, next(turns)) for _ in range(ONE_BY_ONE)]
            return ONE_BY_ONE / sum(float(subject.calls(each)["seconds"]) for each in asked)

        return measure

    players, lost = bench.players(subject, "llama_cpp", like=task(0, TRIAL))
    measures = {name: theirs(player) for name, player in players.items() if name != OURS}
    taken = alternate({OURS: ours(), **measures}, bench.size.rounds, bench.told, lost)
    return [taken.row("toolcalls_1", "calls/s", "llama_cpp", note=f"one at a time, drafts on; {subject.format}")]


def toolcalls(bench: Bench) -> list[Row]:
    """The row ``toolcalls_16`` against the better peer, and one row against each peer."""
    subject = bench.dense(slots=CALLS)

    def tasks(turn: int, most: int = MOST_TOKENS) -> dict[str, Any]:
        requests = call_requests(subject.loaded.name, CALLS, turn)
        vocabulary, limit = subject.engine.vocabulary, subject.engine.max_context
        asked = as_tasks(requests, vocabulary, limit)
        return {"task": "toolcalls", "requests": [{**each, "most": most} for each in asked]}

    def theirs(peer: Player) -> Measure:
        turns = count()
        return lambda: CALLS / float(peer.ask(tasks(next(turns)))["seconds"])

    players, lost = bench.players(subject, *PEERS, like=tasks(0, TRIAL))
    measures = {name: theirs(player) for name, player in players.items() if name != OURS}
    taken = alternate({OURS: _calls(subject), **measures}, bench.size.rounds, bench.told, lost)
    best = taken.better(*PEERS)
    return [
        taken.row("toolcalls_16", "calls/s", best, note=_missing(taken, best)),
        *(taken.row(f"toolcalls_16_vs_{peer}", "calls/s", peer) for peer in PEERS),
    ]


def _missing(taken: Taken, best: str) -> str | None:
    return "; ".join(f"{name}: {why}" for name, why in taken.lost.items() if name != best) or None


def _calls(subject: Subject) -> Measure:
    turns = count()

    def measure() -> float:
        answer = subject.calls(call_requests(subject.loaded.name, CALLS, next(turns)))
        return CALLS / float(answer["seconds"])

    return measure


def grammar(bench: Bench) -> list[Row]:
    """Rows ``grammar_tokens`` and ``grammar_step``: the same prompts answered with a grammar and freely, at equal
    length."""
    subject = bench.dense(slots=CALLS)
    milliseconds: dict[str, list[float]] = {"grammar": [], "free": []}
    lengths: list[float] = []

    def constrained() -> float:
        answer = subject.calls(call_requests(subject.loaded.name, CALLS, len(milliseconds["grammar"])))
        lengths.append(answer["tokens"] / CALLS)
        milliseconds["grammar"].append(1e3 * answer["seconds"] / answer["steps"])
        return float(answer["tokens"] / answer["seconds"])

    def free() -> float:
        requests = call_requests(subject.loaded.name, CALLS, len(milliseconds["free"]))
        prompts = [task["prompt"] for task in as_tasks(requests, subject.engine.vocabulary, subject.engine.max_context)]
        answer = subject.free(prompts, math.ceil(sum(lengths) / len(lengths)) if lengths else MOST_TOKENS)
        milliseconds["free"].append(1e3 * answer["seconds"] / answer["steps"])
        return float(answer["tokens"] / answer["seconds"])

    taken = alternate({"free": free, "grammar": constrained}, bench.size.rounds, bench.told)
    steps = Taken({name: values[1:] for name, values in milliseconds.items()})
    note = f"{CALLS} tool calls at once, beside free text of the same prompts and length"
    return [
        taken.row("grammar_tokens", "tok/s", "free", ours="grammar", shown="free text", note=note),
        steps.row(
            "grammar_step", "ms", "free", ours="grammar", shown="free text", higher_is_better=False,
            note="a step, prompts included",
        ),
    ]  # fmt: skip


def speculation(bench: Bench) -> list[Row]:
    """The row ``speculation``: one stream of text that copies the prompt, with and without drafts."""
    drafting, plain = bench.dense(slots=1, drafts=True), bench.dense(slots=1)

    def measure(subject: Subject) -> Callable[[], float]:
        turns = count()

        def run() -> float:
            answer = subject.free([copied(subject.loaded.tokenizer, next(turns))], 2 * bench.size.new_tokens)
            return float(answer["tokens"] / answer["decode_seconds"])

        return run

    taken = alternate({"drafts": measure(drafting), "plain": measure(plain)}, bench.size.rounds, bench.told)
    note = "greedy answers that go on with a list from the prompt"
    return [taken.row("speculation", "tok/s", "plain", ours="drafts", shown="no drafts", note=note)]
