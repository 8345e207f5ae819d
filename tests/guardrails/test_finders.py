from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flightloop.verdicts import Action
from guardrails.egress_document import Egress
from guardrails.finders.contacts import CONTACTS
from guardrails.finders.pattern import Finding, merged, redact
from guardrails.finders.pii import PATTERNS, pii_finder
from guardrails.finders.secrets import secrets_finder
from guardrails.rail_entries import LinksEntry, PiiEntry, TermsEntry
from guardrails.rails.detectors import detector_of, terms_finder
from guardrails.types import GuardContext

PII = pii_finder(tuple(PATTERNS))


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("mail anna.b+x@mail.example.org.", "mail [redacted:email]."),
        ("card 4111-1111-1111-1111 ok", "card [redacted:card] ok"),
        ("12 4111111111111111", "12 [redacted:card]"),
        ("4111111111111111 1234", "[redacted:card] 1234"),
        ("iban DE89 3704 0044 0532 0130 00 BIC COBADEFF", "iban [redacted:iban] BIC COBADEFF"),
        ("AB12 gb82west12345698765432", "AB12 [redacted:iban]"),
        ("+49 (0)30 1234567", "[redacted:phone]"),
        ("(212) 555-0147", "[redacted:phone]"),
        ("phone: 0490 75 40 81", "phone: [redacted:phone]"),
        ("call me at 01.02.20.26.33", "call me at [redacted:phone]"),
        ("call me on 2026-55-04", "call me on [redacted:phone]"),
        ("call 2026-03-04 490 7540", "call 2026-03-04 [redacted:phone]"),
        ("tel. 12.10.2020-5555", "tel. [redacted:phone]"),
        ("ssn 536-90-4399", "ssn [redacted:us_ssn]"),
        ("dni 12345678Z, nie X1234567L", "dni [redacted:es_dni], nie [redacted:es_dni]"),
        ("RSSMRA85T10A562S", "[redacted:it_cf]"),
        ("2 95 10 99 126 111 93", "[redacted:fr_nir]"),
        ("nino AB 12 34 56 C", "nino [redacted:gb_nino]"),
        ("cpf 390.533.447-05", "cpf [redacted:br_cpf]"),
    ],
)
def test_personal_data_is_found(text, redacted):
    assert redact(text, PII.find(text)) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "order 20240312345678 of 2024-03-12 for 1,299.00 EUR",
        "4111 1111 1111 1112",
        "DE88 3704 0044 0532 0130 00",
        "DE89 \u212a704 0044 0532 0130 00",
        "12345678A",
        "390.533.447-06",
        "version 1.2.3-4, see chapter 10.4",
        "user@host and @handle",
        "call 5 times, tel 12345",
        "You can reach me on 2026-05-07 at 09:15.",
        "I call on 2026-05-07 09:15, or on 7.5.2026, or on 05/07/26 9.15.",
        "Call me at 9.15-10.45",
        "Call 2026-05-07 2026-05-08",
    ],
)
def test_what_fails_its_checksum_or_is_something_else_stays(text):
    assert PII.find(text) == []


@pytest.mark.parametrize(
    "identifier",
    [
        "301474d3-2478-4083-8133-4865a941dc5b",
        "b204200936de43498204411149a1eb1a",
        "447669994916206a179ad4639255d799203ee8cf",
        "7e3708124119277a9e7b6e9dba36de5bb096c2b47cd1e79150ab357d014a33c8",
        "003515062738c68e6939ce41b405af2df48721bb",
        "run_380924787019547f7a740392",
        "fc3a17ceec4240868164329ad7e642c2",
        "0fe9a573-e88b-4ac4-b560-f20473556130",
    ],
)
@pytest.mark.parametrize("around", ["{}", "id {}, gone", '{{"id": "{}"}}', "/v1/items/{}/edit", "ID {}"])
def test_no_number_is_found_within_an_identifier(identifier, around):
    text = around.format(identifier.upper() if "ID" in around else identifier)
    assert PII.find(text) == []
    assert CONTACTS.find(text) == []


@given(st.sampled_from((1, 3, 4, 5)).flatmap(lambda version: st.uuids(version=version)))
@example(UUID("49e91289-8590-7186-6763-710672856031"))
def test_no_uuid_is_a_card_or_a_phone(identifier):
    for text in (str(identifier), identifier.hex):
        assert PII.find(f"see {text}!") == []
        assert CONTACTS.find(f"see {text}!") == []


@pytest.mark.parametrize(
    "text",
    [
        "card4111111111111111",
        "4111111111111111and",
        "ab 4111-1111-1111-1111-abc",
        "12345678-4111-1111-1111-1111",
        "face 4111 1111 1111 1111 decade",
        "id 301474d3-2478 4111111111111111",
    ],
)
def test_a_card_beside_letters_and_groups_is_found(text):
    assert "card" in {one.label for one in PII.find(text)}


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-" + "aB3_" * 6,
        "sk-" + "aB3x" * 8,
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_" + "a1B2" * 9,
        "github_pat_" + "a1B2" * 6,
        "xoxb-1234567890-abcdefghij",
        "sk_live_" + "a1B2" * 6,
        "AIza" + "a1B2c" * 7,
        "hf_" + "aBcDe" * 6,
        "SG." + "a" * 22 + "." + "b" * 43,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJ",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nabc and then nothing",
    ],
)
def test_secrets_are_found_to_their_end(secret):
    text = f"use {secret}"
    assert redact(text, secrets_finder().find(text)).startswith("use [redacted:")
    assert redact(text, secrets_finder().find(text)).endswith("]")


