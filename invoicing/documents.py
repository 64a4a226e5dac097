"""Documents of final invoices: a PDF to send, a CSV to open and a JSON to import, one of each per invoice.

The same invoice gives the same bytes: fonts come from a package, never from the system, and the date inside the PDF is the
issue date.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
import typst

from invoicing.layout import Row, lay_out
from invoicing.seller import Seller
from schemas.errors import BrokenPromise, LedgerUnwritable
from schemas.money import round_money

FONT_PACKAGE = "manimgx_fonts_cjk"

Progress = Callable[[int, int], object]
"""Called with how many invoices are done and how many there are."""

CSV_COLUMNS = [
    "invoice_no",
    "account_id",
    "line",
    "subscription_id",
    "charge",
    "price_id",
    "price_version",
    "name",
    "usage_period",
    "usage_period_end",
    "late",
    "quantity",
    "unit",
    "net_amount",
    "tax_class",
    "tax_rate",
    "tax_amount",
    "currency",
]


class Printer:
    """Turns laid-out invoices into PDF; keeps one compiler and its fonts, which is three times as fast as one each."""

    def __init__(self) -> None:
        fonts = typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[font_folder()])
        template = Path(__file__).parent / "templates" / "invoice.typ"
        self._compiler = typst.Compiler(template, root=template.parent, font_paths=fonts, ignore_system_fonts=True)

    def print_pdf(self, contents: Mapping[str, Any]) -> bytes:
        """The PDF of one invoice laid out by `lay_out`."""
        printed = self._compiler.compile(
            format="pdf", sys_inputs={"invoice": json.dumps(contents)}, timestamp=_midnight(contents["issued_on"])
        )
        return _only(printed)

    def print_pages(self, contents: Mapping[str, Any], ppi: float = 110) -> list[bytes]:
        """The pages of one invoice as PNG images."""
        pages = self._compiler.compile(format="png", ppi=ppi, sys_inputs={"invoice": json.dumps(contents)})
        return pages if isinstance(pages, list) else [_only(pages)]


def write_documents(
    invoices: pl.DataFrame,
    lines: pl.DataFrame,
    accounts: pl.DataFrame,
    seller: Seller,
    folder: Path,
    *,
    progress: Progress,
) -> int:
    """Write `<number>.pdf`, `.csv` and `.json` of every invoice into the folder; those that exist are left as they are.

    Returns how many files were written.

    Raises:
        LedgerUnwritable: The folder cannot be written.
    """
    wanted = [row for row in invoices.sort("invoice_no").iter_rows(named=True) if _missing(folder, row["invoice_no"])]
    if not wanted:
        return 0
    numbers = {row["account_id"]: row for row in accounts.iter_rows(named=True)}
    of_account = {
        str(key[0]): part.sort("line").to_dicts()
        for key, part in lines.filter(pl.col("account_id").is_in([row["account_id"] for row in wanted]))
        .partition_by("account_id", as_dict=True)
        .items()
    }
    printer = Printer()
    written = 0
    for done, invoice in enumerate(wanted):
        progress(done + 1, len(wanted))
        own = of_account[invoice["account_id"]]
        account = numbers[invoice["account_id"]]
        for kind in _missing(folder, invoice["invoice_no"]):
            _write(folder / f"{invoice['invoice_no']}.{kind}", _make(kind, printer, invoice, own, account, seller))
            written += 1
    return written


def write_csv(invoice: Row, lines: Sequence[Row], account: Row) -> bytes:
    """One row per line; decimals in full, days as YYYY-MM-DD. Starts with a byte order mark, so that Excel reads Chinese."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, CSV_COLUMNS, extrasaction="ignore", lineterminator="\r\n")
    writer.writeheader()
    for line in lines:
        told = _plain_line(line, account)
        told |= {"late": str(line["late"]).lower(), "invoice_no": invoice["invoice_no"], "account_id": account["account_id"]}
        writer.writerow(told)
    return out.getvalue().encode("utf-8-sig")


def write_json(invoice: Row, lines: Sequence[Row], account: Row, seller: Seller) -> bytes:
    """The whole invoice; money and quantities as strings."""
    told = {
        "invoice_no": invoice["invoice_no"],
        "period": invoice["period"],
        "issue_date": invoice["issue_date"].isoformat(),
        "due_date": invoice["due_date"].isoformat(),
        "currency": invoice["currency"],
        "seller": {"name": seller.name, "address": seller.address, "tax_id": seller.tax_id, "bank": seller.bank},
        "buyer": {key: account[key] for key in ("account_id", "name", "country", "address", "tax_id", "email")},
        "lines": [_plain_line(line, account) for line in lines],
        "net_amount": _money(invoice["net_amount"], invoice["currency"]),
        "tax_amount": _money(invoice["tax_amount"], invoice["currency"]),
        "total_amount": _money(invoice["total_amount"], invoice["currency"]),
        "paid_amount": _money(invoice["paid_amount"], invoice["currency"]),
        "due_amount": _money(invoice["due_amount"], invoice["currency"]),
    }
    return (json.dumps(told, indent=2, ensure_ascii=False) + "\n").encode()


def font_folder() -> str:
    """Where the font package keeps its files.

    Raises:
        BrokenPromise: The package is not installed.
    """
    spec = find_spec(FONT_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise BrokenPromise(f"the package {FONT_PACKAGE} with the fonts of the documents is not installed")
    return spec.submodule_search_locations[0]


def _make(kind: str, printer: Printer, invoice: Row, lines: Sequence[Row], account: Row, seller: Seller) -> bytes:
    if kind == "pdf":
        return printer.print_pdf(lay_out(invoice, lines, account, seller))
    if kind == "csv":
        return write_csv(invoice, lines, account)
    return write_json(invoice, lines, account, seller)


def _missing(folder: Path, number: str) -> list[str]:
    return [kind for kind in ("pdf", "csv", "json") if not (folder / f"{number}.{kind}").is_file()]


def _plain_line(line: Row, account: Row) -> dict[str, Any]:
    """A line with plain values: decimals as strings, days as YYYY-MM-DD."""
    language = "zh" if account["language"] == "zh" else "en"
    return {
        "line": line["line"],
        "subscription_id": line["subscription_id"],
        "charge": line["charge"],
        "price_id": line["price_id"],
        "price_version": line["price_version"],
        "name": line[f"name_{language}"],
        "usage_period": line["usage_period"].isoformat(),
        "usage_period_end": line["usage_period_end"].isoformat(),
        "late": line["late"],
        "quantity": _plain(line["quantity"]),
        "unit": line["unit"],
        "exact_amount": _plain(line["exact_amount"]),
        "net_amount": _money(line["net_amount"], line["currency"]),
        "tax_class": line["tax_class"],
        "tax_rate": _plain(line["tax_rate"]),
        "tax_amount": _money(line["tax_amount"], line["currency"]),
        "currency": line["currency"],
    }


def _plain(number: Decimal) -> str:
    """All its digits and no trailing zeros."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _money(amount: Decimal, currency: str) -> str:
    return format(round_money(amount, currency), "f")


def _write(path: Path, content: bytes) -> None:
    """The file as a whole or not at all."""
    incoming = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        incoming.write_bytes(content)
        os.replace(incoming, path)
    except OSError as error:
        raise LedgerUnwritable(path.parent, str(error)) from error


def _midnight(day: str) -> datetime:
    return datetime.combine(date.fromisoformat(day), time(), UTC)


def _only(printed: bytes | list[bytes] | None) -> bytes:
    if isinstance(printed, bytes):
        return printed
    raise BrokenPromise("the document compiler gave no document")
