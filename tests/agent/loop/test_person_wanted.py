from __future__ import annotations

import time

import pytest

from agent.loop.person_wanted import wants_person


@pytest.mark.parametrize(
    "text",
    [
        "I want to talk to a real person.",
        "Give me a real person!",
        "Let me speak with your boss about order 10896.",
        "I never got any answer about my complaint. Get me someone who can decide.",
        "Can I talk to somebody from your team?",
        "Stop this robot nonsense, put me through to an agent.",
        "I need to speak to a supervisor right now",
        "can u connect me with support staff pls",
        "I don't want a bot, I want a human",
        "Is there a human I could chat with?",
        "Ich möchte mit einem Mitarbeiter sprechen.",
        "Können Sie mich bitte an eine Kollegin weiterleiten?",
        "我要人工客服",
        "转人工",
        "人工！",
        "我要投诉，找你们经理来",
        "有没有真人客服？",
    ],
)
def test_a_plain_wish_is_recognised(text: str) -> None:
    assert wants_person(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Where is my order 10896?",
        "Are you a real person?",
        "I spoke to someone yesterday and got no answer.",
        "I don't want to talk to a human.",
        "If you can't do it, let me talk to a person.",
        "When can I talk to someone on the phone?",
        "Please hand the parcel to somebody else at the address.",
        "Is it a gift for a person who has everything?",
        "Does the manager's chair come with wheels?",
        "Is the two-person tent waterproof?",
        "Do you need staff for packing?",
        "Wann kann ich mit jemandem sprechen?",
        "Ich spreche mit meinem Mann darüber.",
        "人工客服周六几点上班？",
        "如果不行，就转人工",
        "不要转人工",
        "这是人工皮革吗？",
    ],
)
def test_other_words_are_left_to_the_model(text: str) -> None:
    assert not wants_person(text)


@pytest.mark.parametrize("text", ["talk to a " * 100_000, "mit " * 100_000, "找" * 200_000, "a," * 100_000])
def test_long_messages_take_no_time(text: str) -> None:
    began = time.process_time()
    wants_person(text)
    assert time.process_time() - began < 5
