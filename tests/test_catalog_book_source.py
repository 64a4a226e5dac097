"""Reading a price book: what a right one becomes, and every mistake with the spot where it stands."""

# ruff: noqa: E501 - the table holds whole messages

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from catalog.book_source import read_book
from schemas.book import Book
from schemas.errors import BadCatalog

BOOK = """\
currency: CNY
meters:
  - {id: minutes, event_type: meeting.ended, aggregation: sum, property: minutes, unit: minute, scale: 3, dimensions: [region]}
plans:
  - id: pro
    name: Pro
    prices:
      - id: pro.minutes
        name: Minutes
        meter: minutes
        versions:
          - valid_from: 2026-01-01
            model: graduated
            tiers:
              - {up_to: 100, unit_price: 0.05}
              - {unit_price: 0.04}
taxes:
  - {country: CN, rate: 6%, valid_from: 2020-01-01}
agreements:
  - {id: a1, partner: p1, share: 20%, plans: [pro], valid_from: 2026-01-01}
"""

MISTAKES: list[tuple[str, str, str, list[str]]] = [
    (
        "an unknown key",
        "unit: minute",
        "unti: minute",
        ["3:5: meters.0.unit: is missing; add it", "3:83: meters.0.unti: is no known key here; did you mean 'unit'?"],
    ),
    (
        "an unknown section",
        "taxes:",
        "taxs:",
        [
            "8:9: plans.0.prices.0.tax_class: tax class 'standard' has no rate under 'taxes:'",
            "17:1: taxs: is no known section; did you mean 'taxes'?",
        ],
    ),
    (
        "an unknown meter",
        "meter: minutes",
        "meter: minuets",
        ["10:16: plans.0.prices.0.meter: there is no meter 'minuets'; did you mean 'minutes'?"],
    ),
    (
        "a plan without a price",
        "taxes:\n",
        "  - {id: lite, name: Lite}\ntaxes:\n",
        ["17:5: plans.1: has no price; list at least one under 'prices:'"],
    ),
    (
        "a price without a version",
        "        versions:\n          - valid_from: 2026-01-01\n            model: graduated\n            tiers:\n              - {up_to: 100, unit_price: 0.05}\n              - {unit_price: 0.04}\n",
        "",
        ["8:9: plans.0.prices.0: has no version; list at least one with valid_from under 'versions:'"],
    ),
    (
        "a tier gap",
        "{unit_price: 0.04}",
        "{from: 200, unit_price: 0.04}",
        [
            "16:24: plans.0.prices.0.versions.0.tiers.1.from: leaves a gap: the tier starts at 200 but the one before ends at 100"
        ],
    ),
    (
        "overlapping tiers",
        "{unit_price: 0.04}",
        "{from: 50, unit_price: 0.04}",
        ["16:24: plans.0.prices.0.versions.0.tiers.1.from: overlaps: the tier starts at 50 but the one before ends at 100"],
    ),
    (
        "unordered tiers",
        "{unit_price: 0.04}",
        "{up_to: 50, unit_price: 0.04}\n              - {unit_price: 0.03}",
        ["16:25: plans.0.prices.0.versions.0.tiers.1.up_to: 50 is not above 100, where the tier starts; order tiers by up_to"],
    ),
    (
        "a bounded last tier",
        "{unit_price: 0.04}",
        "{up_to: 200, unit_price: 0.04}",
        [
            "16:25: plans.0.prices.0.versions.0.tiers.1.up_to: bounds the last tier; leave it out (or null), so that every quantity has a price"
        ],
    ),
    (
        "an unbounded tier before the last",
        "{up_to: 100, ",
        "{",
        ["15:17: plans.0.prices.0.versions.0.tiers.0.up_to: is missing; only the last tier is without an upper bound"],
    ),
    (
        "a tier without a price",
        "{unit_price: 0.04}",
        "{up_to: null}",
        [
            "16:17: plans.0.prices.0.versions.0.tiers.1: has no price; a tier of this model takes unit_price, package_size, price, flat"
        ],
    ),
    (
        "a unit price finer than the meter allows",
        "unit_price: 0.04",
        "unit_price: 0.0000000000000001",
        [
            "16:30: plans.0.prices.0.versions.0.tiers.1.unit_price: has 16 decimals; the meter counts 3 decimals, so a price at most 15"
        ],
    ),
    (
        "a tier bound finer than the meter",
        "up_to: 100",
        "up_to: 100.0001",
        ["15:25: plans.0.prices.0.versions.0.tiers.0.up_to: has 4 decimals; the meter counts 3"],
    ),
    (
        "a negative price",
        "0.04",
        "-0.04",
        ["16:30: plans.0.prices.0.versions.0.tiers.1.unit_price: -0.04 is negative; a price is 0 or more"],
    ),
    (
        "a price too large",
        "0.04",
        "1000000000000",
        [
            "16:30: plans.0.prices.0.versions.0.tiers.1.unit_price: 1000000000000 is too large; a price is below 1000000000000 (10^12)"
        ],
    ),
    (
        "NaN",
        "0.04",
        "NaN",
        ["16:30: plans.0.prices.0.versions.0.tiers.1.unit_price: 'NaN' is no number; write plain digits, for example 0.05"],
    ),
    (
        "infinity",
        "0.04",
        ".inf",
        ["16:30: plans.0.prices.0.versions.0.tiers.1.unit_price: '.inf' is no number; write plain digits, for example 0.05"],
    ),
    (
        "ten to the thirty",
        "0.04",
        "1e30",
        ["16:30: plans.0.prices.0.versions.0.tiers.1.unit_price: '1e30' is no number; write plain digits, for example 0.05"],
    ),
    (
        "a list for a price",
        "0.04",
        "[1]",
        ["16:30: plans.0.prices.0.versions.0.tiers.1.unit_price: should be a single value, not a list or mapping"],
    ),
    (
        "duplicate ids",
        "- {id: a1",
        "- {id: a1, partner: p2, share: 1%, plans: [pro], valid_from: 2026-01-01}\n  - {id: a1",
        ["21:10: agreements.1.id: there is another agreement 'a1' in 20:5; ids are unique"],
    ),
    (
        "a key twice",
        "name: Minutes",
        "name: Minutes\n        name: Minutes",
        ["10:9: plans.0.prices.0.name: stands here twice; keep one"],
    ),
    (
        "no currency",
        "currency: CNY\n",
        "",
        ["7:9: plans.0.prices.0.currency: is missing; set 'currency:' for the book, the plan or this price"],
    ),
    ("an unknown currency", "CNY", "RMB", ["1:11: currency: 'RMB' is no ISO 4217 currency; write it like CNY or EUR"]),
    (
        "an unknown zone",
        "currency: CNY",
        "zone: Asia/Peking",
        [
            "1:7: zone: 'Asia/Peking' is no time zone; write an IANA name like Asia/Shanghai or Europe/Berlin",
            "8:9: plans.0.prices.0.currency: is missing; set 'currency:' for the book, the plan or this price",
        ],
    ),
    (
        "an unknown plan in an agreement",
        "plans: [pro]",
        "plans: [prp]",
        ["20:47: agreements.0.plans.0: there is no plan 'prp'; did you mean 'pro'?"],
    ),
    (
        "an unknown price in an agreement",
        "plans: [pro]",
        "prices: [pro.minute]",
        ["20:48: agreements.0.prices.0: there is no price 'pro.minute'; did you mean 'pro.minutes'?"],
    ),
    ("an agreement over nothing", "plans: [pro], ", "", ["20:5: agreements.0: covers nothing; list plans or prices"]),
    (
        "a share that is no percentage",
        "20%",
        "0.2",
        ["20:34: agreements.0.share: '0.2' is no percentage; write 0% to 100% with at most 4 decimals, for example 20%"],
    ),
    (
        "a share above the whole",
        "20%",
        "120%",
        ["20:34: agreements.0.share: '120%' is no percentage; write 0% to 100% with at most 4 decimals, for example 20%"],
    ),
    (
        "a tax class without a rate",
        "name: Minutes",
        "name: Minutes\n        tax_class: reduced",
        ["10:20: plans.0.prices.0.tax_class: tax class 'reduced' has no rate under 'taxes:'; known are standard"],
    ),
    (
        "an unknown country",
        "country: CN",
        "country: UK",
        ["18:15: taxes.0.country: 'UK' is no ISO 3166 country; write it in two capital letters like CN or DE"],
    ),
    (
        "an unknown dimension",
        "meter: minutes",
        "meter: minutes\n        where: {regoin: cn}",
        ["11:17: plans.0.prices.0.where.regoin: 'regoin' is no dimension of the meter; did you mean 'region'?"],
    ),
    (
        "a filter without values",
        "meter: minutes",
        "meter: minutes\n        where: {region: []}",
        ["11:25: plans.0.prices.0.where.region: names no value; list at least one"],
    ),
    (
        "a number that does not belong to the model",
        "model: graduated",
        "model: graduated\n            unit_price: 1",
        [
            "14:13: plans.0.prices.0.versions.0.unit_price: does not belong to the model graduated, which takes tiers, flat_at_zero, included, counted_over, within, units, cap, per, free_events, minimum, maximum, rounding, floor, prorate"
        ],
    ),
    (
        "a missing number",
        "model: graduated",
        "model: package",
        [
            "12:13: plans.0.prices.0.versions.0.package_size: is missing; the model package needs it",
            "12:13: plans.0.prices.0.versions.0.price: is missing; the model package needs it",
            "14:13: plans.0.prices.0.versions.0.tiers: does not belong to the model package, which takes package_size, price, included, counted_over, within, units, cap, per, free_events, minimum, maximum, rounding, floor, prorate",
        ],
    ),
    (
        "an unknown model",
        "model: graduated",
        "model: gradated",
        [
            "13:20: plans.0.prices.0.versions.0.model: 'gradated' is none of per_unit, graduated, volume, stair_step, capacity, package, percentage, graduated_percentage, multiplier, rated_time, matrix, dynamic, flat; did you mean 'graduated'?"
        ],
    ),
    (
        "a version out of order",
        "          - valid_from: 2026-01-01",
        "          - {valid_from: 2026-02-01, model: per_unit, unit_price: 1}\n          - valid_from: 2026-01-01",
        [
            "13:25: plans.0.prices.0.versions.1.valid_from: 2026-01-01 is not after 2026-02-01 of the version before; order versions by valid_from"
        ],
    ),
    (
        "a version that ends before it starts",
        "model: graduated",
        "valid_to: 2025-01-01\n            model: graduated",
        ["13:23: plans.0.prices.0.versions.0.valid_to: 2025-01-01 is not after valid_from 2026-01-01"],
    ),
    (
        "a date that does not exist",
        "valid_from: 2026-01-01\n",
        "valid_from: 2026-02-30\n",
        [
            "12:25: plans.0.prices.0.versions.0.valid_from: '2026-02-30' is no date between 2000 and 2099; write it as 2026-01-31 or 2026-01-31T08:00:00+08:00"
        ],
    ),
    (
        "both meter and recurring",
        "meter: minutes",
        "meter: minutes\n        recurring: month",
        ["8:9: plans.0.prices.0: needs either 'meter' (usage) or 'recurring' (a fee per month or year)"],
    ),
    (
        "a bad aggregation",
        "aggregation: sum",
        "aggregation: summ",
        [
            "3:59: meters.0.aggregation: 'summ' is none of sum, count, max, min, unique, latest, hourly_max, daily_max, unit_seconds, unit_hours, unit_days, time_average, seconds_of_changes, hours_of_changes, days_of_changes, average_of_changes, peak; did you mean 'sum'?"
        ],
    ),
    (
        "a meter without a property",
        "property: minutes, ",
        "",
        ["3:5: meters.0.property: is missing; name the property of 'data' whose values sum takes"],
    ),
    ("a scale beyond nine", "scale: 3", "scale: 10", ["3:104: meters.0.scale: 10 is more than 9"]),
    ("a value left empty", "name: Pro", "name:", ["6:5: plans.0.name: is empty; give it a value or leave the key out"]),
    (
        "an id with a space",
        "id: pro\n",
        "id: pro plan\n",
        [
            "5:9: plans.0.id: 'pro plan' is no id; use letters, digits and . _ : @ + - (at most 100, starting with a letter or digit)",
            "20:47: agreements.0.plans.0: there is no plan 'pro'; known are pro plan",
        ],
    ),
    ("a missing key", "    name: Pro\n", "", ["5:5: plans.0.name: is missing; add it"]),
    (
        "a mapping where a list is expected",
        "taxes:\n  - {country: CN, rate: 6%, valid_from: 2020-01-01}",
        "taxes: {country: CN}",
        [
            "8:9: plans.0.prices.0.tax_class: tax class 'standard' has no rate under 'taxes:'",
            "17:8: taxes: should be a list (lines that start with '- ')",
        ],
    ),
    (
        "an alias",
        "name: Pro\n",
        "name: &n Pro\n    kind: *n\n",
        [
            "6:11: plans.0.kind: 'Pro' is none of version, addon_bound, addon",
            "6:11: plans.0.kind: refers to '&n'; write the value out, references are not read",
        ],
    ),
    (
        "a tag",
        "name: Pro\n",
        "name: !python/name Pro\n",
        ["6:11: plans.0.name: has the tag '!python/name'; remove it, tags are not read"],
    ),
    (
        "a file that is no YAML",
        "    prices:",
        "   prices:",
        [
            "7:4: not valid YAML: expected <block end>, but found '<block mapping start>'; check indentation, quotes and brackets"
        ],
    ),
    (
        "two documents",
        "taxes:",
        "---\ntaxes:",
        ["17:1: not valid YAML: but found another document; check indentation, quotes and brackets"],
    ),
]
"""What is wrong, the text of BOOK it replaces, the wrong text, and all that is said about it as line:column: message."""


