import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flightloop.tool import Effect, ToolSpec
from guardrails.evidence.acts import Act, sentences
from guardrails.text.verbs import participles


def act(name, description="", **fields):
    return Act.of(ToolSpec(name, description, {"type": "object"}, Effect.UNSAFE, **fields))


RENEW = act("renew_loan", "Renews a loan by four weeks.")


@pytest.mark.parametrize(
    "said",
    [
        "I have renewed Solaris.",
        "I've just renewed it until 3 May.",
        "We renewed your loan today.",
        "Your loan has been renewed.",
        "Solaris was successfully renewed until 2026-01-02.",
        "Done! Renewed until 3 May.",
        "Renewed Solaris until 3 May.",
        "Your renewal has been processed.",
        "I have processed the renewal.",
        "Solaris is now renewed.",
        "It's renewed.",
        "No problem, I have renewed it.",
        "I could not reach Dune, but I have renewed Solaris.",
        "I have gone ahead and renewed your loan.",
        "I've extended it by four weeks.",
        "**I have renewed Solaris.** Anything else?",
        "I have **renewed** loan 502.",
        "Yes, renewed.",
        "Renewed!",
        "Just renewed it!",
        "I managed to renew loan 502.",
        "Loan 502 is renewed now.",
        "The loan got renewed.",
        "Consider it renewed.",
        "Your renewal went through.",
        "Renewal successful.",
        "Your loan 502 is renewed for Ada Moor.",
        "Loan 502 is renewed on 2026-05-03.",
    ],
)
def test_what_says_that_it_was_done(said):
    assert list(RENEW.claims(said))


@pytest.mark.parametrize(
    "said",
    [
        "I have not renewed it.",
        "I haven't renewed it.",
        "Solaris could not be renewed.",
        "It could have been renewed.",
        "Loans can be renewed twice.",
        "A loan is renewed for four weeks.",
        "Your loan is renewed for 4 weeks if nobody waits for it.",
        "Each loan is renewed on Mondays.",
        "Renewed loans are due in four weeks.",
        "Shall I renew it? Was it renewed?",
        "No loan was renewed.",
        "If it was renewed, you get a mail.",
        "I will renew it.",
        "I have renewed nothing.",
        "You renewed it in May.",
        "It is due on 3 May.",
        "Books that were renewed are due later.",
        "It has been renewed by another member.",
    ],
)
def test_what_does_not(said):
    assert not list(RENEW.claims(said))


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ("Renew it, please", True),
        ("I'd like a renewal of Solaris", True),
        ("Can you renew it again?", True),
        ("Please do that once more", True),
        ("And when is it due now?", False),
        ("Did you renew it?", False),
        ("Was it renewed?", False),
        ("Thanks!", False),
        ("Please renew it once more.", True),
        ("Once more, please.", True),
        ("Do it again", True),
        ("I'd like another renewal", True),
        ("Don't renew it again.", False),
        ("No more renewals, please.", False),
        ("I never asked you to renew it again!", False),
        ("Undo the renewal.", False),
        ("Thanks for renewing it!", False),
        ("Great, thanks again!", False),
        ("Please tell me again when loan 501 is due.", False),
        ("Say that again, please.", False),
        ("I asked you to renew it. Did you?", False),
        ("You renewed it, right? Please confirm.", False),
        ("Would you renew it again if I asked?", False),
        ("I will renew it again next month myself.", False),
        ("Can you renew it again later?", False),
    ],
)
def test_what_asks_for_it(asked, wanted):
    assert RENEW.wanted_in(asked) is wanted


def test_a_verb_of_many_things_is_about_the_tool_beside_its_other_words():
    change = act("change_address", "Changes the address of an order.")
    assert list(change.claims("Your delivery address has been updated."))
    assert list(change.claims("I've changed it."))
    assert not list(change.claims("I have changed my mind."))


def test_a_description_tells_the_verb_that_a_name_does_not():
    assert list(act("loan_tool", "Pays a fee.").claims("Your payment of 12 EUR has been made."))
    assert act("x1", "") is None


def test_own_words_take_the_place_of_the_verbs():
    own = act("renew_loan", "Renews a loan.", claims=("verlängert", "wurde verlängert", "habe verlängert"))
    assert list(own.claims("Ihr Buch wurde verlängert."))
    assert not list(own.claims("Bücher können zweimal verlängert werden."))
    assert not list(own.claims("I have renewed it."))


def test_an_agents_own_answer_says_what_it_did():
    assert act("ask_billing", "Pays fees.", agent="billing") is None


def test_claims_have_limits():
    for claims in (("x",) * 33, ("x" * 101,), (" ",)):
        with pytest.raises(ValueError, match="claims"):
            act("renew", "", claims=claims)


@pytest.mark.parametrize(
    ("verb", "forms"),
    [
        ("cancel", {"canceled", "cancelled"}),
        ("apply", {"applied"}),
        ("pay", {"paid"}),
        ("deploy", {"deployed"}),
        ("stop", {"stoped", "stopped"}),
        ("close", {"closed"}),
    ],
)
def test_past_forms(verb, forms):
    assert set(participles(verb)) == forms


@given(st.text(max_size=400), st.text(max_size=30), st.text(max_size=60))
def test_no_text_breaks_it(text, name, description):
    made = act(name or "x", description)
    if made is not None:
        assert {one.sentence for one in made.claims(text)} <= set(sentences(text))
        made.wanted_in(text)


@pytest.mark.parametrize(
    "piece",
    [
        "I have renewed nothing ",
        " ",
        "renewed ",
        "! ",
        '."',
        "the renewal of a ",
        "I have now ",
        "your loan is renewed for A ",
    ],
)
def test_the_work_grows_with_the_text_alone(piece):
    def spent(times):
        began = time.process_time()
        list(RENEW.claims(piece * times))
        RENEW.wanted_in(piece * times)
        return time.process_time() - began

    spent(10)
    limit = 100 * max(spent(500), 0.001)  # for 16 times the text; squared it would be 256 times
    assert any(spent(8000) < limit for _ in range(3))  # other processes share the caches
