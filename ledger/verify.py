"""Is the ledger what was committed? Every file, every position and the chain itself, compared with what the commits said.

A chain that was rewritten as a whole, from some entry on, agrees with itself. Only a head that was noted down elsewhere tells:
it must still be in the chain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable

from ledger.book import Ledger
from ledger.chain import CHAIN_FOLDER, DIGEST_LETTERS, LOG_FOLDER, Entry, Head, Seal, origin_of, read_commit, read_head
from ledger.delta import ROW_GROUP_ROWS, describe_files, one_line
from ledger.history import Finding, History, read_history
from ledger.proof import RowProof, RowSum, read_groups
from ledger.store import Store, asks_the_store
from ledger.table import LedgerTable
from schemas.errors import BadInput, BrokenPromise
from schemas.frames import FrameSchema

FINDINGS = FrameSchema(
    "FINDINGS",
    {
        "table": pl.String,
        "file": pl.String,  # within the table's folder
        "what": pl.String,
        "expected": pl.String,  # by the chain, or by the head that was noted
        "found": pl.String,
    },
)
"""One row per thing that is not as it was committed."""

HEADS = FrameSchema(
    "HEADS",
    {
        "table": pl.String,
        "commits": pl.Int64,
        "files": pl.Int64,
        "rows": pl.Int64,
        "unproven": pl.Int64,  # compactions whose old files a vacuum has deleted: proven then, not again
        "head": pl.String,  # table/number/digest, as `--head` takes it
    },
)
"""Where each table's chain stands; one row per table that has one."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Verified:
    """What came out: FINDINGS (empty when all is well) and HEADS."""

    findings: pl.DataFrame
    heads: pl.DataFrame


def verify_ledger(ledger: Ledger, noted: Sequence[str] = (), progress: Progress = lambda _: None) -> Verified:
    """Verify every table. Reads each file once, and those of compactions twice. Changes nothing.

    Args:
        noted: Heads that an earlier verification printed. Each must be in its table's chain still.

    Raises:
        BadInput: A noted head is none, or of no table.
    """
    tables = ledger.tables()
    by_table: dict[str, list[Head]] = {name: [] for name in tables}
    for text in noted:
        name, head = parse_head(text)
        if name not in by_table:
            raise BadInput(f"'{text}' is the head of no table of the ledger. The tables are {', '.join(tables)}.")
        by_table[name].append(head)
    results = [verify_table(table, by_table[name], progress) for name, table in tables.items()]
    return Verified(pl.concat([result.findings for result in results]), pl.concat([result.heads for result in results]))


def verify(table: LedgerTable, progress: Progress = lambda _: None) -> pl.DataFrame:
    """FINDINGS of one table, empty when it is what was committed. Changes nothing; others may write meanwhile."""
    return verify_table(table, [], progress).findings


def parse_head(text: str) -> tuple[str, Head]:
    """Table and place in its chain of a head as HEADS prints it."""
    name, _, rest = text.strip().partition("/")
    number, _, digest = rest.partition("/")
    if not (number.isdecimal() and len(digest) == DIGEST_LETTERS):
        raise BadInput(f"'{text}' is no head. Copy one from what `boss ledger verify` prints: table/number/digest.")
    return name, Head(int(number), digest)


