"""How each kind of value in a catalog or roster file is written, and what is said when it is not.

All values arrive as text. Numbers become exact Decimals, never floats.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache, lru_cache
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from babel import Locale
from babel.numbers import list_currencies
from pydantic import AfterValidator, BeforeValidator, StringConstraints
from pydantic_core import PydanticCustomError

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:@+-]{0,99}$"
TEXT_PATTERN = r"^[^\x00-\x1f\x7f]*[^\x00-\x1f\x7f\s][^\x00-\x1f\x7f]*$"
LINES_PATTERN = r"^[^\x00-\x09\x0b-\x1f\x7f]+$"

PATTERN_SENTENCES = {
    ID_PATTERN: "is no id; use letters, digits and . _ : @ + - (at most 100, starting with a letter or digit)",
    TEXT_PATTERN: "must be one line of visible text",
    LINES_PATTERN: "must be lines of visible text",
}

MAX_UNITS = Decimal(2**63 - 1)
NO_TERRITORY = frozenset(["AC", "CP", "CQ", "DG", "EA", "EU", "EZ", "IC", "QO", "TA", "UN", "XA", "XB", "XK", "ZZ"])


def wrong(sentence: str, **facts: object) -> PydanticCustomError:
    return PydanticCustomError("wrong", sentence, facts)


@lru_cache(maxsize=100_000)
def read_decimal(text: str) -> Decimal:
    """Plain digits to an exact Decimal. Not NaN, Infinity, exponents, thousands separators or signs other than minus."""
    if not re.fullmatch(r"-?\d{1,60}(\.\d{1,60})?", text, re.ASCII):
        raise wrong("'{text}' is no number; write plain digits, for example 0.05", text=text)
    return Decimal(text)


@lru_cache(maxsize=100_000)
def read_price(text: str) -> Decimal:
    value = read_decimal(text)
    if value < 0:
        raise wrong("{text} is negative; a price is 0 or more", text=text)
    if value >= 10**12:
        raise wrong("{text} is too large; a price is below 1000000000000 (10^12)", text=text)
    return _at_most(value, 18)


@lru_cache(maxsize=10_000)
def read_amount(text: str) -> Decimal:
    """An amount of money that may be below zero, as a share of a loss is."""
    value = read_decimal(text)
    if abs(value) >= 10**12:
        raise wrong("{text} is too large; an amount is below 1000000000000 (10^12)", text=text)
    return _at_most(value, 18)


@lru_cache(maxsize=100_000)
def read_units(text: str) -> Decimal:
    value = read_decimal(text)
    if value < 0:
        raise wrong("{text} is negative; a number of units is 0 or more", text=text)
    if value > MAX_UNITS:
        raise wrong("{text} is too large; at most {limit} units can be counted", text=text, limit=int(MAX_UNITS))
    return _at_most(value, 9)


@lru_cache(maxsize=10_000)
def read_percentage(text: str) -> Decimal:
    """'20%' to 0.2."""
    match = re.fullmatch(r"(\d{1,3}(\.\d{1,4})?) ?%", text, re.ASCII)
    if match is None or Decimal(match[1]) > 100:
        raise wrong("'{text}' is no percentage; write 0% to 100% with at most 4 decimals, for example 20%", text=text)
    return Decimal(match[1]) / 100


@lru_cache(maxsize=100_000)
def read_moment(text: str) -> date | datetime:
    """'2026-01-01' (starts at midnight of the zone that applies) or '2026-01-01T08:00:00+08:00'."""
    try:
        if re.fullmatch(r"20\d\d-\d\d-\d\d", text, re.ASCII):
            return date.fromisoformat(text)
        if re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)", text, re.ASCII):
            return datetime.fromisoformat(text)
    except ValueError:
        pass
    raise wrong("'{text}' is no date between 2000 and 2099; write it as 2026-01-31 or 2026-01-31T08:00:00+08:00", text=text)


def read_flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise wrong("'{text}' is neither true nor false", text=text)
    return text == "true"


@lru_cache(maxsize=10_000)
def read_count(text: str) -> int:
    if not re.fullmatch(r"-?\d{1,9}", text, re.ASCII):
        raise wrong("'{text}' is no whole number", text=text)
    return int(text)


def read_clock(text: str) -> int:
    """'08:00' to the minutes since midnight; '24:00' is the end of the day."""
    match = re.fullmatch(r"([01]\d|2[0-4]):([0-5]\d)", text, re.ASCII)
    minutes = int(match[1]) * 60 + int(match[2]) if match else 1441
    if minutes > 1440:
        raise wrong("'{text}' is no time of day; write 00:00 to 24:00", text=text)
    return minutes


def read_day(text: str) -> date:
    moment = read_moment(text)
    if isinstance(moment, datetime):
        raise wrong("'{text}' has a time; write the day alone, for example 2026-10-01", text=text)
    return moment


def check_currency(code: str) -> str:
    if code not in currencies():
        raise wrong("'{text}' is no ISO 4217 currency; write it like CNY or EUR", text=code)
    return code


def check_country(code: str) -> str:
    if code not in countries():
        raise wrong("'{text}' is no ISO 3166 country; write it in two capital letters like CN or DE", text=code)
    return code


def check_zone(name: str) -> str:
    if name not in zones():
        raise wrong("'{text}' is no time zone; write an IANA name like Asia/Shanghai or Europe/Berlin", text=name)
    return name


@cache
def currencies() -> frozenset[str]:
    return frozenset(list_currencies())


@cache
def countries() -> frozenset[str]:
    known = (str(code) for code in Locale("en").territories)
    return frozenset(code for code in known if re.fullmatch("[A-Z]{2}", code)) - NO_TERRITORY


@cache
def zones() -> frozenset[str]:
    return frozenset(available_timezones()) - {"localtime", "Factory"}


@lru_cache(maxsize=100_000)
def to_instant(moment: date | datetime, zone: str) -> datetime:
    """The UTC instant: a date starts at midnight in the zone."""
    if isinstance(moment, datetime):
        return moment.astimezone(UTC)
    return datetime.combine(moment, time(), ZoneInfo(zone)).astimezone(UTC)


def version_name(moment: date | datetime) -> str:
    """How a price version that starts then is called: '2026-01-01', or the UTC instant if it has a time."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(moment, datetime) else moment.isoformat()


