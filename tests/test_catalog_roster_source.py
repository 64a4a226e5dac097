"""Reading a roster from YAML and CSV: what it becomes, and every mistake with the spot where it stands."""

# ruff: noqa: E501 - the table holds whole messages

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from catalog.book_source import read_book
from catalog.roster_source import read_roster
from schemas.book import Book
from schemas.errors import BadCatalog
from schemas.roster import Roster

BOOK = """\
currency: CNY
meters:
  - {id: minutes, event_type: meeting.ended, aggregation: sum, property: minutes, unit: minute, scale: 3, dimensions: [region]}
plans:
  - id: pro
    name: Pro
    prices:
      - {id: pro.fee, name: Fee, recurring: month, versions: [{valid_from: 2026-01-01, fee: 300}]}
      - {id: pro.minutes, name: Minutes, meter: minutes, versions: [{valid_from: 2026-01-01, model: per_unit, unit_price: 0.05}]}
  - id: lite
    name: Lite
    prices:
      - {id: lite.minutes, name: Minutes, meter: minutes, versions: [{valid_from: 2026-01-01, model: per_unit, unit_price: 0.05}]}
  - id: extra
    kind: addon_bound
    name: Extra
    prices:
      - {id: extra.fee, name: Extra, recurring: month, versions: [{valid_from: 2026-01-01, fee: 50}]}
  - id: more
    kind: addon
    name: More
    prices:
      - {id: more.fee, name: More, recurring: month, versions: [{valid_from: 2026-01-01, fee: 70}]}
taxes:
  - {country: CN, rate: 6%, valid_from: 2020-01-01}
agreements:
  - {id: a1, partner: p1, share: 20%, plans: [pro], valid_from: 2026-01-01}
"""

ROSTER = """\
accounts:
  - id: acme
    name: Acme
    country: CN
    currency: CNY
    zone: Asia/Shanghai
    billing_day: 5
    tax_id: 91310000MA1K35XY7T
    partner: p1
  - {id: other, name: Other, country: CN, currency: CNY, zone: UTC}
subscriptions:
  - id: s1
    account: acme
    plan: pro
    licences: 2
    from: 2026-01-01
    addons: [extra]
    identifiers: [room-1]
overrides:
  - account: acme
    price: pro.minutes
    valid_from: 2026-01-01
    discount: 15%
  - subscription: s1
    price: pro.minutes
    valid_from: 2026-01-01
    terms:
      model: volume
      tiers:
        - {up_to: 50, unit_price: 0.03}
        - {unit_price: 0.02}
partners:
  - {id: p1, name: P}
"""

