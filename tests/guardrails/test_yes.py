import pytest

from tests.guardrails.sessions import (
    BREAKFAST,
    CANCELLED,
    CANCELLED_BEFORE,
    MOVED,
    MOVED_THEN,
    NOT_CANCELLED,
    NOT_MOVED,
    ROOM,
    is_false,
    judged,
    made,
)


@pytest.mark.parametrize(
    ("asked", "said", "before"),
    [
        ("Did it work?", "Yes, it did.", []),
        ("Did it work?", "It worked!", [NOT_MOVED]),
        ("did that go through", "Yes, that went through.", [MOVED, NOT_MOVED]),
        ("Is everything done now?", "Sure, it is all done.", [NOT_MOVED]),
        ("Have you done that?", "Yes.", []),
        ("All done?", "Yes!", [NOT_CANCELLED]),
        ("Is it all right?", "Yes, all is well.", [NOT_CANCELLED]),
        ("Did both go through?", "Yes, both did.", [MOVED]),
        ("Hat alles geklappt?", "Ja, alles ist erledigt.", [NOT_MOVED]),
        ("Is it reserved?", "Yes, it is.", []),
        ("Did you move it?", "Yes.", [NOT_MOVED]),
        ("Did you move it?", "Yes.", [MOVED, NOT_MOVED]),
        ("So it's moved now?", "Yes, right.", [NOT_MOVED]),
        ("You cancelled it, right?", "Correct.", [NOT_CANCELLED]),
        ("Cancelled?", "Yes.", [NOT_CANCELLED]),
        ("Is 513 cancelled?", "Yes.", [CANCELLED, NOT_CANCELLED]),
        ("Were they both cancelled?", "Yes, both were.", [NOT_CANCELLED, CANCELLED]),
        ("Has the breakfast been ordered?", "Yes, it has.", [ROOM]),
        ("Thanks! Was it ordered?", "Yeah, it was.", [made("order_breakfast", ok=False, told="a person denied it")]),
    ],
)
async def test_a_bare_yes_to_what_was_not_done_is_false(asked, said, before):
    assert await is_false(said, asked, before=before)


@pytest.mark.parametrize(
    ("asked", "said", "before"),
    [
        ("Did it work?", "Yes, it did.", [MOVED]),
        ("Did it work?", "Yes, it did.", [NOT_MOVED, MOVED_THEN]),
        ("Did it work?", "No, no room was free.", [NOT_MOVED]),
        ("Did it work?", "Yes and no: 514 could not be moved.", [NOT_MOVED]),
        ("Did both go through?", "Yes, both did.", [ROOM, BREAKFAST]),
        ("Did both go through?", "Yes, but breakfast was refused.", [ROOM]),
        ("Is it reserved?", "Yes, it is.", [ROOM]),
        ("Did you move 512?", "Yes.", [MOVED, NOT_MOVED]),
        ("Is it cancelled?", "Yes, it was cancelled already.", [CANCELLED_BEFORE]),
        ("Did you move it?", "Sure, I will move it at once.", [NOT_MOVED]),
        ("Did you move it?", "Certainly. Which reservation do you mean?", []),
        ("Is everything all right?", "Yes, thank you!", []),
        ("Can you move it?", "Yes, to which day?", []),
        ("Are rooms reserved for free if I call?", "Yes, they are.", []),
        ("Is breakfast ordered each day?", "Yes.", []),
        ("Did the cook work yesterday?", "Yes, she did.", []),
        ("Do you have a pool?", "Yes, on the roof.", []),
        ("Did it work? And is there a pool?", "Yes, on the roof.", []),
        ("Is the bar open?", "It is.", [NOT_MOVED]),
    ],
)
async def test_a_yes_that_is_true_or_says_something_else(asked, said, before):
    assert not await is_false(said, asked, before=before)


async def test_what_this_run_has_done_or_looked_up_counts():
    assert not await is_false("Yes, it did.", "Did it work?", before=[NOT_MOVED], now=[MOVED_THEN])
    assert await is_false("Yes, it did.", "Did it work?", before=[MOVED], now=[NOT_MOVED])
    assert not await is_false("Yes, it did.", "Did it work?", results=['{"state":"paid"}'])
    listed = ['{"number":513,"status":"cancelled"}', '{"number":514,"status":"reserved"}']
    assert not await is_false("Yes.", "Is it cancelled?", results=listed)
    assert not await is_false("Yes.", "Is it cancelled?", before=[NOT_CANCELLED], results=listed)
    assert await is_false("Yes.", "Is it cancelled?", before=[NOT_CANCELLED], results=['{"number":9,"is":"cancelled"}'])


async def test_what_was_tried_last_takes_its_place():
    ruling = await judged("Yes, it did.", "Did it work?", before=[MOVED, NOT_MOVED])
    assert ruling.text == "Not done: move reservation (number: 514)."