def read(folder: Path, **files: str) -> Book:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return read_book(folder)


def problems_of(folder: Path, text: str) -> list[str]:
    with pytest.raises(BadCatalog) as caught:
        read(folder, book=text)
    return [problem.replace(f"{folder}/book.yaml:", "") for problem in caught.value.problems]


@pytest.mark.parametrize(("right", "wrong", "said"), [case[1:] for case in MISTAKES], ids=[case[0] for case in MISTAKES])
def test_a_mistake_is_reported_where_it_stands(tmp_path: Path, right: str, wrong: str, said: list[str]) -> None:
    assert BOOK.count(right) >= 1
    assert problems_of(tmp_path, BOOK.replace(right, wrong, 1)) == said


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = BOOK.replace("scale: 3", "scale: x").replace("0.05", "-1").replace("rate: 6%", "rate: 6").replace("[pro]", "[pre]")
    assert [problem.split(": ")[:2] for problem in problems_of(tmp_path, text)] == [
        ["3:104", "meters.0.scale"],
        ["15:42", "plans.0.prices.0.versions.0.tiers.0.unit_price"],
        ["18:25", "taxes.0.rate"],
        ["20:47", "agreements.0.plans.0"],
    ]


@pytest.mark.parametrize(
    ("price", "said"),
    [
        ("99999999999999999999999999999999999", "is too large; a price is below 1000000000000 (10^12)"),
        ("0.0000000000000000001", "has more than 18 decimals"),
        ("1,5", "is no number"),
        ("+1", "is no number"),
        ("1_000", "is no number"),
        ("0x10", "is no number"),
        ("１", "is no number"),
    ],
)
def test_a_price_is_plain_digits_that_fit(tmp_path: Path, price: str, said: str) -> None:
    problem, *others = problems_of(tmp_path, BOOK.replace("0.04", f'"{price}"'))
    assert problem.startswith("16:30: plans.0.prices.0.versions.0.tiers.1.unit_price: ")
    assert said in problem
    assert others == []


