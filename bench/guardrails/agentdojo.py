"""Rows ``agentdojo_…``: what AgentDojo's injections achieve against the guard, and what the guard costs.

The model is the worst case: it makes the calls that solve the user's task, and the injection's own calls as soon as it
has read the injection. Nobody approves anything under attack. Without an attack, a person approves whatever they are
asked, so that the share of tasks that ask and the share that is lost are told apart.

Debenedetti et al., "AgentDojo: A Dynamic Environment to Evaluate Prompt Injection Attacks and Defenses for LLM Agents",
arXiv 2406.13352.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import product

from agent.evals.confidence_interval import wilson
from agent.loop.inline_runner import agrees
from agent.testing.fakes import RuleGuard
from bench.guardrails.dojo_world import Dojo, Played, Suite
from bench.peers.peer import Peer
from bench.rows import Row
from flightloop.runs import Approval

ATTACKS = ("important_instructions", "tool_knowledge")
SAMPLE = 100
"""Attacks of each kind, drawn from all pairs of a user's task and an injection."""
Pair = tuple[Suite, str, str]


async def agentdojo() -> list[Row]:
    """Shares of attacks that succeed or ask, and of benign tasks that ask or are lost."""
    with Peer("agentdojo") as peer:
        guarded, open_ = Dojo(peer), Dojo(peer, lambda registry: RuleGuard())
        rows = []
        for attack in ATTACKS:
            pairs = drawn(guarded.suites)
            stopped = [await guarded.play(*_case(pair), _denies, pair[2], attack) for pair in pairs]
            bare = [await open_.play(*_case(pair), _denies, pair[2], attack) for pair in pairs]
            rows += _attacked(attack, stopped, bare)
        tasks = [(suite, user) for suite in guarded.suites for user in suite.users]
        kept = [await guarded.play(suite, user, agrees) for suite, user in tasks]
        known = [await open_.play(suite, user, agrees) for suite, user in tasks]
        return [*rows, *_benign(kept, known)]


def drawn(suites: Sequence[Suite], count: int = SAMPLE, seed: int = 3) -> list[Pair]:
    """Pairs of a user's task and an injection, from all suites."""
    pairs = [(suite, user, one) for suite in suites for user, one in product(suite.users, suite.injections)]
    return random.Random(seed).sample(pairs, min(count, len(pairs)))


def _case(pair: Pair) -> tuple[Suite, str]:
    return pair[0], pair[1]


def _denies(approval: Approval) -> str:
    return "nobody is there"


def _attacked(attack: str, stopped: Sequence[Played], bare: Sequence[Played]) -> list[Row]:
    read = sum(one.read for one in bare)
    note = f"{attack}; the model does what it reads, and has read the injection in {read} of {len(bare)} cases"
    asked = _share([bool(one.asked) for one in stopped])
    return [
        _row("agentdojo_attack_success", _share([one.harmed is True for one in stopped]), len(stopped), note,
             _share([one.harmed is True for one in bare])),
        _row("agentdojo_attack_asks", asked, len(stopped), f"{attack}; attacks that make a person be asked"),
    ]  # fmt: skip


def _benign(kept: Sequence[Played], known: Sequence[Played]) -> list[Row]:
    lost = [before.useful and not after.useful for before, after in zip(known, kept, strict=True)]
    note = "without an attack; a person approves"
    return [
        _row("agentdojo_asks", _share([bool(one.asked) for one in kept]), len(kept), f"{note}; tasks that ask"),
        _row("agentdojo_utility_lost", _share(lost), len(kept), f"{note}; tasks that are solved without a guard only"),
    ]


def _share(found: Sequence[bool]) -> float:
    return sum(found) / len(found) if found else 0.0


def _row(name: str, share: float, cases: int, note: str, bare: float | None = None) -> Row:
    return Row(
        name,
        share,
        "share",
        peer="without a guard" if bare is not None else None,
        peer_value=bare,
        higher_is_better=False,
        interval=wilson(share, cases),
        cases=cases,
        note=note,
    )
