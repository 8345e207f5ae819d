from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.vision.numerals import (
    Numeral,
    dotted_thousands,
    name_before,
    numbers_in,
    numeral,
    power_of_ten,
    unit_after,
    without_numbers,
)


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [("12", 12, ""), ("1,234", 1234, ""), ("1,234,567.5", 1234567.5, ""), ("1.234.567", 1234567, ""),
     ("1.234,5", 1234.5, ""), ("3,5", 3.5, ""),
     ("0,125", 0.125, ""), ("−40", -40, ""), ("–0.5", -0.5, ""), ("(12%)", -12, "%"), ("12.5 %", 12.5, "%"),
     ("€3.5k", 3500, "€"), ("$1.2M", 1.2e6, "$"), ("5k", 5000, ""), ("3.4万", 34000, ""), ("1.2亿", 1.2e8, ""),
     ("+7", 7, ""), ("1e6", 1e6, ""), ("25 kg", 25, "kg"), ("1 234", 1234, ""), ("-$5", -5, "$"), ("1O", 10, ""),
     ("35k-", 35_000, ""), ("20k -", 20_000, ""), ("40%-", 40, "%")],
)  # fmt: skip
def test_a_number_has_value_and_unit(text: str, value: float, unit: str) -> None:
    assert numeral(text) == Numeral(pytest.approx(value), unit)


@pytest.mark.parametrize("text", ["", "abc", "Q1", "2021-05", "12/24", "1.2.3", "Series 1", "--", "10³"])
def test_other_text_is_no_number(text: str) -> None:
    assert numeral(text) is None


@pytest.mark.parametrize(("text", "value"), [("10³", 1e3), ("102", 100), ("10^5", 1e5), ("10⁻²", 0.01), ("10³3", 1e3)])
def test_powers_of_ten_are_read(text: str, value: float) -> None:
    assert power_of_ten(text) == Numeral(pytest.approx(value))


@pytest.mark.parametrize(
    ("text", "value"), [("1.500", 1500), ("500", 500), ("-2.000 €", -2000), ("12.345.678", 12345678)]
)
def test_points_may_stand_between_thousands(text: str, value: float) -> None:
    found = dotted_thousands(text)
    assert found
    assert found.value == value


@pytest.mark.parametrize("text", ["0.500", "1.5", "1.5000", "a"])
def test_other_points_are_decimal(text: str) -> None:
    assert dotted_thousands(text) is None


def test_a_label_is_divided_from_its_numbers() -> None:
    text = "Apples: 120 (23.5%)"
    assert [number.value for number in numbers_in(text)] == [120, 23.5]
    assert [number.unit for number in numbers_in(text)] == ["", "%"]
    assert without_numbers(text) == "Apples"


@pytest.mark.parametrize(
    ("text", "number", "name", "unit"),
    [("Museum shop: 18,400 EUR", Numeral(18400.0), "Museum shop", "EUR"), ("46% Rent", Numeral(46.0, "%"), "Rent", "%"),
     ("Product 2: 1,400 kg", Numeral(1400.0), "Product 2", "kg"), ("120 Pears", Numeral(120.0), "Pears", ""),
     ("Apples: 120 (23.5%)", Numeral(120.0), "Apples", ""), ("2023", Numeral(7.0), "2023", "")],
)  # fmt: skip
def test_a_label_with_its_value_has_name_and_unit(text: str, number: Numeral, name: str, unit: str) -> None:
    assert (name_before(text, [number]), unit_after(text, number)) == (name, unit)


@given(st.integers(-(10**9), 10**9))
def test_grouped_whole_numbers_are_read_back(value: int) -> None:
    assert numeral(f"{value:,}") == Numeral(float(value))


@given(st.text(max_size=40))
def test_any_text_is_a_number_or_none(text: str) -> None:
    for found in (numeral(text), power_of_ten(text), *numbers_in(text)):
        assert found is None or isinstance(found.value, float)
    for number in numbers_in(text):
        assert isinstance(unit_after(text, number) + name_before(text, [number]), str)
    without_numbers(text)