def test_two_currencies_in_one_plan_are_refused(tmp_path: Path) -> None:
    text = BOOK.replace("    name: Pro\n", "    name: Pro\n    currency: USD\n").replace(
        "        meter: minutes\n", "        meter: minutes\n        currency: EUR\n"
    )
    said = "12:19: plans.0.prices.0.currency: EUR, but another price of this plan is in USD; a plan has one currency"
    assert problems_of(tmp_path, text) == [said]


def test_a_quantity_price_and_instant_are_exact(tmp_path: Path) -> None:
    book = read(tmp_path, book="zone: Asia/Shanghai\n" + BOOK.replace("0.05", "0.050000000000001"))
    assert book.version == 0
    assert book.tiers["unit_price"].to_list() == [Decimal("0.050000000000001"), Decimal("0.04")]
    assert book.tiers["tier_to"].to_list() == [Decimal(100), None]
    assert book.prices["valid_from"].to_list() == [datetime(2025, 12, 31, 16, tzinfo=UTC)]
    assert book.prices["price_version"].to_list() == ["2026-01-01"]
    assert book.agreements.row(0)[:4] == ("a1", "p1", "pro.minutes", Decimal("0.2"))


@pytest.mark.parametrize("unit", ["NO", "22:00", "0755", "1e3", "true", "2026-01-01", "~x", "0x1F"])
def test_a_text_stays_the_text_that_was_written(tmp_path: Path, unit: str) -> None:
    book = read(tmp_path, book=BOOK.replace("unit: minute,", f"unit: {unit},"))
    assert book.meters["unit"].to_list() == [unit]


