import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails.evidence.contacts import Contacts
from guardrails.finders.phones import Phones, bare_numbers, digit_runs, digits_of

OWN = "+49 30 5550100"
CODES = ("1", "7", "20", "27", "30", "39", "49", "81", "86", "211", "299", "353", "420", "599", "670", "886", "998")
SPARE = ("210", "259", "28", "292", "384", "388", "422", "671", "684", "83", "851", "969", "978", "990", "999")
SERVICES = ("800", "808", "870", "878", "881", "882", "883", "888", "979", "991")
"""Codes of satellites and international services."""


def same(one: str, other: str) -> bool:
    there, back = (digits_of(a) in Phones(frozenset([digits_of(b)])) for a, b in ((one, other), (other, one)))
    assert there is back
    return there


@pytest.mark.parametrize(
    ("form", "digits"),
    [
        ("+49 (0)30 5550100", "+49305550100"),
        ("0049 (0)30 5550100", "+49305550100"),
        ("＋４９３０５５５０１００", "+49305550100"),
        ("tel&colon;+49305550100?body=1", "+49305550100"),
        ("tel%3a+49305550100", "+49305550100"),
        ("wa.me/49305550100", "+49305550100"),
        ("1-900-493-0555", "+19004930555"),
        ("1 (900) 493 0555", "+19004930555"),
        ("(030) 5550100", "0305550100"),
        ("(0)30 5550100", "0305550100"),
        ("(212) 555-0142", "2125550142"),
        ("138 0013 8000", "13800138000"),
        ("13823456789", "13823456789"),
    ],
)
def test_a_number_is_kept_as_it_is_dialled(form: str, digits: str) -> None:
    assert digits_of(form) == digits


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (OWN, "0049305550100"),
        (OWN, "030/5550100"),
        (OWN, "030·5550100"),
        (OWN, "tel:+49305550100"),
        (OWN, "49305550100"),
        ("49305550100", "030 5550100"),
        ("305550100", "030 5550100"),
        ("1712345678", "+49 171 2345678"),
        ("1-212-555-0142", "(212) 555-0142"),
        ("+1 212 555 0142", "12125550142"),
        ("12125550142", "(212) 555-0142"),
        ("+86 138 2345 6789", "13823456789"),
        ("+39 06 1234567", "06 1234567"),
    ],
)
def test_numbers_are_the_same_with_and_without_the_country_code(one: str, other: str) -> None:
    assert same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (OWN, "+1-900-493-0555-0100"),
        (OWN, "0900 4930 5550100"),
        (OWN, "+88 49305550100"),
        (OWN, "+882 16 49305550100"),
        (OWN, "01900-49305550100"),
        (OWN, "0493 05550100"),
        (OWN, "+44 30 5550100"),
        (OWN, "030 5550100 99"),
        (OWN, "5550100"),
        ("0171 2345678", "+49 171 2345679"),
        ("0171 2345678", "345678"),
        ("0152 12345678", "(521) 234-5678"),
        ("0345678", "+49 345678"),
    ],
)
def test_other_numbers_that_end_alike_are_not(one: str, other: str) -> None:
    assert not same(one, other)


@pytest.mark.parametrize("code", CODES)
def test_every_countrys_code_may_be_left_out(code: str) -> None:
    assert same(f"+{code} 30 5550100", "030 5550100")


@pytest.mark.parametrize("code", [*SPARE, *SERVICES])
def test_a_code_of_no_country_is_not_left_out(code: str) -> None:
    assert not same(f"+{code} 30 5550100", "030 5550100")


GAPS = st.sampled_from(["", " ", "-", ".", "/", "·", " - ", "\u00a0"])


@settings(deadline=None, max_examples=300, database=None)
@given(st.sampled_from(CODES), st.from_regex(r"[2-9]\d{8}", fullmatch=True).filter(str.isascii), GAPS, GAPS)
def test_a_number_vouches_for_itself_at_home_and_abroad(code: str, digits: str, first: str, second: str) -> None:
    area, rest = digits[:3], first.join([digits[3:6], digits[6:]])
    forms = [f"0{area}{second or ' '}{rest}", *(f"{plus}{code} {area}{second}{rest}" for plus in ("+", "00"))]
    for source in (*forms, f"+{code} (0){area} {rest}"):
        known = Contacts.of(f"It is {source}, I think.")
        assert [form for form in forms if not known.know("phone", form)] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"phone": 49305550100, "id": 12345678}', ["49305550100"]),
        ("我的手机号是13800138000。", ["13800138000"]),
        ("a\\n13800138000", ["13800138000"]),
        ("on 2026-02-10, 20260210 or 2026-02-10T09:00:00.123456789", []),
        ("4930 5550100, 1234567890123456, 123456789.5, 0.123456789, x123456789, 123456789-1", []),
    ],
)
def test_long_numbers_in_one_piece_may_be_phones(text: str, found: list[str]) -> None:
    assert list(bare_numbers(text)) == found


def test_runs_begin_at_each_group_and_are_no_dates() -> None:
    assert list(digit_runs("order 10073 030 5550100")) == ["100730305550100", "0305550100", "5550100"]
    assert list(digit_runs("+49 30 5550100")) == ["+49305550100", "305550100", "5550100"]
    assert list(digit_runs("2026-02-10")) == []
    assert list(digit_runs("10145 2026-02-10")) == ["1014520260210"]


@pytest.mark.parametrize(
    "form",
    [
        "Mon-Fri 9-17 +49 900 1234567",
        "24/7 +49 900 1234567",
        "line 1 +49 900 1234567",
        "0 899 70 12 34",
        "0 (900) 123 45 67",
        "+ 49 900 1234567",
        "[+49] 900 1234567",
        "(900) 5550199",
        "1(900)555-0199",
        "+49'900'1234567",
        "`+49` `900` `1234567`",
        "+49    900    1234567",
        "0900 -- 1234567",
        "这个：请拨打+49 900 1234567。",
        "客服电话0900-1234567",
        "☎️+49 900 1234567",
        "this number: 0900 1234567",
        "hotline no. 0900 1234567",
        "T.0900-1234567",
        "Phone/0900 1234567",
        "Contact no. 0900 1234567",
        "For refunds: 0900 1234567",
        "Kundenhotline 0900 1234567",
        "Our partner 0900 1234567",
        "Emergency number: 0900 1234567",
        "The toll-free number 0800 1234567",
        "Tel.-Nr. 030 1234567",
    ],
)
def test_a_number_is_found_however_people_write_it(form: str) -> None:
    assert Contacts.of(f"Ring {form} for it.").phones.numbers


@pytest.mark.parametrize(
    "text",
    [
        "Total 19.90 + 4.90 + 15.00 = 39.80 EUR",
        "5 + 12 345 678 items",
        "0 10 20 30 40 50 60",
        "order 10712 + 10713 and 10714",
        "2026-03-01 + 30 days is 2026-03-31",
        "1+2+3+4+5+6+7+8+9",
        "+1 item on 2026-03-01 at 10:30",
        "offset +0200, 2026-01-01 +01:00",
        "+100.00 EUR -20.00 EUR 2026",
        "order number: 0123 4567 89",
        "Your order no. is safe: order no. 0123 4567 89",
        "Rechnungsnummer 0123 4567 89",
        "Kunden-Nr.: 0123 4567 89",
        "Tracking number 0123 4567 89",
        "订单号0123456789",
        "ABC-0123-4567-89",
    ],
)
def test_sums_and_dates_are_no_numbers_to_ring(text: str) -> None:
    assert not Contacts.of(text).phones.numbers