MISTAKES: list[tuple[str, str, str, list[str]]] = [
    (
        "an unknown plan",
        "plan: pro\n",
        "plan: prp\n",
        ["14:11: subscriptions.0.plan: there is no plan 'prp'; did you mean 'pro'?"],
    ),
    (
        "an unknown account",
        "account: acme\n    plan",
        "account: acne\n    plan",
        [
            "13:14: subscriptions.0.account: there is no account 'acne'; did you mean 'acme'?",
            "21:12: overrides.0.price: price 'pro.minutes' is of plan 'pro', which account 'acme' does not hold",
        ],
    ),
    (
        "an unknown add-on",
        "addons: [extra]",
        "addons: [extro]",
        ["17:14: subscriptions.0.addons.0: there is no plan 'extro'; did you mean 'extra'?"],
    ),
    (
        "an unknown zone",
        "zone: Asia/Shanghai",
        "zone: Asia/Peking",
        ["6:11: accounts.0.zone: 'Asia/Peking' is no time zone; write an IANA name like Asia/Shanghai or Europe/Berlin"],
    ),
    ("an unknown partner", "partner: p1", "partner: p2", ["9:14: accounts.0.partner: there is no partner 'p2'; known are p1"]),
    (
        "a currency that is not the plan's",
        "currency: CNY",
        "currency: EUR",
        [
            "14:11: subscriptions.0.plan: plan 'pro' is in CNY, but the account is billed in EUR",
            "17:14: subscriptions.0.addons.0: plan 'extra' is in CNY, but the account is billed in EUR",
        ],
    ),
    (
        "a country without a tax rate",
        "country: CN\n",
        "country: FR\n",
        [
            "4:14: accounts.0.country: the price book has no tax rate for FR and class 'standard'; add one under 'taxes:'",
            "8:13: accounts.0.tax_id: '91310000MA1K35XY7T' is no tax id of FR: the number has an invalid format",
        ],
    ),
    (
        "a tax id with a wrong check digit",
        "91310000MA1K35XY7T",
        "91310000MA1K35XY7A",
        ["8:13: accounts.0.tax_id: '91310000MA1K35XY7A' is no tax id of CN: the number's checksum or check digit is invalid"],
    ),
    (
        "a billing day that not every month has",
        "billing_day: 5",
        "billing_day: 31",
        ["7:18: accounts.0.billing_day: 31 is more than 28"],
    ),
    ("no licence", "licences: 2", "licences: 0", ["15:15: subscriptions.0.licences: 0 is less than 1"]),
    (
        "an unknown key",
        "licences: 2",
        "licenses: 2",
        ["15:5: subscriptions.0.licenses: is no known key here; did you mean 'licences'?"],
    ),
    (
        "a term that ends before it starts",
        "from: 2026-01-01\n    addons",
        "from: 2026-01-01\n    to: 2025-06-01\n    addons",
        [
            "14:11: subscriptions.0.plan: its term ends before it starts; 'to' is the first day without it",
            "19:19: subscriptions.0.identifiers.0: its time ends before it starts",
        ],
    ),
    (
        "an add-on that outlives its plan",
        "from: 2026-01-01\n    addons: [extra]",
        "from: 2026-01-01\n    to: 2026-06-01\n    addons: [{plan: extra, to: 2026-07-01}]",
        [
            "18:14: subscriptions.0.addons.0: add-on 'extra' is bound to a version plan, but its term is not inside one of this subscription; shorten it"
        ],
    ),
    (
        "an identifier of two subscriptions",
        "overrides:",
        "  - {id: s2, account: acme, plan: pro, from: 2026-03-01, identifiers: [room-1]}\noverrides:",
        [
            "19:72: subscriptions.1.identifiers.0: identifier 'room-1' belongs to subscription 's1' at the same time (18:19); end one first"
        ],
    ),
    (
        "an identifier that is another subscription",
        "identifiers: [room-1]",
        "identifiers: [s2]\n  - {id: s2, account: acme, plan: pro, from: 2026-03-01}",
        ["19:10: subscriptions.1.id: identifier 's2' belongs to subscription 's1' at the same time (18:19); end one first"],
    ),
    (
        "two version plans at a time",
        "overrides:",
        "  - {id: s1, account: acme, plan: lite, from: 2026-03-01}\noverrides:",
        [
            "19:35: subscriptions.1.plan: the subscription holds another version plan at that time (14:11); end one before the other starts"
        ],
    ),
    (
        "the same plan twice",
        "overrides:",
        "  - {id: s1, account: acme, plan: pro, from: 2026-03-01}\noverrides:",
        [
            "19:35: subscriptions.1.plan: the subscription holds plan 'pro' already at that time (14:11); raise its licences or end one"
        ],
    ),
    (
        "a subscription of two accounts",
        "overrides:",
        "  - {id: s1, account: other, plan: more, from: 2026-03-01}\noverrides:",
        ["19:23: subscriptions.1.account: subscription 's1' has two accounts; it belongs to one"],
    ),
    (
        "an override of an unknown price",
        "price: pro.minutes\n    valid_from: 2026-01-01\n    discount",
        "price: pro.minute\n    valid_from: 2026-01-01\n    discount",
        ["21:12: overrides.0.price: there is no price 'pro.minute' in the price book; did you mean 'pro.minutes'?"],
    ),
    (
        "an override of a price that no plan of the account has",
        "price: pro.minutes\n    valid_from: 2026-01-01\n    discount",
        "price: lite.minutes\n    valid_from: 2026-01-01\n    discount",
        ["21:12: overrides.0.price: price 'lite.minutes' is of plan 'lite', which account 'acme' does not hold"],
    ),
    (
        "an override for nobody",
        "  - account: acme\n    price",
        "  - price",
        ["20:5: overrides.0: needs either 'account' or 'subscription'"],
    ),
    (
        "an override for an unknown account",
        "  - account: acme\n    price",
        "  - account: acne\n    price",
        ["20:14: overrides.0.account: there is no account 'acne'"],
    ),
    (
        "an override for an unknown subscription",
        "subscription: s1",
        "subscription: s9",
        ["24:19: overrides.1.subscription: there is no subscription 's9'"],
    ),
    (
        "two overrides at one level",
        "partners:",
        "  - {account: acme, price: pro.minutes, valid_from: 2026-05-01, unit_price: 0.01}\npartners:",
        ["32:28: overrides.2.price: the same customer has another override of this price at that time (20:5); end one first"],
    ),
    (
        "an override that says two things",
        "discount: 15%",
        "discount: 15%\n    unit_price: 1",
        ["20:5: overrides.0: has discount and unit_price; give exactly one of discount, unit_price, fee, terms"],
    ),
    (
        "an override that says nothing",
        "    discount: 15%\n",
        "",
        ["20:5: overrides.0: says nothing about the price; give exactly one of discount, unit_price, fee, terms"],
    ),
    (
        "an override with a discount that is no percentage",
        "15%",
        "0.15",
        ["23:15: overrides.0.discount: '0.15' is no percentage; write 0% to 100% with at most 4 decimals, for example 20%"],
    ),
    (
        "an override with a gap in its tiers",
        "{unit_price: 0.02}",
        "{from: 60, unit_price: 0.02}",
        ["31:18: overrides.1.terms.tiers.1.from: leaves a gap: the tier starts at 60 but the one before ends at 50"],
    ),
    (
        "an override finer than the meter",
        "{unit_price: 0.02}",
        "{unit_price: 0.0000000000000001}",
        ["31:24: overrides.1.terms.tiers.1.unit_price: has 16 decimals; the meter counts 3 decimals, so a price at most 15"],
    ),
    (
        "a fee for a usage price",
        "discount: 15%",
        "fee: 3",
        [
            "20:5: overrides.0.model: flat is for recurring prices; use one of per_unit, graduated, volume, stair_step, capacity, package, percentage, graduated_percentage, multiplier, rated_time, matrix, dynamic"
        ],
    ),
    (
        "an agreement's partner that is missing",
        "  - {id: p1, name: P}",
        "  - {id: p2, name: P}",
        [
            "1:1: agreement 'a1' of the price book is with partner 'p1'; add that partner under 'partners:'",
            "9:14: accounts.0.partner: there is no partner 'p1'; known are p2",
        ],
    ),
    (
        "duplicate accounts",
        "subscriptions:",
        "  - {id: acme, name: B, country: CN, currency: CNY, zone: UTC}\nsubscriptions:",
        ["11:10: accounts.2.id: there is another account 'acme' in 2:5; ids are unique"],
    ),
]
"""What is wrong, the text of ROSTER it replaces, the wrong text, and all that is said about it as line:column: message."""

