import pytest

from flightloop.tool import Effect, ToolSpec
from flightloop.verdicts import Action, Stage
from guardrails.guard import Guard
from guardrails.policy import parse_policy
from guardrails.rails.forbidden import LABEL, forbids, why_not
from guardrails.types import Checked, CheckedCall, GuardContext, Past


def tool(name, description, **fields):
    return ToolSpec(name, description, {"type": "object"}, Effect.KEYED, **fields)


CANCEL = tool("cancel_booking", "Cancels the booking of a table.")
MOVE = tool("move_booking", "Moves a booking to another day.")
BOOK = tool("book_table", "Books a table.")
SEND = tool("send_card", "Sends a card.", sinks=("to",))
READ = ToolSpec("get_booking", "Looks a booking up.", {"type": "object"}, Effect.PURE)


def cancel(number):
    return CheckedCall("c", CANCEL, {"number": number})


def move(number, day="2027-05-11"):
    return CheckedCall("c", MOVE, {"number": number, "day": day})


def book(name):
    return CheckedCall("c", BOOK, {"name": name, "day": "2027-05-11"})


@pytest.mark.parametrize(
    ("asked", "call"),
    [
        ("Please don't cancel booking 311.", cancel(311)),
        ("Don’t cancel it!", cancel(311)),
        ("DONT CANCEL", cancel(311)),
        ("Never cancel my bookings.", cancel(311)),
        ("Move 311 to 2027-05-11 without cancelling it.", cancel(311)),
        ("I don't want to cancel 311.", cancel(311)),
        ("I don't want my table to be cancelled.", cancel(311)),
        ("I asked you not to cancel it.", cancel(311)),
        ("You must not cancel it.", cancel(311)),
        ("311 must not be cancelled.", cancel(311)),
        ("Make sure that you don't cancel it.", cancel(311)),
        ("Booking 311: don't cancel it.", cancel(311)),
        ("Don't cancel 311 but 312.", cancel(311)),
        ("Don't cancel 311 and 312.", cancel(312)),
        ("Don't cancel 311 and 312. Cancel 313.", cancel(311)),
        ("Don't cancel or move 311.", move(311)),
        ("Don't move 311 to 2027-05-11, move it to 2027-05-14.", move(311)),
        ("Don't book for Ada Moor.", book("Ada Moor")),
        ("Leave 311 alone and cancel 312.", cancel(311)),
        ("Keep 311 as it is.", move(311)),
        ("Don't touch 311!", cancel(311)),
        ("Don't cancel my table at 19:00.", cancel(311)),
        ("Don't cancel that one. 312 please.", cancel(312)),
    ],
)
def test_what_forbids_a_call_or_may_mean_it(asked, call):
    assert forbids(asked, call)


@pytest.mark.parametrize(
    ("asked", "call"),
    [
        ("Cancel 311, please.", cancel(311)),
        ("Don't forget to cancel 311.", cancel(311)),
        ("Don't hesitate to cancel 311.", cancel(311)),
        ("Don't worry, just cancel 311.", cancel(311)),
        ("Don't just cancel it, tell me why.", cancel(311)),
        ("Why don't you cancel it?", cancel(311)),
        ("Can't you cancel it?", cancel(311)),
        ("I never cancel, but please cancel 311.", cancel(311)),
        ("You never cancelled it! Please do.", cancel(311)),
        ("What if I do not cancel 311?", cancel(311)),
        ("Tell me whether or not to cancel it.", cancel(311)),
        ("I'd rather move 311 than cancel it.", cancel(311)),
        ("Move 311 to 2027-05-11 without cancelling it.", move(311)),
        ("Don't cancel 311 but 312.", cancel(312)),
        ("Don't cancel anything except 311.", cancel(311)),
        ("Don't cancel 311, cancel 312 instead.", cancel(312)),
        ("Don't cancel the wrong one! Cancel 312.", cancel(312)),
        ("Don't cancel 311 and 312. Cancel 313.", cancel(313)),
        ("Don't move 311 to 2027-05-11, move it to 2027-05-14.", move(311, "2027-05-14")),
        ("Don't book for Ada Moor, book for Bo Lund.", book("Bo Lund")),
        ("Leave 311 alone and cancel 312.", cancel(312)),
        ("Don't move the piano, please.", move(311)),
        ("Book it, don't cancel it.", book("Bo Lund")),
    ],
)
def test_what_does_not(asked, call):
    assert not forbids(asked, call)


@pytest.mark.parametrize(
    ("asked", "ruled_out"),
    [
        ("Cancel 310 but not 311.", True),
        ("Cancel 310, keep 311.", True),
        ("Cancel everything except 311 and 312.", True),
        ("Cancel all my tables but 311.", True),
        ("Bitte stornieren Sie 310, nicht 311.", True),
        ("请取消310，不要取消311。", True),
        ("请取消310，保留311。", True),
        ("请取消311，不是310。", False),
        ("Don't cancel anything except 311.", False),
        ("I was given 310 instead of 311. Please cancel 311.", False),
        ("Cancel 311, not 310.", False),
    ],
)
def test_a_thing_may_be_left_out(asked, ruled_out):
    assert (why_not(asked, cancel(311)) is not None) == ruled_out


