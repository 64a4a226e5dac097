"""What may stand in a catalog file, entry by entry; and how one entry is checked.

Nested lists of a plan (its prices) and of a price (its versions) are checked entry by entry, so that one mistake does not
hide the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from catalog.fields import (
    PATTERN_SENTENCES,
    Count,
    Country,
    Currency,
    Flag,
    Id,
    Moment,
    Percentage,
    Price,
    Text,
    Units,
    Values,
    Zone,
)
from catalog.problems import Place, Problems, did_you_mean


class Entry(BaseModel):
    """One entry of a file. Keys it does not name are mistakes."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class NameEntry(Entry):
    """A name as printed on invoices; one text stands for both languages."""

    en: Text
    zh: Text | None = None


Name = Annotated[NameEntry, BeforeValidator(lambda value: {"en": value} if isinstance(value, str) else value)]


Aggregation = Literal[
    "sum",
    "count",
    "max",
    "min",
    "unique",
    "latest",
    "hourly_max",
    "daily_max",
    "unit_seconds",
    "unit_hours",
    "unit_days",
    "time_average",
    "seconds_of_changes",
    "hours_of_changes",
    "days_of_changes",
    "average_of_changes",
    "peak",
]


class MeterEntry(Entry):
    id: Id
    event_type: Text
    aggregation: Aggregation
    property: Text | None = None
    money: Text | None = None
    unit: Text
    scale: Annotated[Count, Field(ge=0, le=9)] = 0
    dimensions: Annotated[list[Text], Field(max_length=20)] = []
    lasts: Literal["second", "minute", "hour"] | None = None
    time_is: Literal["start", "end"] | None = None


Model = Literal[
    "per_unit",
    "graduated",
    "volume",
    "stair_step",
    "capacity",
    "package",
    "percentage",
    "graduated_percentage",
    "multiplier",
    "rated_time",
    "matrix",
    "dynamic",
    "flat",
]


class TierEntry(Entry):
    from_: Annotated[Units | None, Field(alias="from")] = None
    up_to: Units | None = None
    unit_price: Price | None = None
    rate: Percentage | None = None
    package_size: Units | None = None
    price: Price | None = None
    per: Units | None = None
    increment: Units | None = None
    flat: Price | None = None
    limits: dict[Text, Units] | None = None


class RoundingEntry(Entry):
    """How the amount of an event is rounded."""

    places: Annotated[Count, Field(ge=0, le=18)]
    method: Literal["half_up", "up"] = "half_up"


class UnitsEntry(Entry):
    """In which units a price is said."""

    per: Units
    round: Literal["up", "down", "half_up"] | None = None


class TermsEntry(Entry):
    """The price model and its numbers; which of them belong to which model is checked in catalog/terms.py."""

    model: Model | None = None
    unit_price: Price | None = None
    rate: Percentage | None = None
    factor: Price | None = None
    tiers: Annotated[list[TierEntry], Field(max_length=1000)] | None = None
    flat_at_zero: Flag | None = None
    package_size: Units | None = None
    price: Price | None = None
    fee: Price | None = None
    connect_fee: Price | None = None
    included: Units | None = None
    units: UnitsEntry | None = None
    counted_over: Literal["subscription", "account", "group"] | None = None
    within: Literal["hour", "day"] | None = None
    cap: Price | None = None
    floor: Price | None = None
    prorate: Flag | None = None
    per: Literal["period", "event", "level"] | None = None
    fixed: Price | None = None
    free_events: Annotated[Count, Field(ge=0)] | None = None
    minimum: Price | None = None
    maximum: Price | None = None
    minimum_units: Units | None = None
    rounding: RoundingEntry | None = None
    by: Annotated[Values, Field(min_length=1, max_length=20)] | None = None
    match: Literal["value", "longest_prefix"] | None = None
    takes: Literal["amount", "unit_price"] | None = None
    increment: Units | None = None
    price_per: Units | None = None
    default: Price | None = None
    rows: Annotated[list[dict[Text, Text]], Field(max_length=10_000)] | None = None
    table: Text | None = None


class DuringEntry(Entry):
    """The windows of a calendar in which a price holds."""

    calendar: Id
    windows: Annotated[Values, Field(min_length=1)]
    split: Flag = False


class VersionEntry(TermsEntry):
    valid_from: Moment
    valid_to: Moment | None = None
    where: dict[Text, Values] | None = None
    where_not: dict[Text, Values] | None = None
    during: DuringEntry | None = None
    tax_class: Id | None = None


class PriceEntry(Entry):
    id: Id
    name: Name
    meter: Id | None = None
    meters: Annotated[list[Id], Field(min_length=2, max_length=20)] | None = None
    recurring: Literal["month", "year"] | None = None
    currency: Currency | None = None
    tax_class: Id = "standard"
    where: dict[Text, Values] = {}
    where_not: dict[Text, Values] = {}
    during: DuringEntry | None = None