def test_a_version_lasts_until_the_next_one_or_its_own_end(tmp_path: Path) -> None:
    later = "          - {valid_from: 2026-07-01, valid_to: 2027-01-01, model: per_unit, unit_price: 1}\ntaxes:"
    book = read(tmp_path, book=BOOK.replace("taxes:", later))
    july, january = datetime(2026, 7, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    assert book.prices["valid_to"].to_list() == [july, january]


def test_a_version_may_bring_its_own_filter(tmp_path: Path) -> None:
    later = "          - {valid_from: 2026-07-01, where_not: {region: [us, cn]}, model: per_unit, unit_price: 1}\ntaxes:"
    text = BOOK.replace("taxes:", later).replace("meter: minutes", "meter: minutes\n        where_not: {region: hk}")
    book = read(tmp_path, book=text)
    assert book.filters["values"].to_list() == [["hk"], ["cn", "us"]]
    assert book.filters["excluded"].to_list() == [True, True]


def test_files_and_the_order_in_them_make_no_difference(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    whole = read(tmp_path / "one", book=BOOK)
    head, taxes = BOOK.split("taxes:")
    split = read(tmp_path / "two", zz=head, aa="taxes:" + taxes)
    assert whole.digest == split.digest
    assert whole.prices.equals(split.prices)


def test_a_setting_in_two_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadCatalog) as caught:
        read(tmp_path, a=BOOK, b="currency: EUR\n")
    assert caught.value.problems == [f"{tmp_path}/b.yaml:1:1: currency: is set in {tmp_path}/a.yaml:1:11 too; keep one"]


def test_a_partner_cannot_have_two_shares_of_one_price_at_a_time(tmp_path: Path) -> None:
    said = problems_of(tmp_path, BOOK + "  - {id: a2, partner: p1, share: 5%, prices: [pro.minutes], valid_from: 2027-01-01}\n")
    assert said == ["21:5: agreements.1: partner 'p1' has another agreement for price 'pro.minutes' at that time"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "1:1: no plan"),
        (b"a: \xff\n", "1:4: not UTF-8 text"),
        (b"a: \x07\n", "1:1: not valid YAML"),
        (b"a: " + b"[" * 600, "1:1: nested too deeply"),
        (b'zone: "\\ud83d"\n', "1:7: zone: holds half a character"),
        (b"- a\n- b\n", "1:1: should hold sections"),
    ],
    ids=["empty", "latin", "control", "deep", "half", "list"],
)
def test_a_file_that_is_no_catalog_says_so(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "book.yaml").write_bytes(content)
    with pytest.raises(BadCatalog, match="mistake") as caught:
        read_book(tmp_path)
    assert said in str(caught.value)