CSV = {
    "accounts": 'id,name,country,currency,zone,tax_id,address,partner\nacme,Acme,CN,CNY,Asia/Shanghai,91310000MA1K35XY7T,"Road 1\nShanghai",p1\n',
    "subscriptions": "id,account,plan,licences,from,to,addons,identifiers\ns1,acme,pro,2,2026-01-01,,extra,room-1\n",
    "identifiers": "id,subscription,from,to\nroom-2,s1,2026-02-01,2026-03-01\n",
    "overrides": "account,subscription,price,valid_from,valid_to,discount,unit_price\nacme,,pro.minutes,2026-01-01,,15%,\n,s1,pro.minutes,2026-01-01,,,0.02\n",
    "partners": "id,name\np1,P\n",
}


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Book:
    folder = tmp_path_factory.mktemp("catalog")
    (folder / "book.yaml").write_text(BOOK)
    return read_book(folder)


def read(folder: Path, book: Book, files: dict[str, str]) -> Roster:
    for name, text in files.items():
        (folder / name).write_text(text)
    return read_roster(folder, book)


def problems_of(folder: Path, book: Book, files: dict[str, str]) -> list[str]:
    with pytest.raises(BadCatalog) as caught:
        read(folder, book, files)
    return [problem.replace(f"{folder}/", "").replace(f"{folder}:", "") for problem in caught.value.problems]


