"""Sends cases to a model, and the model's answers to the judge."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

from bench.tools.asking import Answer, AskFailed, Message, Model
from bench.tools.categories import Kind
from bench.tools.checker import Case, Checker, Verdict


@dataclass(frozen=True)
class Played:
    """Outcome of a case.

    Attributes:
        case: the case.
        right: verdict of the leaderboard's checker; False if a request failed.
        why: description of the error; empty if the case is right.
        failure: kind of a request's failure (`bench.tools.asking.AskFailed`); None if all were answered.
        turns: answers of each turn.
        seconds: time from the first request to the verdict.
    """

    case: Case
    right: bool
    why: str
    failure: str | None
    turns: tuple[tuple[Answer, ...], ...]
    seconds: float

    @property
    def answers(self) -> list[Answer]:
        return [answer for turn in self.turns for answer in turn]


def play_all(model: Model, checker: Checker, cases: Sequence[Case], at_once: int) -> Iterator[Played]:
    """Plays cases, ``at_once`` at a time, and yields each when it is finished."""
    with ThreadPoolExecutor(at_once, thread_name_prefix="case") as pool:
        futures = [pool.submit(play, model, checker, case) for case in cases]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def play(model: Model, checker: Checker, case: Case) -> Played:
    """Plays one case.

    Raises:
        PeerError: the judge failed.
    """
    began = time.perf_counter()
    turns: list[list[Answer]] = []
    talk: Callable[[Model, Checker, Case, list[list[Answer]]], Verdict]
    talk = _converse if case.category.kind is Kind.TURNS else _answer_once
    failure = None
    try:
        verdict = talk(model, checker, case, turns)
    except AskFailed as error:
        failure, verdict = error.kind, Verdict(False, str(error))
    seconds = time.perf_counter() - began
    return Played(case, verdict.right, verdict.why, failure, tuple(map(tuple, turns)), seconds)


def _answer_once(model: Model, checker: Checker, case: Case, turns: list[list[Answer]]) -> Verdict:
    [messages] = case.turns
    answer = model.ask(messages, case.tools)
    turns.append([answer])
    return checker.judge(case, answer)


def _converse(model: Model, checker: Checker, case: Case, turns: list[list[Answer]]) -> Verdict:
    """Plays a conversation. A turn ends with the first answer without calls; too many steps end the conversation."""
    messages: list[Message] = []
    checker.begin(case)
    for opening in case.turns:
        messages += opening
        turns.append([])
        while len(turns[-1]) <= checker.most_steps:
            answer = model.ask(messages, case.tools)
            turns[-1].append(answer)
            messages.append(answer.message())
            results = checker.perform(case, answer.calls) if answer.calls else []
            if not results:
                break
            messages += [
                {"role": "tool", "tool_call_id": call.id, "content": result}
                for call, result in zip(answer.calls, results, strict=True)
            ]
        else:
            break
    return checker.judge_turns(case, turns)
