"""Long answers about what was done, and long words of users that ask about it or forbid it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from guardrails.evidence.done_acts import CallTexts
from guardrails.evidence.foreseen import unforeseen
from guardrails.evidence.identifiers import identifiers
from guardrails.rails.forbidden import forbids
from guardrails.types import CheckedCall, GuardContext, Judgement, Past, Read, Trail, Write
from tests.security.test_long_texts import ACT, ADDED, REMIND, assert_linear, final, seconds

ADD = CheckedCall("c", REMIND, {"text": "milk"})


def told(result: str) -> bool:
    assert ACT is not None
    return CallTexts(GuardContext(results=(result,))).says(ACT, frozenset(["1"]), wanted=False)


def suggested(note: str, said: str = "", ids: int = 1) -> str | None:
    call = CheckedCall("c", REMIND, {"list_ids": [10_000 + one for one in range(ids)]})
    return unforeseen(GuardContext(user_text=said, trail=Trail((Read("a", "look", [note]),))), call)


def agreed(said: str, asked: str) -> Judgement:
    async def past(args_sha256: str | None = None, tool: str | None = None) -> Past:
        return Past(writes=(ADDED,), asked=asked)

    return final(said, past=past)


WORK: dict[str, Callable[[int], Any]] = {
    "a call forbidden again and again": lambda n: forbids("don't add it for me, " * (n // 8), ADD),
    "words that may forbid": lambda n: forbids("don't want a b c d " * (n // 8) + "leave " * n, ADD),
    "calls forbidden of others": lambda n: forbids("without adding a table or " * (n // 8), ADD),
    "what is to be let be": lambda n: forbids("leave a" * n + "keep" + " " * n, ADD),
    "questions that ask nothing": lambda n: agreed("Yes.", "did it a b c " * (n // 4) + "is it a " * n),
    "questions one by one": lambda n: agreed("Yes.", "Did it work? " * (n // 4)),
    "yes again and again": lambda n: agreed("yes, " * n, "Did it work?"),
    "numbers and signs": lambda n: final("I have added " + "512 # call a " * (n // 4), writes=(ADDED,)),
    "digits and blanks": lambda n: identifiers(("4" * 14 + " " * 14) * (n // 14)),
    "a record that says it again and again": lambda n: told('x {"a": "' + "added " * (n // 2) + '"}'),
    "one long word of strangers": lambda n: suggested("a" * n),
    "letters and digits of strangers": lambda n: suggested("a1" * (n // 2)),
    "a message that names all objects": lambda n: suggested(
        "please add them all", "Add them: " + "10000 " * (n // 40), ids=n // 100
    ),
    "things of other tools": lambda n: final("The list is added for A. " * (n // 16), writes=(ADDED,)),
}


@pytest.mark.parametrize("name", WORK)
def test_four_times_the_text_takes_no_sixteen_times_as_long(name: str) -> None:
    assert_linear(WORK[name])


def test_a_yes_is_not_compared_with_calls_one_by_one() -> None:
    def judged(many: int) -> None:
        writes = tuple(Write("add_reminder", {"text": f"x{i} " + "y" * 400}, False, "{}") for i in range(many))
        results = tuple('{"reminder":"added"}' * 10 for _ in range(many))

        async def past(args_sha256: str | None = None, tool: str | None = None) -> Past:
            return Past(writes=writes, asked="Did you add it?")

        final("Yes, I added x 123. " * many, past=past, results=results)

    judged(2)
    assert seconds(lambda: judged(400)) < 9 * max(seconds(lambda: judged(100)), 0.005)
