import pytest

from guardrails.evidence.objects import identifiers
from guardrails.rails.claims import CORRECTION, NOTHING
from tests.guardrails.sessions import BREAKFAST, CANCELLED, LISTED, MOVED, ROOM, is_false, judged, made


@pytest.mark.parametrize(
    ("said", "now"),
    [
        ("Reservation 512 is reserved for 2027-05-14.", [ROOM]),
        ("Your reservation 512 has been reserved for Ada Moor.", [ROOM]),
        ("I have cancelled 513.", [CANCELLED]),
        ("I have cancelled reservations 513 and 514.", [CANCELLED]),
        ("I have cancelled #513 for you.", [CANCELLED]),
        ("The breakfast is reserved for Ada Moor.", [ROOM]),
        ("I have reserved your breakfast.", [ROOM]),
        ("Your small breakfast has been reserved.", [ROOM]),
    ],
)
async def test_a_claim_about_what_no_call_had_is_false(said, now):
    assert await is_false(said, now=now)


@pytest.mark.parametrize(
    ("said", "now"),
    [
        ("I have reserved a room for Ada Moor on 14 May 2027.", [ROOM]),
        ("Your reservation 517 is reserved for 14/05/2027.", [ROOM]),
        ("The room is reserved for Ada Moor until 10:00 on May 16, 2027.", [ROOM]),
        ("I have reserved room 104 for Ada Moor.", [ROOM]),
        ("I have reserved it for 1,250.00 EUR in all.", [ROOM]),
        ("I have reserved it, that makes 250 euros.", [ROOM]),
        ("I have reserved it. The lake is 1500 metres away.", [ROOM]),
        ("I have reserved it for 2027. Please call 555 0100 for more.", [ROOM]),
        ("I have reserved a room, for questions dial 100.", [ROOM]),
        ("I have reserved 517, and you have 350 points now.", [ROOM]),
        ("I've moved reservation 0512 to Tuesday.", [MOVED]),
        ("I have cancelled 514 and reserved 517 instead.", [CANCELLED, ROOM]),
        ("I have cancelled 514 instead of 513.", [CANCELLED]),
        ("I have cancelled 514; 513 stays as it is.", [CANCELLED]),
        ("I have cancelled 514, and 513 is still yours.", [CANCELLED]),
        ("I have moved 512, the day after reservation 511.", [MOVED]),
        ("I have reserved a room with breakfast.", [ROOM]),
        ("I have reserved the room and your breakfast has been ordered.", [ROOM, BREAKFAST]),
        ("Your breakfast is reserved for Ada Moor.", [ROOM, BREAKFAST]),
        ("The breakfast room is reserved for Ada Moor.", [ROOM]),
    ],
)
async def test_honest_answers_pass(said, now):
    assert not await is_false(said, now=now)


async def test_what_was_looked_up_about_the_same_thing_may_be_named():
    assert not await is_false(
        "I have reserved 517, the bill is number 20417.", now=[ROOM], results=[ROOM.result, LISTED]
    )
    assert await is_false("I have moved reservation 511.", now=[MOVED], results=[MOVED.result, LISTED])
    assert not await is_false("Reservation 511 is reserved for Bo Lund.", results=[LISTED])


async def test_a_word_of_the_call_is_no_other_tools_thing():
    with_breakfast = made("reserve_room", guest="Ada Moor", wish="breakfast", told="{}")
    assert not await is_false("The breakfast is reserved for Ada Moor.", now=[with_breakfast])


@pytest.mark.parametrize(
    ("clause", "named"),
    [
        ("I have moved 512 to 2027-05-11 at 10:30", {"512"}),
        ("I have paid 300 EUR for order 00412", {"412"}),
        ("call 0800 123 456 or page 217", set()),
        ("version 1.234 of A-512 has 4000 words", set()),
        ("in 2026, and 12 of them", set()),
    ],
)
def test_numbers_that_name_something(clause, named):
    assert identifiers(clause) == named


async def test_what_the_model_was_told_is_no_answer():
    echo = f"{CORRECTION} it was empty. Try again."
    assert (await judged(echo, now=[ROOM])).text.startswith("Done: reserve room")
    assert (await judged(f"Well. {echo}", writers=())).text == NOTHING
    assert not await is_false(echo, writers=(), run_id="")
    assert not await is_false(echo, f'What does "{CORRECTION}" mean?', writers=())