def test_a_folder_without_files_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadCatalog, match=r"no \*\.yaml file here"):
        read_book(tmp_path)


def test_every_model_becomes_tiers_that_join_from_zero(tmp_path: Path) -> None:
    text = BOOK.replace(
        "taxes:",
        """\
      - {id: fee, name: Fee, recurring: year, versions: [{valid_from: 2026-01-01, fee: 300}]}
      - {id: pack, name: Pack, meter: minutes, versions: [
          {valid_from: 2026-01-01, model: package, package_size: 50, price: 2.5, included: 10}]}
      - {id: vol, name: Vol, meter: minutes, versions: [
          {valid_from: 2026-01-01, model: volume, flat_at_zero: true, tiers: [{up_to: 5, flat: 9}, {unit_price: 1}]}]}
taxes:""",
    )
    book = read(tmp_path, book=text)
    starts = book.tiers.group_by("price_id", maintain_order=True).agg("tier_from", "tier_to")
    assert starts.rows() == [
        ("fee", [Decimal(0)], [None]),
        ("pack", [Decimal(0)], [None]),
        ("pro.minutes", [Decimal(0), Decimal(100)], [Decimal(100), None]),
        ("vol", [Decimal(0), Decimal(5)], [Decimal(5), None]),
    ]
    models = book.prices.select("price_id", "model", "interval", "included_units", "flat_at_zero").rows()
    assert models == [
        ("fee", "flat", "year", Decimal(0), False),
        ("pack", "package", None, Decimal(10), False),
        ("pro.minutes", "graduated", None, Decimal(0), False),
        ("vol", "volume", None, Decimal(0), True),
    ]
    pack = book.tiers.filter(pl.col("price_id") == "pack")
    assert pack.select("unit_price", "package_size").rows() == [(Decimal("2.5"), Decimal(50))]


