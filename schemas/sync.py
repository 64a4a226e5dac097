"""What a customer is given of the ledger: its own rows, nobody else's, and nothing about partners and carriers."""

from __future__ import annotations

from schemas.frames import FrameSchema
from schemas.ledger import POSTINGS

_OURS = {"role", "partner_id"}
"""What a row says of our side of the business."""

COPIED = FrameSchema("COPIED", {name: dtype for name, dtype in POSTINGS.columns.items() if name not in _OURS})
"""One row per posting of one customer, by position: the columns of POSTINGS without those that say who else is paid."""

SHARED_ROLES = ["revenue"]
"""Roles of the rows that a customer is given: what it owes. Shares, costs and margins are not its business."""
