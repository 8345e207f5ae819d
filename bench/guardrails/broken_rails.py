"""Guards in which one rail fails, or misses something that it needs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from unittest.mock import patch

from agent.config import Settings
from agent.serve.moderation import make_moderate
from flightloop.verdicts import Stage
from guardrails import combinators
from guardrails.compile import RailDependencies, compile_stage, detectors
from guardrails.finders.pattern import Finding
from guardrails.guard import Guard
from guardrails.placeholder_policy import PlaceholderPolicy
from guardrails.policy import Policy, policy_of, unasked, unhurried
from guardrails.policy_document import STREAMABLE, Constitution, Stages
from guardrails.rail_entries import ModerationEntry
from guardrails.rails.code import ScannedCode
from guardrails.types import Checked, Judgement, Rail

LIMIT_MS = 250
"""Time limit of a stage in which a rail hangs."""
CLOSED = "http://127.0.0.1:9/v1/moderations"
"""Endpoint that nobody serves."""
CONTENT = {"rail": "content", "block_at": 0.99, "judge_from": 0.0}
TEXTS: tuple[dict[str, Any], ...] = (
    {"rail": "normalise"},
    {"rail": "secrets"},
    {"rail": "pii", "kinds": ["iban", "person"]},
    {"rail": "terms", "terms": ["swordfish"]},
    {"rail": "links", "keep": ["user", "results"]},
    {"rail": "injection", "block_at": 0.99},
    CONTENT,
    {"rail": "code_scan"},
    {"rail": "moderation", "url": CLOSED},
)
CALLS = tuple(one for one in TEXTS if one["rail"] in ("secrets", "pii", "terms", "code_scan", "moderation"))
LISTED: dict[Stage, Sequence[dict[str, Any]]] = {
    Stage.INPUT: TEXTS,
    Stage.PLAN: TEXTS,
    Stage.TOOL_CALL: CALLS,
    Stage.TOOL_RESULT: TEXTS,
    Stage.STREAM: [one for one in TEXTS if one["rail"] in STREAMABLE],
    Stage.FINAL: (*TEXTS, {"rail": "invented_times"}, {"rail": "groundedness", "minimum": 0.5}),
}
"""Every rail that comes with the platform, by stage."""


class Injected(Exception):
    """The failure of a rail that is measured."""


@dataclass
class Fault:
    """One failure. ``met``: how often a run came to it."""

    stage: Stage
    where: str
    kind: str
    met: int = 0

    def __str__(self) -> str:
        return f"{self.where} at {self.stage.value}: {self.kind}"

    def meet(self) -> None:
        self.met += 1


async def raises(checked: Checked) -> Any:
    raise Injected("this rail is broken")


async def hangs(checked: Checked) -> Any:
    await asyncio.Event().wait()


async def stalls(checked: Checked) -> Any:
    time.sleep(1.5 * LIMIT_MS / 1000)  # noqa: ASYNC251 (it is to hold the event loop)
    return Judgement()


async def decides_nothing(checked: Checked) -> Any:
    return None


MISSING = "missing"
FAILURES: dict[str, Rail] = {"raises": raises, "hangs": hangs, "stalls": stalls, "decides nothing": decides_nothing}


def every_rail(policy: Policy) -> Policy:
    """The policy with every rail at every stage that takes it, the constitution and placeholders."""
    policy = unasked(policy)  # nobody says yes, and a question would keep the model from going on
    changed = {
        "stages": Stages.model_validate({stage.value: {"rails": rails} for stage, rails in LISTED.items()}),
        "constitution": Constitution(enabled=True, principles=("The answer is polite.",)),
        "placeholders": PlaceholderPolicy(kinds=("iban",)),
    }
    return policy_of(policy.document.model_copy(update=changed))


async def judge(prompt: str) -> str:
    """A judge that objects to nothing."""
    return "OK" if prompt.startswith("Principles") else "NO"


async def moderate(entry: Any, text: str) -> dict[str, float]:
    """An endpoint that finds nothing."""
    return {"flagged": 0.0}


def scan(source: str, language: str) -> ScannedCode:
    """A scanner that finds nothing."""
    return ScannedCode()


WORKING = RailDependencies(judge, scan, moderate)


def guard_of(policy: Policy, rails: dict[Stage, Rail] | None = None) -> Guard:
    """A guard with services that find nothing, and with other rails at some stages."""
    return Guard(policy, WORKING.judge, rails=rails, code_scan=WORKING.code_scan, moderate=WORKING.moderate)


def faults(policy: Policy) -> Iterator[Fault]:
    """Every failure of every rail, and everything that can be missing, at every stage that has it."""
    for stage in Stage:
        if stage is Stage.STREAM:
            yield from (Fault(stage, one.name, "raises") for one in detectors(policy.document)[0])
            continue
        for name in dict.fromkeys(_rails_of(policy, stage)):
            yield from (Fault(stage, name, kind) for kind in FAILURES)
        yield from (Fault(stage, what, MISSING) for what, (stages, _) in LACKS.items() if stage in stages)


def broken(policy: Policy, fault: Fault) -> Guard:
    """A guard with one failure."""
    if fault.stage is Stage.STREAM:
        return _failing_stream(policy, fault)
    hurried = _limited(policy, fault.stage)
    if fault.kind == MISSING:
        lack = LACKS[fault.where][1]
        return guard_of(hurried, {fault.stage: lack(fault, partial(_compiled, hurried, fault.stage))})

    async def failing(checked: Checked) -> Any:
        fault.meet()
        return await FAILURES[fault.kind](checked)

    def named(name: str, made: Rail, **settings: Any) -> Rail:
        return combinators.named(name, failing if name == fault.where else made, **settings)

    with patch("guardrails.compile.named", named):
        rail = _compiled(hurried, fault.stage, WORKING)
    return guard_of(hurried, {fault.stage: rail})


def _compiled(policy: Policy, stage: Stage, services: RailDependencies) -> Rail:
    return compile_stage(policy, stage, services, time.perf_counter)


def _rails_of(policy: Policy, stage: Stage) -> list[str]:
    names: list[str] = []

    def noted(name: str, rail: Rail, **settings: Any) -> Rail:
        names.append(name)
        return combinators.named(name, rail, **settings)

    with patch("guardrails.compile.named", noted):
        _compiled(policy, stage, WORKING)
    return names


def _limited(policy: Policy, stage: Stage) -> Policy:
    """The policy with a short time limit at one stage, and a long one at the others."""
    document = unhurried(policy).document
    limited = document.stages.of(stage).model_copy(update={"timeout_ms": LIMIT_MS})
    stages = document.stages.model_copy(update={stage.value: limited})
    return policy_of(document.model_copy(update={"stages": stages}))


def _failing_stream(policy: Policy, fault: Fault) -> Guard:
    """A guard whose detector ``fault.where`` raises when it reads a stream."""

    class Failing:
        def find(self, text: str, start: int = 0, before: int | None = None) -> list[Finding]:
            fault.meet()
            raise Injected("this detector is broken")

        def live(self, text: str, start: int = 0) -> int:
            return len(text)

    found, strip = detectors(policy.document)
    held = [replace(one, finder=Failing()) if one.name == fault.where else one for one in found]
    with patch("guardrails.guard.detectors", lambda document: (held, strip)):
        return guard_of(unhurried(policy))


Compile = Callable[[RailDependencies], Rail]
Lack = Callable[[Fault, Compile], Rail]
"""Makes a stage's rail that misses something; tells the fault when a run comes to it."""