def test_ids_of_meters_plans_and_prices_are_unique_over_all_files(tmp_path: Path) -> None:
    head, _ = BOOK.split("taxes:")
    with pytest.raises(BadCatalog) as caught:
        read(tmp_path, a=BOOK, b=head.removeprefix("currency: CNY\n"))
    first, second = f"{tmp_path}/a.yaml", f"{tmp_path}/b.yaml"
    assert caught.value.problems == [
        f"{second}:2:10: meters.0.id: there is another meter 'minutes' in {first}:3:5; ids are unique",
        f"{second}:4:9: plans.0.id: there is another plan 'pro' in {first}:5:5; ids are unique",
        f"{second}:7:13: plans.0.prices.0.id: there is another price 'pro.minutes' in {first}:8:9; ids are unique",
    ]


PRICE = """\
currency: CNY
meters:
  - {id: seconds, event_type: call, aggregation: sum, property: seconds, unit: second, dimensions: [region, kind]}
  - {id: paid, event_type: order, aggregation: sum, property: amount, unit: CNY, scale: 2}
  - {id: lines, event_type: lines, aggregation: max, property: lines, unit: line}
plans:
  - {id: pro, name: Pro, prices: [{id: p, name: P, meter: METER, versions: [
      {valid_from: 2026-01-01, TERMS}]}]}
taxes: [{country: CN, rate: 6%, valid_from: 2020-01-01}]
"""