def decimals_of(value: Decimal) -> int:
    """Decimals that a number needs, trailing zeros left out."""
    _, _, decimals = f"{value:f}".partition(".")
    return len(decimals.rstrip("0"))


def _at_most(value: Decimal, places: int) -> Decimal:
    if decimals_of(value) > places:
        raise wrong("{text} has more than {places} decimals", text=str(value), places=places)
    return value


def _from_text(read: Callable[[str], object]) -> BeforeValidator:
    def check(value: object) -> object:
        if not isinstance(value, str):
            raise wrong("should be a single value, not a list or mapping")
        return read(value)

    return BeforeValidator(check)


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


def split_words(text: object) -> object:
    """A list from one text with its parts separated by semicolons or spaces; anything else as it is."""
    if not isinstance(text, str):
        return text
    return text.replace(";", " ").split()


Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
Text = Annotated[str, StringConstraints(pattern=TEXT_PATTERN, max_length=300)]
Lines = Annotated[str, StringConstraints(pattern=LINES_PATTERN, max_length=2000, strip_whitespace=True)]
Price = Annotated[Decimal, _from_text(read_price)]
Amount = Annotated[Decimal, _from_text(read_amount)]
Units = Annotated[Decimal, _from_text(read_units)]
Percentage = Annotated[Decimal, _from_text(read_percentage)]
Moment = Annotated[date | datetime, _from_text(read_moment)]
Flag = Annotated[bool, _from_text(read_flag)]
Count = Annotated[int, _from_text(read_count)]
Clock = Annotated[int, _from_text(read_clock)]
Day = Annotated[date, _from_text(read_day)]
Currency = Annotated[str, AfterValidator(check_currency)]
Country = Annotated[str, AfterValidator(check_country)]
Zone = Annotated[str, AfterValidator(check_zone)]
Values = Annotated[list[Text], BeforeValidator(_one_or_more)]
"""A list, or one value alone."""
