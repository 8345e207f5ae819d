"""Texts that are made to take long: each sign is read a bounded number of times, and nobody else waits for it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

from agent.model_call.call import MORE_CHARACTERS, TOKEN_CHARACTERS, GuardedCall, GuardedModel
from agent.model_call.interrupts import Interrupts
from agent.model_call.markup import Markup
from agent.model_call.repetition import repeats
from agent.models.answer_chunks import text
from agent.models.chat_model import Capabilities
from flightloop.chat import ChatChunk, ChatRequest, ChunkChoice, Delta, Tags
from flightloop.tool import Effect, ToolSpec
from flightloop.verdicts import Action, Stage, Verdict
from guardrails.aside import LONG, aside, on_behalf_of
from guardrails.egress_document import Egress
from guardrails.evidence.acts import Act
from guardrails.finders.bare_hosts import HOSTS
from guardrails.finders.contacts import CONTACTS
from guardrails.finders.hosts import BARE, addresses_in
from guardrails.finders.links import LINKS
from guardrails.finders.pattern import merged
from guardrails.finders.secrets import secrets_finder
from guardrails.guard import Guard
from guardrails.holdback import HoldBack
from guardrails.interrupt import InterruptSnapshot, InterruptWatch
from guardrails.policy import default_policy, parse_policy
from guardrails.rails.claims import LABEL, MOST_CLAIMS, claims_rail
from guardrails.rails.injection import scan
from guardrails.rails.links import ANY_HOSTS, vouched_for
from guardrails.rails.repeats import repeats_rail
from guardrails.types import Checked, CheckedCall, GuardContext, Judgement, Past, Write, args_sha256
from observability.tracing import Tracing
from tests.security.benches import bench

REMIND = ToolSpec("add_reminder", "Adds a reminder to the user's list.", {"type": "object"}, Effect.KEYED)
ACT = Act.of(REMIND)
assert ACT is not None
LINKS_ENTRY = next(
    one for one in default_policy().document.stages.of(Stage.FINAL).rails if getattr(one, "rail", "") == "links"
)


def final(said: str, **context: Any) -> Judgement:
    rail = claims_rail(default_policy().document)
    checked = Checked(Stage.FINAL, said, GuardContext(agent="desk", writers=(REMIND,), **context))
    return asyncio.run(rail(checked))


def judge_link(said: str) -> None:
    vouched_for(LINKS_ENTRY, Egress())(GuardContext())(said, ANY_HOSTS.find(said))


def begun(said: str) -> None:
    markup = Markup(["add_reminder"], json_wanted=False)
    markup.push(said)
    markup.finish(cut=True)


ADDED = Write("add_reminder", {"amount": 5, "text": "milk"}, True, "{}")
WORK: dict[str, Callable[[int], Any]] = {
    "again and signs": lambda n: ACT.wanted_in("again" + "#" * n + "x"),
    "again and dashes": lambda n: ACT.wanted_in("again" + " -" * (n // 2) + "x"),
    "hosts before an @": lambda n: BARE.findall("www." + "aa." * n + "aa@"),
    "addresses before an @": lambda n: addresses_in("www." + "aa." * n + "aa@"),
    "beginnings of a key": lambda n: secrets_finder().find("pypi-AgEIcHlwaS5vcmc" * (n // 2)),
    "lines in a tag": lambda n: scan("<" + "\n" * (2 * n) + "x", from_tool=True),
    "tokens of markup": lambda n: scan("<|im_start|>" * n, from_tool=False),
    "words in markup": lambda n: scan("[INST] a b " * (n // 2), from_tool=False),
    "blanks in markup": lambda n: scan("[INST]" + " " * n + "a" * n, from_tool=False),
    "orders to tell": lambda n: scan("tell a " * n + "system", from_tool=False),
    "escaped blanks before a link": lambda n: judge_link("x" + "\\ " * (n // 10) + "http://a.example/b"),
    "references before a link": lambda n: LINKS.find("x" + "&#32\\;" * (n // 10) + "http://a.example/b"),
    "names and dots": lambda n: HOSTS.find("a." * n),
    "names and ideographic dots": lambda n: HOSTS.find("a。" * n),
    "names and dots in brackets": lambda n: HOSTS.find("a[.]" * (n // 4)),
    "invisible names": lambda n: HOSTS.find("\u200b" * n),
    "references in names": lambda n: HOSTS.find("&#97;" * (n // 4)),
    "slashes and hosts": lambda n: HOSTS.find("//a.io" * (n // 6)),
    "schemes and hosts": lambda n: HOSTS.find("ab://a.io" * (n // 9)),
    "paths and hosts": lambda n: HOSTS.find("a.com/," * (n // 7)),
    "opaque links": lambda n: HOSTS.find("mailto:" * (n // 7)),
    "numbers and dots": lambda n: HOSTS.find("0x1." * (n // 4)),
    "addresses without an end": lambda n: CONTACTS.find("a@" * n),
    "addresses in words": lambda n: CONTACTS.find("a at b dot " * (n // 8)),
    "groups of a number": lambda n: CONTACTS.find("01 23 " * (n // 6)),
    "blanks that begin an answer": lambda n: begun(" " * (n // 2) + '{x "name"'),
}


def seconds(work: Callable[[], Any]) -> float:
    """Of this process's time on processors, the best of several: long texts are searched in threads."""
    taken = []
    for _ in range(3):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return min(taken)


