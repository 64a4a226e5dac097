"""Who issues the invoices, as printed on them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Seller:
    """The company's details; empty ones are left off the document. Lines of the address are separated by a line break."""

    name: str
    address: str = ""
    tax_id: str = ""
    bank: str = ""
    email: str = ""
