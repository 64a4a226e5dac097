"""From the lines of an invoice to the amount due: net, tax, and what the account's balance has paid."""

from __future__ import annotations

import polars as pl

from ledger.book import Ledger
from pipelines.explain import STEPS, find_invoice


def due_steps(ledger: Ledger, invoice_no: str) -> pl.DataFrame:
    """STEPS to the amount due. What a balance paid is told exactly and as the invoice has it. Raises NoSuchInvoice."""
    invoice = find_invoice(ledger, invoice_no)
    of_account = (pl.col("period") == invoice["period"]) & (pl.col("account_id") == invoice["account_id"])
    taken = ledger.outcomes.scan().filter(of_account).collect()["taken_amount"].sum()
    paid = invoice["paid_amount"]
    steps = [("net amounts of the lines", invoice["net_amount"]), ("tax", invoice["tax_amount"])]
    steps += [("total", invoice["total_amount"])]
    if taken or paid:
        steps += [
            ("taken from the balance by this usage, exact", taken),
            ("rounded once over all invoices of the account: the difference", paid - taken),
            ("paid from the balance", paid),
        ]
    steps += [("due", invoice["due_amount"])]
    return STEPS.build([{"step": step, "amount": amount} for step, amount in steps])