def _without_service(name: str) -> Lack:
    def lack(fault: Fault, compiled: Compile) -> Rail:
        rail = compiled(replace(WORKING, **{name: None}))

        async def check(checked: Checked) -> Judgement:
            fault.meet()
            return await rail(checked)

        return check

    return lack


def _failing_service(name: str) -> Lack:
    def lack(fault: Fault, compiled: Compile) -> Rail:
        async def failing(*given: Any) -> Any:
            fault.meet()
            raise Injected("no answer")

        service: Any = {name: failing}
        return compiled(replace(WORKING, **service))

    return lack


def _closed_endpoint(fault: Fault, compiled: Compile) -> Rail:
    client = make_moderate(Settings())

    async def asked(entry: ModerationEntry, text: str) -> Mapping[str, float]:
        fault.meet()
        return await client(entry, text)

    return compiled(replace(WORKING, moderate=asked))


def _without_weights(loader: str) -> Lack:
    def lack(fault: Fault, compiled: Compile) -> Rail:
        rail = compiled(WORKING)

        def missing(*given: Any) -> Any:
            fault.meet()
            raise FileNotFoundError("no such file of weights")

        async def check(checked: Checked) -> Judgement:
            with patch(loader, missing):
                return await rail(checked)

        return check

    return lack


def _without_reader(name: str) -> Lack:
    """The run's context can't read what rails ask it for, such as evidence."""

    def lack(fault: Fault, compiled: Compile) -> Rail:
        rail = compiled(WORKING)

        async def failing(*given: Any, **named: Any) -> Any:
            fault.meet()
            raise Injected("the database is away")

        async def check(checked: Checked) -> Judgement:
            reader: Any = {name: failing}
            return await rail(replace(checked, context=replace(checked.context, **reader)))

        return check

    return lack


_TEXT_STAGES = (Stage.INPUT, Stage.PLAN, Stage.TOOL_RESULT, Stage.FINAL)
_ALL = (*_TEXT_STAGES, Stage.TOOL_CALL)
LACKS: dict[str, tuple[Sequence[Stage], Lack]] = {
    "judge": (_TEXT_STAGES, _without_service("judge")),
    "answer of the judge": (_TEXT_STAGES, _failing_service("judge")),
    "code scanner": (_ALL, _without_service("code_scan")),
    "moderation client": (_ALL, _without_service("moderate")),
    "moderation endpoint": (_ALL, _closed_endpoint),
    "weights of the classifier": (_TEXT_STAGES, _without_weights("guardrails.rails.content.load_content_model")),
    "weights of the tagger": (_ALL, _without_weights("guardrails.finders.personal.load_tagger")),
    "evidence about objects": ((Stage.TOOL_CALL, Stage.TOOL_RESULT), _without_reader("look_up")),
    "the session's past": ((Stage.TOOL_CALL,), _without_reader("past")),
    "sums of limits": ((Stage.TOOL_CALL,), _without_reader("used")),
    "facts": ((Stage.FINAL,), _without_reader("facts")),
}
"""What can be missing, and the stages that need it."""