class PlanEntry(Entry):
    id: Id
    kind: Literal["version", "addon_bound", "addon"] = "version"
    name: Name
    currency: Currency | None = None


class CarrierEntry(Entry):
    """A carrier or supplier whose tariff the book holds; its prices are written like those of a plan."""

    id: Id
    name: Name
    currency: Currency | None = None


class CarrierPriceEntry(Entry):
    id: Id
    name: Name
    meter: Id
    currency: Currency | None = None
    where: dict[Text, Values] = {}
    where_not: dict[Text, Values] = {}
    during: DuringEntry | None = None


class TaxEntry(Entry):
    country: Country
    class_: Annotated[Id, Field(alias="class")] = "standard"
    rate: Percentage
    valid_from: Moment
    valid_to: Moment | None = None


class ShareTierEntry(Entry):
    """A part of the revenue, and the percentage of it that is shared."""

    up_to: Price | None = None
    share: Percentage


class AgreementEntry(Entry):
    id: Id
    partner: Id
    share: Percentage | None = None
    of: Literal["gross", "margin"] = "gross"
    tiers: Annotated[list[ShareTierEntry], Field(min_length=1, max_length=20)] | None = None
    per_unit: Price | None = None
    plans: Values = []
    prices: Values = []
    valid_from: Moment
    valid_to: Moment | None = None


class BookEntry(Entry):
    """What a file says about the book as a whole."""

    zone: Zone | None = None
    currency: Currency | None = None


E_ = TypeVar("E_", bound=Entry)


def check_entry(model: type[E_], data: object, place: Place, problems: Problems, *, nested: str | None = None) -> E_ | None:
    """The entry, or None with its mistakes noted. The list under the key `nested` is left to the caller."""
    if nested is not None and isinstance(data, dict):
        data = {key: value for key, value in data.items() if key != nested}
    try:
        return model.model_validate(data)
    except ValidationError as error:
        known_extra = [nested] if nested else []
        for detail in error.errors(include_url=False):
            note_detail(model, detail, place, problems, known_extra)
        return None


def note_detail(
    model: type[Entry], detail: ErrorDetails, place: Place, problems: Problems, known_extra: list[str] | None = None
) -> None:
    """Notes one of pydantic's findings in our words, at the place in the file."""
    steps = [step for step in detail["loc"] if step != "[key]"]
    kind = detail["type"]
    if kind == "extra_forbidden":
        known = known_keys(model, steps[:-1]) + (known_extra or [] if len(steps) == 1 else [])
        problems.add(place.at(*steps), f"is no known key here{did_you_mean(str(steps[-1]), known)}", key=True)
    else:
        problems.add(place.at(*steps), sentence(detail), key="[key]" in detail["loc"])


def sentence(detail: ErrorDetails) -> str:
    kind, given = detail["type"], detail["input"]
    facts: Mapping[str, Any] = detail.get("ctx", {})
    if kind == "missing":
        return "is missing; add it"
    if given is None:
        return "is empty; give it a value or leave the key out"
    if kind == "string_pattern_mismatch":
        return f"'{given}' {PATTERN_SENTENCES[facts['pattern']]}"
    if kind == "string_too_long":
        return f"is longer than {facts['max_length']} characters"
    if kind == "too_long":
        return f"has {facts['actual_length']} entries; at most {facts['max_length']} are allowed"
    if kind == "literal_error":
        options = [word.strip("'") for word in str(facts["expected"]).replace(" or ", ", ").split(", ")]
        if isinstance(given, str):
            return f"'{given}' is none of {', '.join(options)}{close_option(given, options)}"
    if kind in ("greater_than_equal", "less_than_equal"):
        word = "less" if kind == "greater_than_equal" else "more"
        return f"{given} is {word} than {facts.get('ge', facts.get('le'))}"
    wanted = {"list_type": "a list", "dict_type": "a mapping of keys to values", "model_type": "a mapping of keys to values"}
    if kind in wanted or kind in ("string_type", "literal_error"):
        return f"should be {wanted.get(kind, 'a single value')}, not {kind_of(given)}"
    return str(detail["msg"])


def close_option(given: str, options: list[str]) -> str:
    hint = did_you_mean(given, options)
    return hint if "did you mean" in hint else ""


def kind_of(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, list) else f"'{value}'"


def known_keys(model: type[BaseModel], steps: list[str | int]) -> list[str]:
    """Keys that the model, or the model nested in it at these steps, knows."""
    current: type[BaseModel] = model
    for step in steps:
        if isinstance(step, int):
            continue
        for name, info in current.model_fields.items():
            if step in (name, info.alias):
                current = nested_model(info.annotation) or current
    return [info.alias or name for name, info in current.model_fields.items()]


def nested_model(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Annotated, Union, UnionType, list):
        for part in get_args(annotation):
            if part is not NoneType and (found := nested_model(part)) is not None:
                return found
    return None