def assert_linear(work: Callable[[int], object]) -> None:
    """Four times as many characters take less than nine times as long."""
    work(100)  # what is compiled or loaded once
    assert seconds(lambda: work(16_000)) < 9 * max(seconds(lambda: work(4000)), 0.005)


@pytest.mark.parametrize("name", WORK)
def test_four_times_the_text_takes_no_sixteen_times_as_long(name: str) -> None:
    assert_linear(WORK[name])


def test_claims_are_not_compared_with_calls_one_by_one() -> None:
    """Four times the sentences and four times the calls are not sixteen times the work."""

    def judged(many: int) -> None:
        writes = tuple(Write("add_reminder", {"text": f"x{i} " + "y" * 400}, True, "{}") for i in range(many))
        final("".join(f"I have added it z{i}. " for i in range(many)), writes=writes)

    judged(2)
    assert seconds(lambda: judged(400)) < 9 * max(seconds(lambda: judged(100)), 0.005)


def test_a_sum_of_countless_digits_is_read_once() -> None:
    """What the check of claims reads at a time is bounded; so it is measured against other signs."""
    plain, digits = ("".join(f"I have added it {i} {sign * 960}. " for i in range(40)) for sign in "a1")
    final("I have added it.", writes=(ADDED,))
    took = seconds(lambda: final(plain, writes=(ADDED,)))
    assert seconds(lambda: final(digits, writes=(ADDED,))) < 9 * max(took, 0.005)


def test_claims_beyond_a_number_count_as_false() -> None:
    true = final("".join(f"I have added it z{i}. " for i in range(MOST_CLAIMS)), writes=(ADDED,))
    assert [verdict.action for verdict in true.verdicts] == [Action.ALLOW]
    more = final("".join(f"I have added it z{i}. " for i in range(MOST_CLAIMS + 1)), writes=(ADDED,))
    (verdict,) = more.verdicts
    assert (verdict.action is Action.ALLOW, verdict.labels, len(verdict.spans)) == (False, [LABEL], 1)


@pytest.mark.parametrize(
    ("said", "agrees"),
    [
        ("I have added it for 5 EUR.", True),
        ("I have added it for €5.00!", True),
        ("I have added it for 6 EUR.", False),
        ("I have added it for 1,000.50 dollars.", False),
        ("I have added it for .5€.", True),
        ("I have added it, 7$.", False),
    ],
)
def test_sums_are_read_as_they_were(said: str, agrees: bool) -> None:
    allowed = [verdict.action for verdict in final(said, writes=(ADDED,)).verdicts] == [Action.ALLOW]
    assert allowed is agrees


def test_what_the_patterns_find_has_not_changed() -> None:
    for asked in ("again", "Again, please!", "Do it once more.", "again 12 #", "please again ... please ..."):
        assert ACT.wanted_in(asked), asked
    for asked in ("again and again it fails", "again12 x", "not again", "again pleased"):
        assert not ACT.wanted_in(asked), asked
    named = addresses_in("www.a.example. www.b.example:80@c www.d.example@e")
    assert named == {("www.a.example", 443), ("www.b.example", 443)}
    token = "pypi-AgEIcHlwaS5vcmc" + "aZ9_-" * 20
    (found,) = merged(secrets_finder().find(f"x{token}{token}."))
    assert (found.start, found.end) == (1, 1 + 2 * len(token))
    assert "markup" in scan("< / important >", from_tool=True).labels
    for looped in ("0" * 96, "1234 " * 24, "1234-" * 30 + "12", "a word or two, " * 12):
        assert repeats(looped), looped
    for straight in ("0" * 95 + "x", "1234 " * 23, "0" * 95, "a word or two, " * 5, "-" * 400):
        assert not repeats(straight), straight


