"""What an invoice says, as text ready to print: every number and day already written in the customer's language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from invoicing.seller import Seller
from invoicing.wording import LABELS, write_amount, write_day, write_days, write_money, write_number, write_percent
from schemas.limits import LimitCharge

LIMIT_CHARGES = frozenset(LimitCharge)

Row = Mapping[str, Any]
"""One row of a frame: an invoice, a line or an account."""


def lay_out(invoice: Row, lines: Sequence[Row], account: Row, seller: Seller) -> dict[str, Any]:
    """The contents of templates/invoice.typ for one invoice; strings, lists and flags only.

    Args:
        invoice: A row of INVOICES.
        lines: Its LINES, in order.
        account: Its row of ACCOUNTS.
        seller: Who issues it.
    """
    language = account["language"] if account["language"] in LABELS else "en"
    words = LABELS[language]
    currency = invoice["currency"]
    credit = invoice["total_amount"] < 0
    amounts = _amounts(invoice, language)
    return {
        "language": language,
        "title": words["credit"] if credit else words["invoice"],
        "words": {
            **words,
            "reference": words["reference"].format(number=invoice["invoice_no"]),
            "by": words["by"].format(day=write_day(invoice["due_date"], language)),
        },
        "number": invoice["invoice_no"],
        "issued_on": invoice["issue_date"].isoformat(),
        "facts": [
            [words["number"], invoice["invoice_no"]],
            [words["issued"], write_day(invoice["issue_date"], language)],
            *([[words["due"], write_day(invoice["due_date"], language)]] if amounts["asks"] else []),
            [words["period"], _month(invoice["period"], language)],
            [words["account"], account["account_id"]],
        ],
        "seller": _party(seller.name, seller.address, seller.tax_id, seller.email, words),
        "buyer": _party(account["name"], account["address"], account["tax_id"], account["email"], words),
        "currency": currency,
        "lines": [_line(line, language) for line in lines],
        "has_late": any(_is_late(line) for line in lines),
        "has_adjustment": any(_is_adjustment(line) for line in lines),
        "taxes": _taxes(lines, language),
        "net": write_amount(invoice["net_amount"], currency, language),
        "tax": write_amount(invoice["tax_amount"], currency, language),
        "bank": _split(seller.bank) if amounts["asks"] else [],
        **amounts,
    }


def _amounts(invoice: Row, language: str) -> dict[str, Any]:
    """What is to be paid, the steps to it where a balance has paid a part, and whether the document asks for money."""
    words, currency = LABELS[language], invoice["currency"]
    total, paid, due = invoice["total_amount"], invoice["paid_amount"], invoice["due_amount"]
    if not paid:
        word = words["credit_total"] if due < 0 else words["total"]
        return {
            "total_word": word,
            "total": write_money(abs(due), currency, language),
            "paid": [],
            "asks": due >= 0,
            "note": "",
        }
    return {
        "total_word": words["in_favour"] if due < 0 else words["amount_due"],
        "total": write_money(abs(due), currency, language),
        "paid": [
            [words["before_balance"], write_amount(total, currency, language)],
            [words["paid"] if paid > 0 else words["given_back"], write_amount(-paid, currency, language)],
        ],
        "asks": due > 0,
        "note": "" if due else words["settled"],
    }


def _line(line: Row, language: str) -> dict[str, Any]:
    last_day = line["usage_period_end"] - timedelta(days=1)
    quantity, unit = _quantity(line, language)
    return {
        "number": str(line["line"]),
        "name": line[f"name_{language}"],
        "subscription": line["subscription_id"],
        "period": write_days(line["usage_period"], last_day, language),
        "quantity": quantity,
        "unit": unit,
        "rate": write_percent(line["tax_rate"], language),
        "net": write_amount(line["net_amount"], line["currency"], language),
        "late": _is_late(line),
        "adjustment": _is_adjustment(line),
    }


def _quantity(line: Row, language: str) -> tuple[str, str]:
    """Recurring fees count licence days; whole licences for the whole period are said as such. Limits count nothing."""
    words = LABELS[language]
    if line["charge"] in LIMIT_CHARGES:
        return "", ""
    if line["charge"] != "recurring":
        return write_number(line["quantity"], language), line["unit"] or ""
    days = Decimal((line["usage_period_end"] - line["usage_period"]).days)
    if line["quantity"] % days == 0:
        return write_number(line["quantity"] / days, language), words["licence"]
    return write_number(line["quantity"], language), words["licence_days"]


def _is_late(line: Row) -> bool:
    return bool(line["late"] and line["charge"] not in LIMIT_CHARGES)


def _is_adjustment(line: Row) -> bool:
    """A fee given back, or what late usage changes about a limit of a period that was invoiced."""
    corrected = line["late"] and line["charge"] in LIMIT_CHARGES
    return bool(corrected or (line["charge"] == "recurring" and line["net_amount"] < 0))


def _taxes(lines: Sequence[Row], language: str) -> list[dict[str, str]]:
    """One entry per tax class and rate."""
    sums: dict[tuple[str, Decimal], tuple[Decimal, Decimal]] = {}
    for line in lines:
        key = line["tax_class"], line["tax_rate"]
        net, tax = sums.get(key, (Decimal(0), Decimal(0)))
        sums[key] = net + line["net_amount"], tax + line["tax_amount"]
    currency = lines[0]["currency"]
    return [
        {
            "class": tax_class,
            "rate": write_percent(rate, language),
            "net": write_amount(net, currency, language),
            "tax": write_amount(tax, currency, language),
        }
        for (tax_class, rate), (net, tax) in sorted(sums.items())
    ]


def _party(name: str, address: str | None, tax_id: str | None, email: str | None, words: Mapping[str, str]) -> dict[str, Any]:
    details = _split(address)
    if tax_id:
        details.append(f"{words['tax_id']}{words['colon']}{tax_id}")
    if email:
        details.append(email)
    return {"name": name, "details": details}


def _split(text: str | None) -> list[str]:
    return [line.strip() for line in (text or "").splitlines() if line.strip()]


def _month(period: str, language: str) -> str:
    year, month = period.split("-")
    return f"{year}年{int(month)}月" if language == "zh" else period