@asks_the_store
def verify_table(table: LedgerTable, noted: Sequence[Head], progress: Progress) -> Verified:
    """Findings and head of one table."""
    name = table.store.name
    try:
        pinned = table.pin()
    except BrokenPromise as error:
        return _report(name, [Finding(LOG_FOLDER, "the log cannot be read", None, str(error))], [])
    if pinned is None:
        gone = any(table.store.files(f"{CHAIN_FOLDER}/"))
        findings = [Finding(LOG_FOLDER, "the table is gone, its chain is there", None, None)] if gone else []
        findings += [_not_in_chain(head, None, 0) for head in noted]
        return _report(name, findings, [])
    while read_head(table.store, pinned) is None and table.version() > pinned.version():
        pinned.update_incremental()  # the log was cleaned in this very moment
    history, head = pinned_history(table, pinned)
    findings = [*history.findings]
    findings += [
        _not_in_chain(place, history.digests.get(place.number), head.number)
        for place in noted
        if history.digests.get(place.number) != place.digest
    ]
    findings += _compare_log(table.store, pinned, history)
    findings += _compare_state(table, pinned, history)
    kept = {path: seal for path, seal in history.seals.items() if path not in history.deleted or path not in history.removed}
    for count, seal in enumerate(kept.values(), 1):
        progress(f"{name}: file {count:,} of {len(kept):,}")
        findings += check_file(table.store, seal)
    damaged = {finding.file for finding in findings}
    intact = [entry for entry in history.compactions if damaged.isdisjoint(files_of(entry))]
    findings += prove_compactions(table, history, intact, progress)
    live = history.live().values()
    stand: dict[str, object] = {
        "table": name,
        "commits": head.number,
        "files": len(live),
        "rows": sum(seal.rows for seal in live),
        "unproven": sum(was_vacuumed(entry, history) for entry in history.compactions),
        "head": f"{name}/{head.number}/{head.digest}",
    }
    return _report(name, findings, [stand])


def pinned_history(table: LedgerTable, pinned: DeltaTable, files: Collection[str] | None = None) -> tuple[History, Head]:
    """The chain of a version, and its head. Without one (other hands changed the log) the chain is read from its last line.

    Args:
        files: When given, the chain is read only as far back as to the commits that added them.
    """
    head = read_head(table.store, pinned)
    if head is not None:
        return read_history(table.store, head, origin_of(pinned), files), head
    history = read_history(table.store, None, origin_of(pinned), files)
    history.findings.insert(0, Finding(LOG_FOLDER, "the newest commit does not say where the chain stands", None, None))
    return history, Head(max(history.digests, default=0), "")


def _not_in_chain(noted: Head, digest: str | None, length: int) -> Finding:
    found = digest or f"the chain ends at entry {length}"
    return Finding(CHAIN_FOLDER, f"the noted head {noted.number} is not in the chain", noted.digest, found)


def _report(name: str, findings: Sequence[Finding], heads: Sequence[dict[str, object]]) -> Verified:
    return Verified(FINDINGS.build([{"table": name, **vars(finding)} for finding in findings]), HEADS.build(list(heads)))


def _compare_log(store: Store, pinned: DeltaTable, history: History) -> Iterator[Finding]:
    """Commits still in the Delta log against the chain: each carries the chain's entry and does what the entry says."""
    last = 0
    for name in [file.name for file in store.files(f"{LOG_FOLDER}/")]:
        stem, _, ending = name.removeprefix(f"{LOG_FOLDER}/").partition(".")
        if ending != "json" or not stem.isdecimal() or not 0 < int(stem) <= pinned.version():
            continue
        commit = read_commit(store, int(stem))
        if commit is None:
            if any(file.name == name for file in store.files(f"{LOG_FOLDER}/")):
                yield Finding(name, "the commit cannot be read", None, None)
        elif commit.entry is None:
            yield Finding(name, "the commit was not made by BOSS: it is not in the chain", None, commit.digest)
        elif history.digests.get(commit.entry.number) != commit.entry.head.digest or commit.digest != commit.entry.head.digest:
            known = history.digests.get(commit.entry.number)
            yield Finding(name, f"the commit carries another entry {commit.entry.number}", known, commit.entry.head.digest)
        elif commit.entry.number <= last:
            yield Finding(name, "the commits are out of order", f"after entry {last}", f"entry {commit.entry.number}")
        else:
            last = commit.entry.number
            yield from _compare_commit(name, commit.entry, commit.added, commit.removed)


def _compare_commit(name: str, entry: Entry, added: frozenset[str], removed: frozenset[str]) -> Iterator[Finding]:
    said = ({seal.path for seal in entry.change.added}, set(entry.change.removed))
    if entry.change.operation == "vacuum":
        said = (set(), set())
    done = ({unquote(path) for path in added}, {unquote(path) for path in removed})
    for what, ours, theirs in (("adds", said[0], done[0]), ("removes", said[1], done[1])):
        if ours != theirs:
            yield Finding(name, f"the commit {what} other files", ", ".join(sorted(ours)), ", ".join(sorted(theirs)))


