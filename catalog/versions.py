"""Publishing: a checked book or roster becomes an immutable, numbered folder of Parquet files that rating reads.

    store/000001/book.json          version, digest of the content, sha256 of each file
    store/000001/prices.parquet     one file per frame, rows in canonical order

A version is written beside its place and renamed, so it is there as a whole or not at all. What a price version says never
changes once it is published: a new price is a new version with its own valid_from.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import polars as pl

from catalog.frozen import digest_of, seal_book, seal_roster
from catalog.published_terms import TERM_FRAMES, changed_terms, terms_of
from schemas.book import BOOK_FRAMES, Book
from schemas.errors import BrokenPromise, NothingPublished, Refused
from schemas.frames import FrameSchema
from schemas.roster import ROSTER_FRAMES, Roster

Frames = dict[str, pl.DataFrame]
FORMAT = 1


def publish_book(book: Book, store: Path) -> Book:
    """The book as published: the latest version when its content is the same, a new one otherwise.

    Raises:
        Refused: It changes the terms of a price version that was published before.
    """
    frames = {name: getattr(book, name) for name in BOOK_FRAMES}
    return replace(book, version=_publish("book", frames, store))


def publish_roster(roster: Roster, store: Path) -> Roster:
    """The roster as published; as `publish_book`."""
    frames = {name: getattr(roster, name) for name in ROSTER_FRAMES}
    return replace(roster, version=_publish("roster", frames, store))


def load_book(store: Path, version: int | None = None) -> Book:
    """A published book, the latest when no version is given.

    Raises:
        NothingPublished: There is no version yet.
        Refused: There is no such version.
        BrokenPromise: A file is damaged or was changed.
    """
    number, frames = _load("book", BOOK_FRAMES, store, version)
    return seal_book(frames, number)


def load_roster(store: Path, version: int | None = None) -> Roster:
    """A published roster; as `load_book`."""
    number, frames = _load("roster", ROSTER_FRAMES, store, version)
    return seal_roster(frames, number)


def published_versions(store: Path) -> list[int]:
    """Numbers of the published versions, ascending."""
    if not store.is_dir():
        return []
    return sorted(int(entry.name) for entry in store.iterdir() if re.fullmatch(r"\d{6}", entry.name))


def _publish(what: str, frames: Frames, store: Path) -> int:
    digest = digest_of(frames)
    while True:
        versions = published_versions(store)
        if versions and _read_manifest(what, store, versions[-1])["digest"] == digest:
            return versions[-1]
        _refuse_changed_terms(what, frames, store, versions)
        number = versions[-1] + 1 if versions else 1
        if _write_version(what, frames, store, number, digest):
            return number


def _refuse_changed_terms(what: str, frames: Frames, store: Path, versions: list[int]) -> None:
    new_terms = terms_of(frames)
    for version in reversed(versions):
        manifest, folder = _read_manifest(what, store, version), _folder(store, version)
        published = {name: _read_file(name, manifest, folder) for name in TERM_FRAMES if name in frames}
        changed = changed_terms(terms_of(published), new_terms)
        if changed:
            raise Refused(
                f"Terms that {what} version {version} has published would change:\n"
                + "\n".join(f"  {name}: {before} -> {after}" for name, before, after in changed)
                + "\nPut the old terms back and add new ones with a later valid_from; a changed calendar is a new one."
            )


def _write_version(what: str, frames: Frames, store: Path, number: int, digest: str) -> bool:
    """Whether this call made the version; false when another publisher was first."""
    try:
        store.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=store))
    except OSError as error:
        raise Refused(f"{store} cannot be written ({error.strerror}). Nothing was published. Check its permissions.") from error
    try:
        sums = {f"{name}.parquet": _write_file(draft / f"{name}.parquet", frame) for name, frame in frames.items()}
        manifest = {"what": what, "format": FORMAT, "version": number, "digest": digest, "files": sums}
        with (draft / f"{what}.json").open("w") as file:
            file.write(json.dumps(manifest, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.chmod(0o755)
        try:
            os.rename(draft, _folder(store, number))
        except OSError:
            if not _folder(store, number).exists():
                raise
            return False
        return True
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write_file(path: Path, frame: pl.DataFrame) -> str:
    frame.write_parquet(path, compression="zstd", statistics=True)
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return sha256(file.read()).hexdigest()


def _load(what: str, schemas: Mapping[str, FrameSchema], store: Path, version: int | None) -> tuple[int, Frames]:
    versions = published_versions(store)
    if not versions:
        raise NothingPublished("price book" if what == "book" else what)
    number = versions[-1] if version is None else version
    if number not in versions:
        raise Refused(f"There is no {what} version {number}; published are 1 to {versions[-1]}.")
    manifest = _read_manifest(what, store, number)
    frames = {name: schema.select(_read_file(name, manifest, _folder(store, number))) for name, schema in schemas.items()}
    if digest_of(frames) != manifest["digest"]:
        raise BrokenPromise(f"{_folder(store, number)}: the content is not what was published. Restore it from a backup.")
    return number, frames


def _read_file(name: str, manifest: dict[str, object], folder: Path) -> pl.DataFrame:
    path = folder / f"{name}.parquet"
    sums = manifest["files"]
    content = path.read_bytes() if path.exists() else b""
    if not isinstance(sums, dict) or sums.get(path.name) != sha256(content).hexdigest():
        raise BrokenPromise(f"{path} is not the file that was published. Restore it from a backup.")
    return pl.read_parquet(content)


def _read_manifest(what: str, store: Path, number: int) -> dict[str, object]:
    path = _folder(store, number) / f"{what}.json"
    try:
        manifest = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BrokenPromise(f"{path} cannot be read ({error}). Restore it from a backup.") from error
    if not isinstance(manifest, dict) or manifest.get("what") != what or manifest.get("format") != FORMAT:
        raise BrokenPromise(f"{path} does not describe a {what} of format {FORMAT}. Restore it or use a matching BOSS.")
    return manifest


def _folder(store: Path, number: int) -> Path:
    return store / f"{number:06d}"
