"""What an invoice says, in both languages, and the files that carry it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from invoicing.documents import Printer, write_csv, write_documents, write_json
from invoicing.layout import lay_out
from invoicing.seller import Seller
from invoicing.wording import LABELS, write_amount, write_days, write_money
from schemas.billing import INVOICES, LINES
from schemas.errors import LedgerUnwritable
from schemas.roster import ACCOUNTS

SELLER = Seller("Cloudmeet Ltd.", "88 Century Avenue\nShanghai", "91310115MA1K4XXX7T", "Bank of Shanghai\n0300 1234")

Row = dict[str, Any]


@pytest.fixture(scope="module")
def printer() -> Printer:
    return Printer()


def line(number: int = 1, **more: object) -> Row:
    row: Row = {
        "period": "2026-10",
        "account_id": "acme",
        "line": number,
        "subscription_id": "acme-1",
        "charge": "usage",
        "price_id": "minutes",
        "price_version": "2026-01-01",
        "meter_id": "minutes",
        "unit": "minutes",
        "name_en": "Meeting minutes",
        "name_zh": "会议时长",
        "usage_period": date(2026, 10, 1),
        "usage_period_end": date(2026, 11, 1),
        "late": False,
        "events": 3,
        "quantity": Decimal("1234.50"),
        "exact_amount": Decimal("154.3125"),
        "net_amount": Decimal("154.3100"),
        "tax_class": "standard",
        "tax_rate": Decimal("0.060000"),
        "tax_amount": Decimal("9.2600"),
        "currency": "CNY",
    }
    return row | more


def invoice(lines: list[Row], **more: object) -> Row:
    net = sum((row["net_amount"] for row in lines), Decimal(0))
    tax = sum((row["tax_amount"] for row in lines), Decimal(0))
    row: Row = {
        "period": "2026-10",
        "invoice_no": "INV-2026-000001",
        "account_id": "acme",
        "account_name": "Acme",
        "currency": "CNY",
    }
    row |= {"issue_date": date(2026, 11, 1), "due_date": date(2026, 12, 1), "lines": len(lines)}
    row |= {"net_amount": net, "tax_amount": tax, "total_amount": net + tax, "paid_amount": Decimal(0)} | more
    return row | {"due_amount": row["total_amount"] - row["paid_amount"]}


def account(language: str = "en", **more: object) -> Row:
    row: Row = {
        "account_id": "acme",
        "name": "Acme & Söhne <GmbH> #1",
        "country": "CN",
        "currency": "CNY",
        "language": language,
    }
    row |= {"zone": "UTC", "billing_day": 1, "payment_days": 30, "tax_id": "DE1", "address": "Hauptstr. 1\n10115 Berlin"}
    return row | {"email": None, "partner_id": None} | more


def laid_out(lines: list[Row], language: str = "en") -> dict[str, Any]:
    return lay_out(invoice(lines), lines, account(language), SELLER)


def test_money_is_written_as_the_language_writes_it() -> None:
    assert write_money(Decimal("1234.5000"), "CNY", "en") == "CNY\u00a01,234.50"
    assert write_money(Decimal("1234.5000"), "CNY", "zh") == "¥1,234.50"
    assert write_amount(Decimal("-1234.0000"), "JPY", "en") == "−1,234"
    assert write_amount(Decimal("1.2340"), "KWD", "zh") == "1.234"


@pytest.mark.parametrize(
    ("first", "last", "english", "chinese"),
    [
        (date(2026, 10, 1), date(2026, 10, 31), "1 – 31 Oct 2026", "2026年10月1日–31日"),
        (date(2026, 10, 15), date(2026, 11, 14), "15 Oct – 14 Nov 2026", "2026年10月15日–11月14日"),
        (date(2026, 12, 15), date(2027, 1, 14), "15 Dec 2026 – 14 Jan 2027", "2026年12月15日–2027年1月14日"),
        (date(2026, 10, 1), date(2026, 10, 1), "1 Oct 2026", "2026年10月1日"),
    ],
)
def test_a_service_period_names_its_first_and_last_day(first: date, last: date, english: str, chinese: str) -> None:
    assert write_days(first, last, "en") == english
    assert write_days(first, last, "zh") == chinese


def test_both_languages_have_the_same_words() -> None:
    assert LABELS["en"].keys() == LABELS["zh"].keys()


def test_whole_licences_are_printed_as_licences_and_parts_as_licence_days() -> None:
    fee = {"charge": "recurring", "unit": None}
    lines = [line(1, quantity=Decimal(155), **fee), line(2, quantity=Decimal(72), **fee)]
    printed = [(entry["quantity"], entry["unit"]) for entry in laid_out(lines)["lines"]]
    assert printed == [("5", "licences"), ("72", "licence days")]


def test_late_usage_and_corrections_are_marked() -> None:
    lines = [line(1, late=True), line(2, charge="recurring", net_amount=Decimal("-5"), quantity=Decimal(-3)), line(3)]
    told = laid_out(lines)
    assert [(entry["late"], entry["adjustment"]) for entry in told["lines"]] == [(True, False), (False, True), (False, False)]
    assert (told["has_late"], told["has_adjustment"]) == (True, True)


def test_taxes_are_listed_by_class_and_rate() -> None:
    lines = [line(1), line(2), line(3, tax_class="goods", tax_rate=Decimal("0.13"), tax_amount=Decimal("20.0600"))]
    assert laid_out(lines)["taxes"] == [
        {"class": "goods", "rate": "13%", "net": "154.31", "tax": "20.06"},
        {"class": "standard", "rate": "6%", "net": "308.62", "tax": "18.52"},
    ]


def test_a_negative_total_is_a_credit_without_a_request_to_pay() -> None:
    told = laid_out([line(net_amount=Decimal("-100"), tax_amount=Decimal("-6"))], "zh")
    assert (told["title"], told["total_word"], told["total"], told["bank"]) == ("贷项账单", "应退总额", "¥106.00", [])


USED, GIVEN_BACK = ("154.31", "9.26"), ("-100", "-6")


@pytest.mark.parametrize(
    ("amounts", "paid", "steps", "amount", "asks"),
    [
        (USED, "0", [], ("Total due", "CNY\u00a0163.57"), True),
        (USED, "154.31", [["Total", "163.57"], ["Paid from your balance", "−154.31"]], ("Amount due", "CNY\u00a09.26"), True),
        (USED, "163.57", [["Total", "163.57"], ["Paid from your balance", "−163.57"]], ("Amount due", "CNY\u00a00.00"), False),
        (USED, "170", [["Total", "163.57"], ["Paid from your balance", "−170.00"]], ("In your favour", "CNY\u00a06.43"), False),
        (
            GIVEN_BACK,
            "-100",
            [["Total", "−106.00"], ["Given back to your balance", "100.00"]],
            ("In your favour", "CNY\u00a06.00"),
            False,
        ),
        (
            GIVEN_BACK,
            "-120",
            [["Total", "−106.00"], ["Given back to your balance", "120.00"]],
            ("Amount due", "CNY\u00a014.00"),
            True,
        ),
    ],
)
def test_what_a_balance_has_paid_stands_between_the_total_and_the_amount_due(
    amounts: tuple[str, str], paid: str, steps: list[list[str]], amount: tuple[str, str], asks: bool
) -> None:
    rows = [line(net_amount=Decimal(amounts[0]), tax_amount=Decimal(amounts[1]))]
    told = lay_out(invoice(rows, paid_amount=Decimal(paid)), rows, account(), SELLER)
    assert (told["paid"], (told["total_word"], told["total"]), told["asks"]) == (steps, amount, asks)
    assert bool(told["bank"]) is ("Due date" in [name for name, _ in told["facts"]]) is asks
    assert told["note"] == ("nothing to pay" if told["total"] == "CNY\u00a00.00" else "")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_balance_makes_another_document(printer: Printer, language: str) -> None:
    rows = [line()]
    paid = lay_out(invoice(rows, paid_amount=Decimal("154.31")), rows, account(language), SELLER)
    assert printer.print_pdf(paid) != printer.print_pdf(laid_out(rows, language))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_same_invoice_gives_the_same_pdf(printer: Printer, language: str) -> None:
    contents = laid_out([line(1), line(2, late=True)], language)
    first = printer.print_pdf(contents)
    assert first.startswith(b"%PDF-")
    assert printer.print_pdf(laid_out([line(1)], language)) != first
    assert Printer().print_pdf(contents) == first


def test_many_lines_go_over_several_pages(printer: Printer) -> None:
    contents = laid_out([line(number) for number in range(1, 60)])
    assert len(printer.print_pages(contents, ppi=20)) == 3


def test_names_are_printed_and_never_run_as_markup(printer: Printer) -> None:
    name = "#panic() $x$ *a* [b] \\ <c> @d // ="
    contents = lay_out(invoice([line()]), [line(name_en=name)], account(name=name), SELLER)
    assert printer.print_pdf(contents).startswith(b"%PDF-")


def test_json_carries_decimals_as_text() -> None:
    rows = [line()]
    told: Mapping[str, Any] = json.loads(write_json(invoice(rows), rows, account("zh"), SELLER))
    assert (told["total_amount"], told["lines"][0]["quantity"], told["lines"][0]["exact_amount"]) == (
        "163.57",
        "1234.5",
        "154.3125",
    )
    assert (told["paid_amount"], told["due_amount"]) == ("0.00", "163.57")
    assert told["lines"][0]["name"] == "会议时长"
    assert (told["lines"][0]["late"], told["buyer"]["email"]) == (False, None)


def test_csv_has_one_row_per_line() -> None:
    rows = [line(1), line(2, late=True)]
    read = list(csv.DictReader(io.StringIO(write_csv(invoice(rows), rows, account()).decode("utf-8-sig"))))
    assert [(row["line"], row["net_amount"], row["late"]) for row in read] == [
        ("1", "154.31", "false"),
        ("2", "154.31", "true"),
    ]
    assert {row["invoice_no"] for row in read} == {"INV-2026-000001"}


def test_documents_are_written_once_each(tmp_path: Path) -> None:
    rows = [line(1), line(2)]
    frames = INVOICES.build([invoice(rows)]), LINES.build(rows), ACCOUNTS.build([account()])
    seen: list[tuple[int, int]] = []
    told = lambda done, total: seen.append((done, total))  # noqa: E731
    assert write_documents(*frames, SELLER, tmp_path / "2026-10", progress=told) == 3
    assert sorted(path.suffix for path in (tmp_path / "2026-10").iterdir()) == [".csv", ".json", ".pdf"]
    assert write_documents(*frames, SELLER, tmp_path / "2026-10", progress=told) == 0
    assert seen == [(1, 1)]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "invoices").write_text("a file where the folder should be")
    frames = INVOICES.build([invoice([line()])]), LINES.build([line()]), ACCOUNTS.build([account()])
    with pytest.raises(LedgerUnwritable, match="invoices"):
        write_documents(*frames, SELLER, tmp_path / "invoices" / "2026-10", progress=lambda done, total: None)
