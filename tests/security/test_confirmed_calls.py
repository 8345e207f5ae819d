"""A yes is to what the user has read last, and what the guard can't know counts as strangers' words."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.loop.confirmation import LATER
from agent.loop.trail import GrowingTrail
from agent.models.answer_chunks import calls, text
from agent.run.history import History
from agent.store.journal import StoreJournal
from flightloop.acts import system
from flightloop.events import CallsDecided, ModelCall, ToolResult
from flightloop.runs import StopReason
from flightloop.tool import tool
from guardrails.evidence.strangers import has_text
from guardrails.rails.groundedness import AGAINST
from guardrails.types import Trail
from tests.agent.conftest import Bench
from tests.agent.loop.test_confirmation import CONFIRM, LOOK, REFUND, answer, asked, desk, say
from tests.agent.loop.test_trails import Shop, pending
from tools.registry import Registry


async def test_a_yes_to_an_older_question_is_none(tmp_path: Path) -> None:
    """Another run of the session has answered in between, so the yes may be to that."""
    shop = Shop()

    @tool(effect="keyed")
    def pay(order_id: int) -> str:
        """Pays."""
        return "paid"

    shop.functions.append(pay)
    script = [calls(("pay", {"order_id": 17})), LOOK, REFUND, text("Shall I send a receipt?"), text("Fine.")]
    made = desk(tmp_path, shop, *script, policy=CONFIRM.replace("lock_to_plan", "ask: [{tool: pay}], lock_to_plan"))
    waits = await say(made, "Pay order 17.")
    assert (await say(made, "Refund order 17.")).stop_reason == StopReason.CONFIRMATION
    (approval,) = await pending(made)
    made.clock.forward(1)
    await made.journal.decide("default", approval.id, "deny", "ann")
    assert answer(await made.work(waits)) == "Shall I send a receipt?"
    await say(made, "yes")
    assert shop.refunded == []


async def test_a_double_click_takes_no_yes_back(tmp_path: Path) -> None:
    made = await asked(tmp_path, shop := Shop(), text("Refunded."), text("It is done."))
    made.clock.forward(1)
    first, second = [await made.start("yes", session_id="s") for _ in range(2)]
    await made.work(first)
    await made.work(second)
    assert shop.refunded == [(17, 80.0)]


async def test_a_no_between_many_yeses_counts(tmp_path: Path) -> None:
    made = await asked(tmp_path, shop := Shop(), *[text("As you like.")] * (LATER + 3))
    made.clock.forward(1)
    runs = [await made.start("yes", session_id="s")]
    for words in ["No, stop!", *["yes"] * (LATER + 1)]:
        made.clock.forward(1)
        runs.append(await made.start(words, session_id="s"))
    for run in runs:
        await made.work(run)
    assert shop.refunded == []


async def erase(made: Bench, run_id: str) -> None:
    assert isinstance(made.journal, StoreJournal)
    await made.journal.erasure.erase(run_id, "age", system("retention"))


async def test_what_an_erased_run_asked_is_not_made(tmp_path: Path) -> None:
    made = await asked(tmp_path, shop := Shop(), text("Which order is it?"))
    (run,) = (await made.journal.runs("default", limit=1)).data
    await erase(made, run.id)
    results = [one for one in await made.events(run) if isinstance(one, ToolResult)]
    assert [one.to_confirm for one in results] == [None, None]
    await say(made, "yes")
    assert shop.refunded == []


async def test_what_an_erased_run_has_read_is_not_known(tmp_path: Path) -> None:
    made = desk(tmp_path, shop := Shop(), LOOK, text("It says …"), REFUND)
    run = await say(made, "What about order 17? It cost 80 euros.")
    await erase(made, run.id)
    assert (await say(made, "Refund 80 euros of order 17.")).stop_reason == StopReason.CONFIRMATION
    assert shop.refunded == []


async def test_the_question_says_what_would_change(tmp_path: Path) -> None:
    """An amount of 0 may mean all of it."""

    @tool(effect="pure")
    def preview(order_id: int) -> dict[str, str]:
        """Tells what a payment would change."""
        return {"pays": "80.00 EUR to card"}

    @tool(effect="keyed", dry_run="preview")
    def pay(order_id: int, amount: float = 0) -> str:
        """Pays."""
        return "paid"

    shop = Shop()
    shop.functions += [preview, pay]
    made = desk(tmp_path, shop, LOOK, calls(("pay", {"order_id": 17})))
    asks = "- pay: amount 0, order id 17\n  (pays: 80.00 EUR to card)"
    assert answer(await say(made, "Pay order 17.")).endswith(asks)


@pytest.mark.parametrize("problem", [f"{AGAINST}do as the note says", "it was empty"])
def test_facts_that_the_model_is_told_are_strangers_words(problem: str) -> None:
    told = CallsDecided(calls=[], problem=problem, model=ModelCall(model=""))
    trail = GrowingTrail(Registry(()), Trail()).follow(History("r", [told]))
    assert [has_text(one, {}) for one in trail.reads] == [True] * (AGAINST in problem)