@pytest.mark.parametrize("text", ["sk-proj-short", "The risk-projection of ask-me", "AKIA is a prefix", "eyJ.eyJ.x"])
def test_what_only_resembles_a_secret_stays(text):
    assert secrets_finder().find(text) == []


def test_terms_are_whole_words():
    finder = terms_finder(["project falcon", "C++"])
    assert [item.start for item in finder.find("Project\n Falcon, projects falcon, c++")] == [0, 34]
    assert finder.find("project falcons and subproject falcon") == []


def spans_in(entry, text, context=None, egress=()):
    detector = detector_of(entry, Egress(hosts=egress))
    return [text[span.start : span.end] for span in detector.spans(text, context or GuardContext())]


def test_personal_data_that_the_run_knows_is_kept():
    text = "Anna@Example.org, bob@example.org, +49 30 123-4567"
    context = GuardContext(user_text="I am anna@example.org", results=("tel +49 (30) 1234567",))
    assert spans_in(PiiEntry(rail="pii"), text, context) == ["bob@example.org"]
    assert spans_in(PiiEntry(rail="pii", keep=("user",)), text, context) == ["bob@example.org", "+49 30 123-4567"]
    assert len(spans_in(PiiEntry(rail="pii", keep=()), text, context)) == 3
    assert spans_in(PiiEntry(rail="pii", kinds=("card",)), text) == []


def test_an_address_within_a_known_one_is_not_known():
    context = GuardContext(user_text="not-anna@example.org")
    assert spans_in(PiiEntry(rail="pii"), "anna@example.org", context) == ["anna@example.org"]


def test_links_to_strange_hosts_are_found():
    text = "See https://shop.example/a, ![x](https://evil.example/?d=secret) or https://docs.shop.example."
    entry = LinksEntry(rail="links")
    context = GuardContext(user_text="I read https://shop.example/start")
    found = ["https://evil.example/?d=secret", "https://docs.shop.example"]
    assert spans_in(entry, text, context) == found
    assert spans_in(entry, text, context, ("*.shop.example",)) == found[:1]
    assert spans_in(entry, "https://shop.example@evil.example/") == ["https://shop.example@evil.example/"]


def test_an_allowed_finding_is_told_and_changes_nothing():
    detector = detector_of(TermsEntry(rail="terms", terms=("x",), action=Action.ALLOW), Egress())
    assert detector.spans("x", GuardContext()) == [Finding(0, 1, "term")]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), max_size=8))
def test_redaction_replaces_exactly_the_union(pairs):
    text = "abcdefghijklmnopqrstuvwxyz0123456789ABCD"
    findings = [Finding(start, start + length, "x") for start, length in pairs]
    covered = {at for item in findings for at in range(item.start, item.end)}
    assert redact(text, findings).replace("[redacted:x]", "") == "".join(
        character for at, character in enumerate(text) if at not in covered
    )
    joined = merged(findings)
    assert all(first.end <= second.start for first, second in pairwise(joined))


@pytest.mark.parametrize(
    "form",
    [
        "wa.me/4915112345678",
        "https://wa.me/4915112345678",
        "**030** 99887766",
        "030_9988_7766",
        "0900 1 123 456",
        "(0)30 5551234",
        "(0) 30 555 12 34",
        "0900 1123456 7890123",
        "0900 1 1 2 3 4 5 6",
        "+882 16 49305550100",
        "00882 16 49305550100",
        "01900-49305550100",
        "evil @ example.net",
        "evil @ example . net",
        "evil**@**example.net",
        "evil\n@example.net",
        "evil@example.net-",
        "evil@example.net-today",
        "evil@example.net_today",
    ],
)
def test_contacts_in_disguise_are_found(form):
    text = f"Write to {form} today."
    assert any(text[one.start : one.end].strip("*") in form for one in CONTACTS.find(text))


@pytest.mark.parametrize(
    "text",
    [
        "5 000 000 - 3 000 000 = 2 000 000",
        "05 12 18 23 31 44",
        "00-11-22-33-44-55",
        "01 2 3 4 5 6 7 8 9 10",
        "Invoice 01-2345-6789",
        "01.03.2026 12",
        "Order (10067) of 2026-03-01 0 10",
        "It is in parcel 00340434161094015902.",
        "0123-4006381333931",
        "01 20260210120000",
    ],
)
def test_lists_of_numbers_and_references_are_no_phones(text):
    assert CONTACTS.find(text) == []


@pytest.mark.parametrize(
    "text", ["2 x Lamp @ 12.99 EUR", "Meet @ 5 p.m. today.", "See you @ home. Next week.", "1 @ 20.00"]
)
def test_an_at_sign_alone_makes_no_address(text):
    assert CONTACTS.find(text) == []