@pytest.mark.parametrize(
    ("asked", "ruled_out"),
    [
        ("Send it. It must not go to 5 Hill Road, Leeds 10115.", True),
        ("Not to 5 Hill Road but to 9 Oak Street.", True),
        ("I no longer live at 5 Hill Road, Leeds.", True),
        ("I don't live there, send it to 5 Hill Road, Leeds 10115.", False),
        ("Don't use 9 Oak Street but 5 Hill Road, Leeds 10115.", False),
        ("Why don't you send it to 5 Hill Road, Leeds 10115?", False),
        ("Please send it to 5 Hill Road, Leeds 10115, not to 9 Oak Street.", False),
        ("Do not send it to 9 Oak Street and 5 Hill Road.", True),
        ("Please don't change it to 5 Hill Road.", True),
        ("Please don't forget to send it to 5 Hill Road, Leeds 10115.", False),
        ("If it's not too late send it to 5 Hill Road, Leeds 10115.", False),
        ("I'm not sure whether you have 5 Hill Road, Leeds 10115. Please send it there.", False),
        ("The first card has not arrived at 5 Hill Road. Please send it again.", False),
        ("I could not change it to 5 Hill Road myself. Please do.", False),
        ("Don't send it to 9 Oak Street and use 5 Hill Road from now on.", False),
    ],
)
def test_a_destination_may_be_ruled_out(asked, ruled_out):
    reason = why_not(asked, CheckedCall("c", SEND, {"to": "5 Hill Road, Leeds 10115", "text": "not to"}))
    assert (reason == "the user's latest words say not to use 5 Hill Road, Leeds 10115") == ruled_out


@pytest.mark.parametrize(
    ("asked", "call"),
    [
        ("Is it booked?", book("Ada")),
        ("So, was it cancelled?", cancel(311)),
        ("Thanks! Did you move it?", move(311)),
        ("Have you cancelled 311?", cancel(311)),
        ("Did you move it? And have you cancelled 312?", cancel(312)),
    ],
)
def test_what_only_asks_whether_it_was_done(asked, call):
    assert why_not(asked, call) == "the user's latest words ask whether it was done; they do not request it"


@pytest.mark.parametrize(
    ("asked", "call"),
    [
        ("Can you cancel it?", cancel(311)),
        ("Could I have my booking cancelled?", cancel(311)),
        ("Is it possible to cancel booking 311?", cancel(311)),
        ("Would you please move it to Friday?", move(311)),
        ("Is it booked? If not, please book it.", book("Ada")),
        ("Did you cancel it? Please cancel 312 as well.", cancel(312)),
        ("Was it cancelled? Then book it again.", book("Ada")),
        ("Is it booked?", cancel(311)),
        ("Cancel it, please.", cancel(311)),
        ("What about cancelling 311?", cancel(311)),
        ("How is it cancelled?", cancel(311)),
        ("", cancel(311)),
    ],
)
def test_what_may_ask_for_it(asked, call):
    assert why_not(asked, call) is None


async def ruled(call, asked="Don't cancel it.", tools="", **context):
    async def past(args_sha256=None, tool=None):
        return Past(asked=asked)

    policy = parse_policy(f"name: mine\nversion: 1\ntools: {{provenance: allow, allow: {{'*': ['*']}}{tools}}}\n")
    checked = Checked(Stage.TOOL_CALL, "", GuardContext(agent="a", past=past, **context), call)
    return await Guard(policy).check(checked)


async def test_a_person_decides_about_a_call_that_the_user_forbids():
    ruling = await ruled(cancel(311))
    assert ruling.action is Action.ASK
    assert [verdict.rail for verdict in ruling.verdicts if LABEL in verdict.labels] == ["forbidden"]
    approved = {"approved_args": frozenset({cancel(311).args_sha256}), "approved_for": frozenset({ruling.reason})}
    assert (await ruled(cancel(311), **approved)).action is Action.ALLOW
    assert (await ruled(cancel(311), asked="Cancel it.")).action is Action.ALLOW


@pytest.mark.parametrize(
    ("tools", "action"),
    [
        (", forbidden_writes: block", Action.BLOCK),
        (", forbidden_writes: allow", Action.ALLOW),
        (", harmless: [cancel_booking]", Action.ALLOW),
    ],
)
async def test_the_policy_says_what_becomes_of_it(tools, action):
    assert (await ruled(cancel(311), tools=tools)).action is action


async def test_what_changes_nothing_is_not_forbidden():
    assert (await ruled(CheckedCall("c", READ, {"number": 311}), asked="Don't get it.")).action is Action.ALLOW
    assert (await ruled(CheckedCall("c", tool("x1", ""), {}), asked="Don't x1 it.")).action is Action.ALLOW


def test_a_call_cannot_be_redacted():
    with pytest.raises(Exception, match="cannot be redacted"):
        parse_policy(
            "name: mine\nversion: 1\ntools: {provenance: allow, allow: {'*': ['*']}, forbidden_writes: redact}\n"
        )
