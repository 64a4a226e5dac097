"""What the chain of a table tells: every commit from the newest back to the first, and where the chain is damaged."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from ledger.chain import (
    CHAIN_FOLDER,
    DIGEST_LETTERS,
    Entry,
    Head,
    Operation,
    Seal,
    count_segments,
    digest_of,
    parse_entry,
    read_lines,
    segment_entries,
    segment_name,
)
from ledger.store import Store


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was committed. `file` is a path within the table's folder."""

    file: str
    what: str
    expected: str | None
    found: str | None


@dataclass
class History:
    """A chain read back to its beginning: digests and compactions by number, and what became of each file and source."""

    digests: dict[int, str] = field(default_factory=dict)
    seals: dict[str, Seal] = field(default_factory=dict)
    removed: dict[str, Entry] = field(default_factory=dict)  # file -> the compaction that replaced it
    deleted: set[str] = field(default_factory=set)
    positions: dict[str, int] = field(default_factory=dict)
    compactions: list[Entry] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def live(self) -> dict[str, Seal]:
        """The files that make up the table's newest version, by path."""
        return {path: seal for path, seal in self.seals.items() if path not in self.removed}

    def add(self, entry: Entry) -> None:
        """Take in the commit before those taken in so far."""
        change = entry.change
        self.seals.update({seal.path: seal for seal in change.added})
        if change.operation is Operation.VACUUM:
            self.deleted.update(change.removed)
        else:
            self.removed.update(dict.fromkeys(change.removed, entry))
        if change.operation is Operation.COMPACT:
            self.compactions.append(entry)
        for source, position in change.positions.items():
            self.positions.setdefault(source, position)


def read_history(store: Store, head: Head | None, origin: Head, files: Collection[str] | None = None) -> History:
    """Follow the chain of a table from its head (None: its newest line) back to its origin.

    Args:
        files: When given, only as far back as to the commits that added these files.

    Where an entry is missing or edited that is a finding, and the next older line is followed, so that the files can still be
    named. Lines that the head does not lead back to belong to commits that did not happen; they mean nothing.
    """
    history = History()
    wanted, missing = head, None if files is None else set(files)
    size = segment_entries(store)
    if head is None:
        segments = count_segments(file.name for file in store.files(f"{CHAIN_FOLDER}/"))
    else:
        segments = -(-head.number // size)
    for segment in reversed(range(segments)):
        walk = _Segment(store, segment, history.findings)
        wanted = wanted if wanted is not None else walk.newest()
        while wanted is not None and wanted.number > segment * size:
            entry = walk.follow(wanted)
            if entry is not None:
                history.digests[wanted.number] = wanted.digest
                history.add(entry)
                wanted = Head(wanted.number - 1, entry.previous)
                if missing is not None:
                    missing.difference_update(seal.path for seal in entry.change.added)
                    if not missing:
                        return history
            else:
                wanted = walk.older(wanted.number)
    if wanted is not None and wanted.number == 0 and wanted.digest != origin.digest:
        what = "the chain begins in another table"
        history.findings.append(Finding(segment_name(store, 0), what, origin.digest, wanted.digest))
    return history


class _Segment:
    """One segment of the chain, read from its end to its beginning."""

    def __init__(self, store: Store, segment: int, findings: list[Finding]) -> None:
        self.name = segment_name(store, segment)
        self.findings = findings
        self.lines = read_lines(store, segment)
        self.places: dict[str, list[int]] = {}
        for place, line in enumerate(self.lines):
            self.places.setdefault(line[:DIGEST_LETTERS], []).append(place)
        self.at = len(self.lines)

    def follow(self, wanted: Head) -> Entry | None:
        """The entry of this number and digest; None, and a finding, when it is not there."""
        places = self.places.get(wanted.digest, [])
        if not places:
            other = next((head for head, _ in self._numbered() if head.number == wanted.number), None)
            what = f"entry {wanted.number} of the chain is " + ("another one" if other else "missing")
            self._find(what, wanted.digest, other.digest if other else None)
            return None
        true = [place for place in places if digest_of(self._text(place)) == wanted.digest]
        place = max((place for place in true if place < self.at), default=(true or places)[-1])
        if not true:
            what = f"entry {wanted.number} of the chain was changed"
            self._find(what, wanted.digest, digest_of(self._text(place)))
        elif place >= self.at:
            what = f"entry {wanted.number} of the chain is out of order"
            self._find(what, f"before line {self.at + 1}", f"line {place + 1}")
        self.at = min(place, self.at)
        return parse_entry(self._text(place))

    def _text(self, place: int) -> str:
        return self.lines[place][DIGEST_LETTERS + 1 :]

    def older(self, number: int) -> Head | None:
        """The newest line that says it is older than `number`; None when this file has none."""
        return max((head for head, _ in self._numbered() if head.number < number), key=lambda head: head.number, default=None)

    def newest(self) -> Head | None:
        return max((head for head, _ in self._numbered()), key=lambda head: head.number, default=None)

    def _numbered(self) -> Iterator[tuple[Head, Entry]]:
        for line in self.lines:
            entry = parse_entry(line[DIGEST_LETTERS + 1 :])
            if entry is not None:
                yield Head(entry.number, line[:DIGEST_LETTERS]), entry

    def _find(self, what: str, expected: str | None, found: str | None) -> None:
        self.findings.append(Finding(self.name, what, expected, found))