def as_csv(**changed: str) -> dict[str, str]:
    return {f"{name}.csv": text for name, text in (CSV | changed).items()}


@pytest.mark.parametrize(("right", "wrong", "said"), [case[1:] for case in MISTAKES], ids=[case[0] for case in MISTAKES])
def test_a_mistake_is_reported_where_it_stands(tmp_path: Path, book: Book, right: str, wrong: str, said: list[str]) -> None:
    assert right in ROSTER
    found = problems_of(tmp_path, book, {"roster.yaml": ROSTER.replace(right, wrong, 1)})
    assert [problem.replace("roster.yaml:", "") for problem in found] == said


@pytest.mark.parametrize(
    ("name", "right", "wrong", "said"),
    [
        ("subscriptions", ",pro,", ",prp,", "subscriptions.csv:2:9: plan: there is no plan 'prp'; did you mean 'pro'?"),
        (
            "subscriptions",
            "extra",
            "extro",
            "subscriptions.csv:2:27: addons.0: there is no plan 'extro'; did you mean 'extra'?",
        ),
        (
            "subscriptions",
            "licences",
            "licenses",
            "subscriptions.csv:1:17: 'licenses' is no known column; did you mean 'licences'?",
        ),
        ("subscriptions", ",2,", ",two,", "subscriptions.csv:2:13: licences: 'two' is no whole number"),
        ("subscriptions", ",2026-01-01,", ",,", "subscriptions.csv:2:15: from: is missing; add it"),
        (
            "subscriptions",
            ",room-1",
            ",room-1,x",
            "subscriptions.csv:2:1: has 9 cells, but the header has 8; check commas and quotes",
        ),
        ("accounts", ",p1", ",p2", "accounts.csv:3:11: partner: there is no partner 'p2'; known are p1"),
        ("accounts", "CNY", "cny", "accounts.csv:2:14: currency: 'cny' is no ISO 4217 currency; write it like CNY or EUR"),
        ("accounts", '"Road', 'x"Road', "accounts.csv:3:1: has 2 cells, but the header has 8; check commas and quotes"),
        ("identifiers", ",s1,", ",s2,", "identifiers.csv:2:8: subscription: there is no subscription 's2'"),
        ("identifiers", "2026-03-01", "2026-02-01", "identifiers.csv:2:1: id: its time ends before it starts"),
        (
            "overrides",
            "15%",
            "15",
            "overrides.csv:2:31: discount: '15' is no percentage; write 0% to 100% with at most 4 decimals, for example 20%",
        ),
        (
            "overrides",
            ",,,0.02",
            ",,5%,0.02",
            "overrides.csv:3:1: has discount and unit_price; give exactly one of discount, unit_price, fee, terms",
        ),
        (
            "overrides",
            "0.02",
            "NaN",
            "overrides.csv:3:30: unit_price: 'NaN' is no number; write plain digits, for example 0.05",
        ),
        (
            "partners",
            "id,name\n",
            "",
            "partners.csv:1:1: 'p1' is no known column; known are address, email, id, language, name, tax_id",
        ),
    ],
)
def test_a_mistake_in_a_csv_file_is_reported_where_it_stands(
    tmp_path: Path, book: Book, name: str, right: str, wrong: str, said: str
) -> None:
    assert right in CSV[name]
    assert said in problems_of(tmp_path, book, as_csv(**{name: CSV[name].replace(right, wrong, 1)}))


def test_an_unknown_csv_file_is_named(tmp_path: Path, book: Book) -> None:
    found = problems_of(tmp_path, book, {"roster.yaml": ROSTER, "acounts.csv": "id\n"})
    assert found[0].startswith("acounts.csv:1:1: is no known roster file")