@pytest.mark.parametrize(
    ("meter", "terms", "said"),
    [
        (
            "seconds",
            "model: percentage, rate: 3%",
            "model: percentage is of an amount of money, so the meter's unit must be CNY",
        ),
        ("paid", "model: percentage, rate: 0.03", "rate: '0.03' is no percentage"),
        ("paid", "model: percentage, rate: -3%", "rate: '-3%' is no percentage"),
        ("paid", "model: percentage, rate: 3%, fixed: 1, cap: 5", "cap: is of a whole period, but this price is of each event"),
        ("paid", "model: percentage, rate: 3%, minimum: 5, maximum: 4", "minimum: 5 is more than the maximum 4"),
        ("paid", "model: percentage, rate: 3%, free_events: -1", "free_events: -1 is less than 0"),
        ("paid", "model: percentage, rate: 3%, per: period, fixed: 1", "fixed: is of each event, but this price is of a whole"),
        (
            "lines",
            "model: per_unit, unit_price: 3, maximum: 9",
            "model: prices each event by itself, so the meter must be a sum",
        ),
        ("seconds", "model: graduated, maximum: 9, tiers: [{unit_price: 1}]", "say 'per: event' or remove it"),
        (
            "seconds",
            "model: graduated, per: event, flat_at_zero: true, tiers: [{unit_price: 1}]",
            "flat_at_zero: is of a whole",
        ),
        ("seconds", "model: graduated, tiers: [{rate: 1%}]", "rate: does not belong to a tier of this model"),
        (
            "seconds",
            "model: graduated, tiers: [{package_size: 9}]",
            "price: is missing; a package has a package_size and a price",
        ),
        ("seconds", "model: graduated, tiers: [{package_size: 0, price: 1}]", "package_size: is 0"),
        (
            "seconds",
            "model: graduated, tiers: [{package_size: 9, price: 1, unit_price: 2}]",
            "price: is the price of a package",
        ),
        ("seconds", "model: stair_step, tiers: [{}]", "has no price; a tier of this model takes flat"),
        ("seconds", "model: graduated, tiers: [{up_to: 9, unit_price: 1}, {from: 5, unit_price: 1}]", "from: overlaps"),
        ("seconds", "model: rated_time, tiers: [{unit_price: 1}]", "increment: is missing; a tier of this model needs it"),
        ("seconds", "model: rated_time, tiers: [{unit_price: 1, increment: 0}]", "increment: is 0"),
        (
            "seconds",
            "model: rated_time, tiers: [{unit_price: 1, increment: 0.5}]",
            "increment: has 1 decimals; the meter counts 0",
        ),
        (
            "seconds",
            "model: rated_time, tiers: [{up_to: 90, unit_price: 1, increment: 60}, {unit_price: 1, increment: 1}]",
            "up_to: the slot is 90 long, which is no whole number of increments of 60",
        ),
        (
            "seconds",
            "model: rated_time, rounding: {places: 19}, tiers: [{unit_price: 1, increment: 1}]",
            "rounding.places: 19 is more than 18",
        ),
    ],
)
def test_terms_that_do_not_fit_say_why(tmp_path: Path, meter: str, terms: str, said: str) -> None:
    with pytest.raises(BadCatalog) as caught:
        read(tmp_path, book=PRICE.replace("METER", meter).replace("TERMS", terms))
    assert said in str(caught.value)


