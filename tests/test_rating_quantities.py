"""A quantity is read exactly or not at all."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rating.quantities import read_quantities
from tests.examples import examples

INT64 = 2**63 - 1


def read(text: str | None, scale: int) -> tuple[int | None, str | None]:
    # a second text keeps the plain-integer path from deciding for the first
    for others in ([], ["0.5"]):
        row = read_quantities(pl.Series([text, *others], dtype=pl.String), scale).row(0)
    return row[0], row[1]


@pytest.mark.parametrize(
    ("text", "scale", "quanta"),
    [
        ("0", 0, 0),
        ("3", 0, 3),
        ("3.0", 0, 3),
        ("3.25", 2, 325),
        ("3.250000000000000000000000000", 2, 325),
        ("1.5e3", 0, 1500),
        ("1.5E+3", 0, 1500),
        ("2500e-2", 0, 25),
        ("0.000000001", 9, 1),
        ("1e-9", 9, 1),
        ("-0", 0, 0),
        ("-0.0e5", 0, 0),
        ("0e308", 0, 0),
        (str(INT64), 0, INT64),
        ("9.223372036854775807e18", 0, INT64),
        ("123456789.123456789", 9, 123456789123456789),
    ],
)
def test_what_json_calls_a_number_is_read_exactly(text: str, scale: int, quanta: int) -> None:
    assert read(text, scale) == (quanta, None)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "3 ", " 3", "3\n", "+3", ".5", "5.", "007", "1_000", "1,5", "0x10", "--1", "1.2.3", "٣"),
        *("NaN", "nan", "Infinity", "-Infinity", "abc", "true", "null"),
        *("1e400", "1e-400", "1e", "1e+", "1e99999999999999999999"),
    ],
)
def test_what_json_does_not_call_a_number_is_refused(text: str) -> None:
    assert read(text, 2) == (None, "bad_quantity")


@pytest.mark.parametrize(("text", "scale"), [("0.5", 0), ("1.005", 2), ("1e-10", 9), ("15e-1", 0)])
def test_nothing_is_rounded_to_the_meter_s_scale(text: str, scale: int) -> None:
    assert read(text, scale) == (None, "bad_quantity")


@pytest.mark.parametrize("text", ["-1", "-0.001", "-1e30", "-1e-30"])
def test_below_zero_is_its_own_reason(text: str) -> None:
    assert read(text, 3) == (None, "negative_quantity")


@pytest.mark.parametrize(
    ("text", "scale"), [("1e30", 0), (str(INT64 + 1), 0), ("9223372036854775807", 1), ("9" * 1000, 0), ("1e308", 9)]
)
def test_beyond_64_bits_is_its_own_reason(text: str, scale: int) -> None:
    assert read(text, scale) == (None, "quantity_too_large")


def test_an_absent_property_is_missing() -> None:
    assert read(None, 0) == (None, "missing_field")


@examples(60)
@given(st.lists(st.decimals(0, 10**9, places=4), min_size=1, max_size=40), st.sampled_from(["{:f}", "{:e}", "{:.12f}"]))
def test_every_decimal_comes_back_as_it_was(values: list[Decimal], form: str) -> None:
    read_back = read_quantities(pl.Series([form.format(value) for value in values], dtype=pl.String), 4)
    assert read_back["problem"].null_count() == len(values)
    assert read_back["quantity_quanta"].to_list() == [int(value.scaleb(4)) for value in values]