def _compare_state(table: LedgerTable, pinned: DeltaTable, history: History) -> Iterator[Finding]:
    """The table's files and positions as readers see them against what the chain adds up to."""
    files = describe_files(pinned, table.partition_by)
    present = {path: (rows, size) for path, rows, size in files.select("path", "rows", "bytes").rows()}
    live = history.live()
    for path in sorted(present.keys() - live.keys()):
        yield Finding(path, "the table has a file that no commit added", None, f"{present[path][0]} rows")
    for path in sorted(live.keys() - present.keys()):
        yield Finding(path, "the table lacks a file that a commit added", f"{live[path].rows} rows", None)
    for path in sorted(live.keys() & present.keys()):
        if present[path] != (live[path].rows, live[path].bytes):
            expected = f"{live[path].rows} rows, {live[path].bytes} bytes"
            found = f"{present[path][0]} rows, {present[path][1]} bytes"
            yield Finding(path, "the table says other rows or bytes of the file", expected, found)
    for source, position in sorted(history.positions.items()):
        stands = pinned.transaction_version(source)
        if stands != position:
            yield Finding(LOG_FOLDER, f"the position of {source} was changed", str(position), str(stands))


def check_file(store: Store, seal: Seal) -> list[Finding]:
    """Whether a file's bytes are those that were committed; if not, the first row group that cannot be read is named."""
    try:
        with store.look_at(seal.path) as file:
            return check_bytes(file, seal)
    except FileNotFoundError:
        return [Finding(seal.path, "the file is gone", seal.sha256, None)]


def check_bytes(file: Path, seal: Seal) -> list[Finding]:
    """The same of a file on this machine. Raises FileNotFoundError."""
    try:
        with file.open("rb") as data:
            found = hashlib.file_digest(data, "sha256").hexdigest()
    except FileNotFoundError:
        raise
    except OSError as error:
        return [Finding(seal.path, "the file cannot be read", seal.sha256, one_line(error))]
    if found == seal.sha256:
        return []
    return [Finding(seal.path, f"the file was changed; {_damage(file, seal)}", seal.sha256, found)]


def _damage(file: Path, seal: Seal) -> str:
    size = file.stat().st_size
    if size != seal.bytes:
        return f"it has {size} bytes and had {seal.bytes}"
    groups, total = 0, -(-seal.rows // ROW_GROUP_ROWS)
    try:
        for _ in read_groups(file):
            groups += 1
    except (pl.exceptions.PolarsError, OSError):
        return f"row group {groups + 1} of {total} cannot be read"
    return "all its rows can be read"


def prove_compactions(
    table: LedgerTable, history: History, compactions: Sequence[Entry], progress: Progress
) -> Iterator[Finding]:
    """Whether the files that each compaction added hold the rows of those it removed, as far as they were not vacuumed."""
    proof = RowProof(table.schema.names())
    known: dict[str, RowSum] = {}

    def add_up(paths: Sequence[str]) -> RowSum:
        for name in paths:
            progress(f"{table.store.name}: rows of {name}")
            if name not in known:
                with table.store.look_at(name) as file:
                    known[name] = proof.of_file(file)
        return sum((known[name] for name in paths), RowSum())

    for entry in compactions:
        new, old = [seal.path for seal in entry.change.added], list(entry.change.removed)
        if was_vacuumed(entry, history):
            continue
        try:
            left, right = add_up(old), add_up(new)
        except (pl.exceptions.PolarsError, OSError) as error:
            what = f"the compaction in entry {entry.number} cannot be proven"
            yield Finding(min(new, default=LOG_FOLDER), what, None, one_line(error))
            continue
        if left != right:
            what = f"the compaction in entry {entry.number} did not keep the rows"
            yield Finding(min(new, default=LOG_FOLDER), what, f"{left.rows} rows as before", f"{right.rows} rows, not the same")


def was_vacuumed(compaction: Entry, history: History) -> bool:
    """Whether files of the compaction were deleted by a vacuum, which proved it before."""
    return not history.deleted.isdisjoint(files_of(compaction))


def files_of(entry: Entry) -> list[str]:
    """Every file that a commit names."""
    return [*entry.change.removed, *(seal.path for seal in entry.change.added)]