def test_terms_of_an_event_reach_the_book(tmp_path: Path) -> None:
    said = "model: percentage, rate: 3%, fixed: 0.5, free_events: 2, included: 9, maximum: 7, rounding: {places: 2, method: up}"
    book = read(tmp_path, book=PRICE.replace("METER", "paid").replace("TERMS", said))
    columns = ("per", "included_units", "free_events", "minimum", "maximum", "round_places", "round_method")
    assert book.prices.select(columns).row(0) == ("event", Decimal(9), 2, None, Decimal(7), 2, "up")
    assert book.tiers.select("unit_price", "flat").row(0) == (Decimal("0.03"), Decimal("0.5"))


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ("by: [regoin], default: 1, rows: []", "by.0: 'regoin' is no dimension of the meter; did you mean 'region'?"),
        ("by: [region, region], default: 1, rows: []", "by.1: 'region' stands here twice; keep one"),
        ("by: [region], default: 1", "needs either 'rows' or 'table'"),
        ("by: [region], rows: []", "default: is missing; the model matrix needs it"),
        ("by: [region], default: 1, rows: [{unit_price: 1}]", "rows.0.region: 'region' is missing"),
        ("by: [region], default: 1, rows: [{region: cn}]", "rows.0.unit_price: 'unit_price' is missing"),
        ("by: [region], default: 1, rows: [{region: cn, unit_price: -1}]", "rows.0.unit_price: -1 is negative"),
        ("by: [region], default: 1, rows: [{region: cn, unit_price: 1, knd: x}]", "rows.0.knd: is no known key here"),
        ("by: region, default: 1, rows: [{region: cn, unit_price: 1}, {region: cn, unit_price: 2}]", "the row cn stands in"),
        ("by: [region, kind], match: longest_prefix, default: 1, rows: []", "by: names several dimensions; a longest_prefix"),
        (
            "by: region, match: longest_prefix, default: 1, rows: [{region: 4x, unit_price: 1}]",
            "'4x' is no prefix; write 1 to 17",
        ),
        ("by: region, price_per: 60, default: 1, rows: []", "increment: is missing; a price for several units is charged by"),
        ("by: region, price_per: 0, increment: 1, default: 1, rows: []", "price_per: is 0"),
        ("by: [region], default: 1, table: nowhere.csv", "table: there is no file 'nowhere.csv' beside this one"),
        ("by: [region], default: 1, table: ../rates.csv", "table: there is no file '../rates.csv' beside this one"),
        ("by: [region], default: 1, table: rates.csv", "rates.csv:3:4: unit_price: '0.O3' is no number"),
    ],
)
def test_a_matrix_that_does_not_fit_says_why(tmp_path: Path, terms: str, said: str) -> None:
    (tmp_path / "rates.csv").write_text("region,unit_price\ncn,0.05\nus,0.O3\n")
    with pytest.raises(BadCatalog) as caught:
        read(tmp_path, book=PRICE.replace("METER", "seconds").replace("TERMS", f"model: matrix, {terms}"))
    assert said in str(caught.value)


def test_a_matrix_of_rows_and_one_of_a_table_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "rates.csv").write_text("kind,unit_price,region\npstn,0.3,cn\npstn,0.4,us\n")
    head = "model: matrix, by: [region, kind], default: 0.5, "
    rows = "rows: [{region: cn, kind: pstn, unit_price: 0.3}, {region: us, kind: pstn, unit_price: 0.4}]"
    price = PRICE.replace("METER", "seconds")
    written = read(tmp_path, book=price.replace("TERMS", head + rows))
    listed = read(tmp_path, book=price.replace("TERMS", head + "table: rates.csv"))
    assert written.digest == listed.digest
    expected = [(0, None, Decimal("0.5")), (1, ["cn", "pstn"], Decimal("0.3")), (2, ["us", "pstn"], Decimal("0.4"))]
    assert written.tiers.select("tier", "values", "unit_price").rows() == expected
    assert written.prices.select("per", "by").row(0) == ("event", ["region", "kind"])
