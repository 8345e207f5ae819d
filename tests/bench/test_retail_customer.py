"""The scripted customer: what a task tells its user becomes the customer's own words, and questions get answers."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.retail.customer import AGAIN, PATIENCE, YES, Customer
from bench.retail.facts import UNKNOWN
from bench.retail.tasks import Instructions
from bench.retail.wording import first_person, sentences, stems

SECOND = re.compile(r"\byou(?:r|rs|rself|['’](?:re|ve|d|ll))?\b", re.IGNORECASE)


def customer(reason: str = "You want to return the kettle.", **more: str | None) -> Customer:
    known = {
        "known_info": "You are Ann Poe, living in Berlin 10115.",
        "unknown_info": "You do not remember your email.",
    }
    return Customer.of(Instructions.model_validate({"reason_for_call": reason} | known | more))


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("You want to exchange your kettle.", "I want to exchange my kettle."),
        ("You are sad; you're late, you've paid and you'd wait.", "I am sad; I'm late, I've paid and I'd wait."),
        ("You were told that it suits you.", "I was told that it suits me."),
        ("You name is Ann and your emails are two.", "My name is Ann and my emails are two."),
        ("Do it for you and yours, by yourself.", "Do it for me and mine, by myself."),
        ("How much are you charged, and can you pay?", "How much am I charged, and can I pay?"),
        ("If the agent says no, you insist.", "If you say no, I insist."),
        (
            "If the agent tells you that it denies it, the agent's word holds.",
            "If you tell me that it denies it, your word holds.",
        ),
        ("If the agent doesn't help you, wait.", "If you don't help me, wait."),
        ("You ask the agent to stop. Ask the agent how much it is.", "Please stop. Please tell me how much it is."),
        ("You thank you for nothing.", "I thank you for nothing."),
        ("The young youth of yore.", "The young youth of yore."),
    ],
)
def test_a_plain_rewriting_of_pronouns(told: str, said: str) -> None:
    assert first_person(told) == said


WORDS = st.sampled_from(
    [
        "you",
        "your",
        "yours",
        "yourself",
        "you're",
        "You",
        "Your",
        "to",
        "for",
        "and",
        "is",
        "are",
        "were",
        "kettle,",
        "of",
    ]
)


@given(st.lists(WORDS).map(" ".join))
@settings(deadline=None)
def test_nothing_is_left_of_the_second_person(text: str) -> None:
    said = first_person(text)
    assert not SECOND.search(said)
    assert first_person(said) == said


@given(st.text(alphabet="abc .,;!?\n", max_size=60))
@settings(deadline=None)
def test_sentences_lose_no_letter_and_end(text: str) -> None:
    found = sentences(text)
    assert re.sub(r"\W", "", "".join(found)).casefold() == re.sub(r"\W", "", text).casefold()
    assert all(sentence[-1] in ".!?" for sentence in found)


def test_the_opening_is_why_they_call_without_how_to_behave() -> None:
    made = customer(
        "You want a pan (a gift, but do not reveal it). You have a lid. Make sure you mention it first. Do it today.",
        task_instructions="You are shy. If the lid is gone, you want two.",
    )
    assert made.opening == "I have a lid. Do it today. If the lid is gone, I want two."


def test_who_they_are_is_told_when_it_is_asked() -> None:
    made = customer()
    assert made.reply("Could you give me your email, or your name and zip code?") == (
        "My name is Ann Poe. I do not remember my email. My zip code is 10115."
    )
    assert made.reply("Please confirm your full name.") == "My name is Ann Poe."
    assert made.reply("What is your user id?") == "I do not know my user id."
    assert made.reply("What is your address?") == "I am Ann Poe, living in Berlin 10115."


@pytest.mark.parametrize(
    ("known", "name"),
    [
        ("Your name is Bo van Lee.", "Bo"),
        ("You are bo_lee_22 in 10115.", "Bo Lee"),
        ("You are a funny fellow called Bo Lee.", "Bo Lee"),
        ("You're Bo Lee-Poe (bo@example.com).", "Bo Lee-Poe"),
    ],
)
def test_the_name_is_found_where_it_stands(known: str, name: str) -> None:
    assert customer(known_info=known).reply("What is your name?") == f"My name is {name}."


def test_orders_payment_and_reason_are_told_as_the_task_has_them() -> None:
    told = "You want to cancel order #W12345 because you moved. The refund should go to your gift card."
    made = customer(told, known_info="Your email is ann@example.com.")
    assert made.reply("Which order do you mean?") == "The order is #W12345."
    assert made.reply("Which payment method do you prefer?") == "The refund should go to my gift card."
    assert made.reply("Please tell me the reason.") == "I want to cancel order #W12345 because I moved."
    assert made.reply("Your email, please?") == "My email is ann@example.com."
    plain = customer()
    assert plain.reply("Which payment method?") == "The payment method of the order, please."
    assert plain.reply("Why?") == "I no longer need it."
    assert plain.reply("What is the order number?") == "I do not know my order number."


@pytest.mark.parametrize(
    "question",
    [
        "I will return the kettle to gift_card_1. Do you confirm (yes/no)?",
        "Shall I go ahead?",
        "Would you like me to return it?",
        "Your refund is 10 EUR. Is that correct?",
        "Please reply yes or no.",
    ],
)
def test_they_agree_when_they_are_asked_to_confirm(question: str) -> None:
    assert customer().reply(question) == YES


def test_a_cue_is_said_when_it_is_asked_for_and_once() -> None:
    made = customer(
        "You want to return the kettle, but if the agent asks for confirmation, you want to keep the lid. If the agent "
        "asks which kettle, say that it is the red one. When asked for your zip code, say 10999."
    )
    assert made.opening == "I want to return the kettle."
    assert made.reply("Please confirm your name.") == "My name is Ann Poe."
    assert made.reply("Which kettle is it?") == "It is the red one."
    assert made.reply("Do you confirm the return?") == "I want to keep the lid."
    assert made.reply("Do you confirm the return without the lid?") == YES
    assert made.reply("What is your zip code?") == "10999."
    assert made.reply("What is your zip code?") == "My zip code is 10115."


def test_what_they_want_is_said_again_when_it_is_asked() -> None:
    made = customer("You want to return the kettle. The pan is fine.")
    assert made.reply("Hello! How can I help you today?") == made.opening
    assert made.reply("Which kettle?") == "I want to return the kettle."


def test_they_leave_when_it_is_done() -> None:
    assert customer().reply("Your kettle has been returned.") is None
    assert customer().reply("I have cancelled it. Is there anything else I can help you with?") is None
    several = customer("You want to return the kettle. You also want a pan.")
    assert several.reply("Your kettle has been returned.") == AGAIN
    assert several.reply("The pan has been exchanged, too. Anything else?") is None


def test_a_question_comes_before_what_is_done() -> None:
    assert customer().reply("The kettle is returned. Should I cancel the rest, too?") == YES


@pytest.mark.parametrize(("answer", "reply"), [("", AGAIN), ("Hm.", AGAIN), ("Which planet is yours?", UNKNOWN)])
def test_they_lose_patience_with_an_agent_that_leads_nowhere(answer: str, reply: str) -> None:
    made = customer()
    assert [made.reply(answer) for _ in range(PATIENCE)] == [*[reply] * (PATIENCE - 1), None]


def test_they_lose_patience_with_an_agent_that_repeats_itself() -> None:
    made = customer()
    name = "My name is Ann Poe."
    assert [made.reply("Your name?") for _ in range(PATIENCE + 1)] == [*[name] * PATIENCE, None]
    patient = customer()
    assert [patient.reply(f"Do you confirm part {part}?") for part in range(9)] == [YES] * 9


@given(
    st.lists(st.text(max_size=80) | st.sampled_from(["Your name?", "Do you confirm?", "Done.", "Why?"]), max_size=20)
)
@settings(deadline=None)
def test_the_same_answers_get_the_same_replies(answers: list[str]) -> None:
    told = "You want to return the kettle. If the agent asks for confirmation, say no."
    first, second = customer(told), customer(told)
    assert [first.reply(answer) for answer in answers] == [second.reply(answer) for answer in answers]


def test_a_task_that_holds_nothing_but_conditions_is_said_whole() -> None:
    assert customer("If the agent asks for a reason, say none.").opening == "If you ask for a reason, say none."


def test_stems_show_what_two_sentences_share() -> None:
    assert stems("Which keyboards, please?") & stems("I want the keyboard that clicks.") == {"keybo"}
    assert stems("I want to order this item") == frozenset()