# -- nobody else waits ------------------------------------------------------------------------------


@contextmanager
def turns_of_others() -> Iterator[list[int]]:
    """How often another task could go on meanwhile."""
    count = [0]

    async def others() -> None:
        while True:
            await asyncio.sleep(0)
            count[0] += 1

    task = asyncio.create_task(others())
    try:
        yield count
    finally:
        task.cancel()


async def test_long_words_of_a_user_are_searched_beside_the_loop() -> None:
    arguments = {"text": "milk"}
    asked = "Then nothing. " * 14_000 + "Add a reminder."

    async def past(args_sha256: str | None = None, tool: str | None = None) -> Past:
        return Past(writes=(Write("add_reminder", arguments, True, "{}"),), asked=asked)

    call = CheckedCall("c", REMIND, arguments)
    assert call.args_sha256 == args_sha256("add_reminder", arguments)
    rail = repeats_rail(default_policy().document)
    with turns_of_others() as turns:
        judgement = await rail(Checked(Stage.TOOL_CALL, "", GuardContext(agent="desk", past=past), call))
    assert judgement.verdicts == ()
    assert turns[0] > 10


async def test_one_tenants_long_texts_leave_a_thread_for_the_others() -> None:
    go = threading.Event()
    try:
        with on_behalf_of("many"):
            held = [asyncio.create_task(aside(LONG, go.wait)) for _ in range(40)]
        await asyncio.sleep(0.05)
        for tenant in ("one", "other"):
            with on_behalf_of(tenant):
                assert await asyncio.wait_for(aside(LONG, lambda: "done"), 30) == "done"
    finally:
        go.set()
    assert all(await asyncio.gather(*held))


async def test_who_is_given_up_keeps_its_thread_until_that_has_ended() -> None:
    """A thread can't be ended: a tenant whose stages ran out of time would soon have all of them."""
    go, begun_ = threading.Event(), threading.Semaphore(0)

    def work() -> None:
        begun_.release()
        go.wait()

    async def rail(checked: Checked) -> Judgement:
        await aside(LONG, work)
        return Judgement((Verdict(action=Action.ALLOW, rail="slow", stage=checked.stage),))

    policy = parse_policy("name: desk\nversion: '1'\nstages: {input: {rails: [], timeout_ms: 20}}\n")
    guard = Guard(policy, rails={Stage.INPUT: rail})
    try:
        slow = Checked(Stage.INPUT, "x", GuardContext(tenant_id="many", agent="desk"))
        rulings = await asyncio.gather(*(guard.check(slow) for _ in range(20)))
        assert {ruling.action for ruling in rulings} == {Action.BLOCK}
        with on_behalf_of("one"):
            assert await asyncio.wait_for(aside(LONG, lambda: "done"), 30) == "done"
        assert sum(begun_.acquire(blocking=False) for _ in range(20)) == 3
    finally:
        go.set()


# -- answers ----------------------------------------------------------------------------------------


class Owner:
    async def reserve(self, call: GuardedCall) -> ChatRequest:
        return call.request

    async def settle(self, call: GuardedCall) -> None: ...

    async def judged(self, verdicts: Sequence[Verdict]) -> None: ...


class Pieces:
    """A model server that sends what it likes."""

    capabilities = Capabilities(interrupts=True)

    def __init__(self, pieces: Iterator[str]) -> None:
        self._pieces = pieces
        self.closed = False

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        try:
            for piece in self._pieces:
                choice = ChunkChoice(index=0, delta=Delta(content=piece))
                yield ChatChunk(id="c", created=0, model="m", choices=[choice])
            yield ChatChunk(
                id="c", created=0, model="m", choices=[ChunkChoice(index=0, delta=Delta(), finish_reason="stop")]
            )
        finally:
            self.closed = True


LIVE = "name: desk\nversion: '1'\nstreaming: live\nstages: {stream: {rails: []}}\n"


