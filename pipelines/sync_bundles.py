"""Signed bundles of one customer's rows in a folder: 000001.parquet, what it holds (.json) and the signature of that (.sig).

Each description names the digest of its Parquet file and of the description before it, so a missing, changed or foreign
bundle is noticed. The description is written last: a bundle without one is none, and the next run writes it anew.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pipelines.signing import is_signed, sign
from pipelines.sync import Reached, advance, require_account, rows_after
from pipelines.workspace import Workspace
from schemas.errors import BadFile, LedgerUnwritable
from schemas.sync import COPIED

BUNDLE_ROWS = 250_000
"""The most rows of one bundle."""


@dataclass(frozen=True)
class Bundle:
    """What a description says."""

    number: int
    account: str
    rows: int
    digest: str  # SHA-256 of the Parquet file
    previous: str  # SHA-256 of the description before it; empty for the first
    reached: Reached  # positions once this bundle is copied

    def text(self) -> bytes:
        told = {
            "account": self.account,
            "number": self.number,
            "previous": self.previous,
            "reached": {source: list(at) for source, at in self.reached.items()},
            "rows": self.rows,
            "sha256": self.digest,
        }
        return (json.dumps(told, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def write_bundles(workspace: Workspace, account: str, folder: Path, key: Ed25519PrivateKey) -> list[Bundle]:
    """Write what the folder does not have yet of the account's rows; none when there is nothing new.

    Raises:
        Refused: There is no such account.
        BadFile: The folder holds another account's bundles, or they are damaged; nothing was written.
        LedgerUnwritable: The folder cannot be written.
    """
    require_account(workspace, account)
    known = list(check_bundles(folder, key.public_key()))
    foreign = [bundle for bundle in known if bundle.account != account]
    if foreign:
        raise BadFile(folder, f"holds the bundles of account '{foreign[0].account}'. Give each account a folder of its own.")
    reached: Reached = known[-1].reached if known else {}
    previous = sha256(known[-1].text()).hexdigest() if known else ""
    rows = rows_after(workspace.ledger(), account, reached)
    written: list[Bundle] = []
    for start in range(0, rows.height, BUNDLE_ROWS):
        part = rows.slice(start, BUNDLE_ROWS)
        reached = advance(reached, part)
        content = _parquet(part)
        bundle = Bundle(len(known) + len(written) + 1, account, part.height, sha256(content).hexdigest(), previous, reached)
        _write(folder, bundle, content, key)
        previous = sha256(bundle.text()).hexdigest()
        written.append(bundle)
    return written


def check_bundles(folder: Path, key: Ed25519PublicKey) -> Iterator[Bundle]:
    """The bundles of a folder, in order, each once it is found whole. Needs nothing but the folder and the public key.

    Raises:
        BadFile: The first that is missing, changed, not signed by us, or holds a row of another account.
    """
    previous = ""
    for number in range(1, len(list(folder.glob("*.json"))) + 1):
        path = folder / f"{number:06d}.json"
        if not path.is_file():
            raise BadFile(path, "is missing: bundles are numbered without a gap. Fetch it again.")
        text = path.read_bytes()
        signature = path.with_suffix(".sig")
        if not signature.is_file() or not is_signed(key, text, signature.read_bytes()):
            raise BadFile(path, "does not carry our signature: it was changed, or signed with another key.")
        bundle = _read(text)
        if bundle.number != number or bundle.previous != previous:
            raise BadFile(path, "does not follow the bundle before it. Fetch all of them again.")
        content = path.with_suffix(".parquet")
        if not content.is_file() or sha256(content.read_bytes()).hexdigest() != bundle.digest:
            raise BadFile(content, "is not the file that its description names. Fetch it again.")
        rows = COPIED.select(pl.read_parquet(content))
        if rows.height != bundle.rows or not (rows["account_id"] == bundle.account).all():
            raise BadFile(content, f"does not hold {bundle.rows} rows of account '{bundle.account}' and nothing else.")
        previous = sha256(text).hexdigest()
        yield bundle


def _write(folder: Path, bundle: Bundle, content: bytes, key: Ed25519PrivateKey) -> None:
    name, text = f"{bundle.number:06d}", bundle.text()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.parquet").write_bytes(content)
        (folder / f"{name}.sig").write_bytes(sign(key, text))
        incoming = folder / f".{name}.json.new"
        incoming.write_bytes(text)
        incoming.replace(folder / f"{name}.json")
    except OSError as error:
        raise LedgerUnwritable(folder, str(error)) from error


def _read(text: bytes) -> Bundle:
    told: dict[str, Any] = json.loads(text)
    reached = {source: (int(at[0]), int(at[1])) for source, at in told["reached"].items()}
    return Bundle(told["number"], told["account"], told["rows"], told["sha256"], told["previous"], reached)


def _parquet(rows: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    rows.write_parquet(buffer, compression="zstd")
    return buffer.getvalue()