def test_yaml_and_csv_say_the_same(tmp_path: Path, book: Book) -> None:
    (tmp_path / "yaml").mkdir()
    (tmp_path / "csv").mkdir()
    text = """\
accounts:
  - {id: acme, name: Acme, country: CN, currency: CNY, zone: Asia/Shanghai, tax_id: 91310000MA1K35XY7T, address: "Road 1\\nShanghai", partner: p1}
subscriptions:
  - {id: s1, account: acme, plan: pro, licences: 2, from: 2026-01-01, addons: [extra], identifiers: [room-1, {id: room-2, from: 2026-02-01, to: 2026-03-01}]}
overrides:
  - {account: acme, price: pro.minutes, valid_from: 2026-01-01, discount: 15%}
  - {subscription: s1, price: pro.minutes, valid_from: 2026-01-01, terms: {model: per_unit, unit_price: 0.02}}
partners: [{id: p1, name: P}]
"""
    one, two = read(tmp_path / "yaml", book, {"r.yaml": text}), read(tmp_path / "csv", book, as_csv())
    assert one.digest == two.digest


def test_days_start_in_the_account_s_zone_and_the_plan_s_terms_are_kept(tmp_path: Path, book: Book) -> None:
    roster = read(tmp_path, book, {"roster.yaml": ROSTER})
    start = datetime(2025, 12, 31, 16, tzinfo=UTC)
    assert roster.subscriptions.rows() == [("s1", "acme", "extra", 1, start, None), ("s1", "acme", "pro", 2, start, None)]
    assert roster.identifiers.rows() == [("room-1", "s1", start, None), ("s1", "s1", start, None)]
    assert roster.overrides.select("account_id", "subscription_id", "price_version", "discount").rows() == [
        ("acme", None, None, Decimal("0.15")),
        ("acme", "s1", "2026-01-01/acme/s1", None),
    ]
    assert roster.prices.select("price_version", "plan_id", "meter_id", "model", "currency").rows() == [
        ("2026-01-01/acme/s1", "pro", "minutes", "volume", "CNY")
    ]
    assert roster.tiers["unit_price"].to_list() == [Decimal("0.03"), Decimal("0.02")]


def test_a_bound_addon_may_run_over_two_version_plans_without_a_gap(tmp_path: Path, book: Book) -> None:
    change = "    from: 2026-01-01\n    to: 2026-06-01\n    addons: [{plan: extra, to: 2026-09-01}]\n"
    more = "  - {id: s1, account: acme, plan: lite, from: 2026-06-01}\noverrides:"
    text = ROSTER.replace("    from: 2026-01-01\n    addons: [extra]\n", change).replace("overrides:", more)
    roster = read(tmp_path, book, {"roster.yaml": text})
    assert roster.subscriptions["plan_id"].to_list() == ["extra", "lite", "pro"]
    assert roster.identifiers["valid_to"].to_list() == [None, None]


def test_an_identifier_may_pass_on_to_another_subscription(tmp_path: Path, book: Book) -> None:
    more = """\
  - {id: s2, account: acme, plan: lite, from: 2026-01-01, identifiers: [{id: room-9, to: 2026-04-01}]}
  - {id: s3, account: acme, plan: lite, from: 2026-01-01, identifiers: [{id: room-9, from: 2026-04-01}]}
overrides:"""
    roster = read(tmp_path, book, {"roster.yaml": ROSTER.replace("overrides:", more)})
    assert roster.identifiers.filter(identifier="room-9")["subscription_id"].to_list() == ["s2", "s3"]


def test_many_mistakes_in_a_large_csv_file_are_all_found(tmp_path: Path, book: Book) -> None:
    rows = [f"t{i},acme,{'pro' if i % 100 else 'prp'},1,2026-01-01,,,\n" for i in range(2000)]
    header = CSV["subscriptions"].splitlines(keepends=True)[0]
    found = problems_of(tmp_path, book, as_csv(subscriptions=header + "".join(rows), overrides="price\n", identifiers="id\n"))
    assert len(found) == 20
    assert found[1].startswith("subscriptions.csv:102:11: plan: there is no plan 'prp'")


def test_a_csv_file_as_a_spreadsheet_saves_it_is_read(tmp_path: Path, book: Book) -> None:
    plain, saved = tmp_path / "plain", tmp_path / "saved"
    plain.mkdir()
    saved.mkdir()
    for name, text in as_csv().items():
        (saved / name).write_bytes(
            b"\xef\xbb\xbf" + text.replace("\nShanghai", "\0").replace("\n", "\r\n").replace("\0", "\nShanghai").encode()
        )
    assert read_roster(saved, book).digest == read(plain, book, as_csv()).digest