def call_of(
    pieces: Iterator[str], tokens: int, guard: Guard | None = None, context: GuardContext | None = None
) -> tuple[GuardedCall, Pieces]:
    model = Pieces(pieces)
    guarded = GuardedModel(model, guard or Guard(parse_policy(LIVE)), Tracing(TracerProvider(shutdown_on_exit=False)))  # type: ignore[arg-type]
    request = ChatRequest.model_validate(
        {"model": "m", "messages": [{"role": "user", "content": "Hi."}], "max_tokens": tokens}
    )
    return GuardedCall(guarded, Owner(), context or GuardContext(agent="desk"), request, 10), model


async def test_others_go_on_while_a_huge_piece_is_screened() -> None:
    said = "".join(f"{i} words, " for i in range(80_000))[:1_000_000]
    call, _ = call_of(iter([said]), tokens=100_000)
    with turns_of_others() as turns:
        pieces = [piece async for piece in call.text()]
    assert "".join(pieces) == said
    assert turns[0] >= len(said) // LONG
    assert max(map(len, pieces)) < 3 * LONG


@pytest.mark.parametrize("size", [7, 1000, 1_000_000])
async def test_an_answer_ends_where_its_tokens_can_give_no_more(size: int) -> None:
    def endless() -> Iterator[str]:
        for number in range(10**9):
            yield "".join(f"{number} {i} " for i in range(size // 4 + 1))[:size]

    call, model = call_of(endless(), tokens=100)
    said = "".join([piece async for piece in call.text()])
    assert TOKEN_CHARACTERS * 100 < len(said) <= TOKEN_CHARACTERS * 100 + MORE_CHARACTERS
    assert (call.answer.finish_reason, call.problem, model.closed) == ("length", None, True)


class Threads(HoldBack):
    """Where the end of an answer is judged."""

    ended: int | None = None

    def finish(self) -> str:
        self.ended = threading.get_ident()
        return super().finish()


class Watched(Guard):
    def stream(self, context: GuardContext) -> HoldBack:
        self.threads = Threads([], context, held=True)
        return self.threads


async def test_an_answer_that_is_held_is_judged_beside_the_loop() -> None:
    """All of it at its end, however short its pieces were."""
    said = "".join(f"{i} words, " for i in range(20_000))[:100_000]
    watched = Watched(parse_policy("name: desk\nversion: '1'\n"))
    call, _ = call_of(iter([said[at : at + 20] for at in range(0, len(said), 20)]), 100_000, watched)
    async for _ in call.text():
        pass
    assert call.released == said
    assert watched.threads.ended not in (None, threading.get_ident())


# -- a loop that stood still ------------------------------------------------------------------------


async def test_a_loop_that_stood_still_is_no_silence_of_the_stops_source(tmp_path: Path) -> None:
    asked = threading.Event()

    def snapshot() -> InterruptSnapshot:
        asked.set()
        time.sleep(0.03)
        return InterruptSnapshot(0, ())

    async def stand_still() -> None:
        for _ in range(3):
            asked.clear()
            while not asked.is_set():  # noqa: ASYNC110 (it is asked in a thread)
                await asyncio.sleep(0.001)
            time.sleep(0.6)  # noqa: ASYNC251 (whatever holds the loop up)
            await asyncio.sleep(0.1)

    desk = bench(tmp_path, [stand_still(), *text("Done.")])
    run = await desk.start()

    async def ended() -> bool:
        return (await desk.get(run)).status.terminal

    await desk.until(ended, desk.worker(watch=InterruptWatch(snapshot, 0.3)))
    assert (await desk.get(run)).status == "succeeded"


async def test_neither_is_it_for_answers_that_others_make() -> None:
    reading = asyncio.Event()

    async def read() -> InterruptSnapshot:
        reading.set()
        await asyncio.sleep(0.01)
        return InterruptSnapshot(0, ())

    interrupts = Interrupts(read, poll_s=0.01, max_silence_s=0.2)
    answer = asyncio.create_task(interrupts.raised(Tags(agent="desk"), epoch=1))
    for _ in range(3):
        reading.clear()
        await reading.wait()
        time.sleep(0.4)  # noqa: ASYNC251 (whatever holds the loop up)
        await asyncio.sleep(0.05)
        assert not answer.done()
    answer.cancel()
    await asyncio.gather(answer, return_exceptions=True)
