"""What may stand in roster files, YAML or CSV, entry by entry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from catalog.entries import Entry, TermsEntry, note_detail
from catalog.fields import Count, Country, Currency, Id, Lines, Moment, Percentage, Price, Text, Zone, split_words
from catalog.problems import Place, Problems

Licences = Annotated[Count, Field(ge=1, le=10_000_000)]


class AccountEntry(Entry):
    id: Id
    name: Text
    country: Country
    currency: Currency
    language: Literal["en", "zh"] = "en"
    zone: Zone
    billing_day: Annotated[Count, Field(ge=1, le=28)] = 1
    payment_days: Annotated[Count, Field(ge=0, le=365)] = 30
    tax_id: Text | None = None
    address: Lines | None = None
    email: Text | None = None
    partner: Id | None = None
    charging: Literal["prepaid", "postpaid"] = "postpaid"
    low_balance: Price | None = None
    overdraft: Price | None = None
    parent: Id | None = None


class PartnerEntry(Entry):
    id: Id
    name: Text
    language: Literal["en", "zh"] = "en"
    tax_id: Text | None = None
    address: Lines | None = None
    email: Text | None = None


class AddonEntry(Entry):
    """An add-on of a subscription; without own dates it has the subscription's."""

    plan: Id
    licences: Licences = 1
    from_: Annotated[Moment | None, Field(alias="from")] = None
    to: Moment | None = None


class HandleEntry(Entry):
    """A service identifier of a subscription; without own dates it has the subscription's."""

    id: Text
    from_: Annotated[Moment | None, Field(alias="from")] = None
    to: Moment | None = None


Addon = Annotated[AddonEntry, BeforeValidator(lambda value: {"plan": value} if isinstance(value, str) else value)]
Handle = Annotated[HandleEntry, BeforeValidator(lambda value: {"id": value} if isinstance(value, str) else value)]


class SubscriptionEntry(Entry):
    id: Id
    account: Id
    plan: Id
    licences: Licences = 1
    from_: Annotated[Moment, Field(alias="from")]
    to: Moment | None = None
    addons: Annotated[list[Addon], BeforeValidator(split_words), Field(default_factory=list)]
    identifiers: Annotated[list[Handle], BeforeValidator(split_words), Field(default_factory=list)]


class IdentifierEntry(HandleEntry):
    subscription: Id


class OverrideEntry(Entry):
    """A negotiated price: a discount on the list price, or own terms, or short for those a unit price or a fee."""

    account: Id | None = None
    subscription: Id | None = None
    price: Id
    valid_from: Moment
    valid_to: Moment | None = None
    discount: Percentage | None = None
    unit_price: Price | None = None
    fee: Price | None = None
    terms: TermsEntry | None = None


EntryT = TypeVar("EntryT", bound=Entry)


def check_entries(model: type[EntryT], items: Sequence[tuple[object, Place]], problems: Problems) -> list[tuple[EntryT, Place]]:
    """The entries that are right, with their places; the mistakes of the others are noted."""
    adapter = TypeAdapter(list[model])  # type: ignore[valid-type]
    places = [place for _, place in items]
    values = [data for data, _ in items]
    try:
        return list(zip(adapter.validate_python(values), places, strict=True))
    except ValidationError as error:
        wrong: set[int] = set()
        for detail in error.errors(include_url=False):
            row = int(detail["loc"][0])
            wrong.add(row)
            detail["loc"] = detail["loc"][1:]
            note_detail(model, detail, places[row], problems)
        kept = [index for index in range(len(values)) if index not in wrong]
        entries = adapter.validate_python([values[index] for index in kept])
        return list(zip(entries, [places[index] for index in kept], strict=True))
