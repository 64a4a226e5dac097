"""A workspace: the folder that holds one company's sources, frozen versions, ledger and documents.

boss.toml          settings
catalog/*.yaml     price book, as written          -> books/000001/     published versions, immutable
roster/*           customers, as written           -> rosters/000001/   published versions, immutable
ledger/            Delta tables: postings, rejects, runs, invoices, lines, ...; or the cache of a ledger in object storage
runs/              drafts of bill runs
invoices/  statements/   documents
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import catalog.book_source
import catalog.roster_source
import catalog.templates
import catalog.versions
from ledger.book import Ledger, open_ledger
from ledger.objects import CACHE, ObjectPlace
from pipelines.login import Login, read_login
from pipelines.settings import LedgerPlace, Settings, read_settings
from schemas.book import Book
from schemas.errors import BadWorkspace, NothingPublished
from schemas.roster import Roster

BOSS_TOML = """\
# Settings of this workspace. Every key may also come from the environment: BOSS_KAFKA, BOSS_STREAM__TOPIC, ...
kafka = ""                        # bootstrap servers; empty: no Kafka

[company]                         # who issues the invoices
name = "Example Company"
address = ""
tax_id = ""
bank = ""
email = ""

[billing]
starts = "{starts}"                # first period whose recurring fees are billed here
series = "INV"                    # invoice numbers: INV-2026-000001

[stream]
topic = "usage"
partitions = 4
epoch = "1"                       # change it when the topic was deleted, emptied or repartitioned
"""


@dataclass(frozen=True)
class Workspace:
    """Paths and settings of one company; opens its versions and its ledger."""

    root: Path
    settings: Settings

    @classmethod
    def open(cls, root: Path) -> Workspace:
        """Raises BadWorkspace when there is no valid boss.toml in `root`."""
        return cls(root.absolute(), read_settings(root / "boss.toml"))

    @classmethod
    def create(cls, root: Path, template: str, starts: str) -> Workspace:
        """A new workspace from an industry template. Refuses to touch a folder that has one."""
        if (root / "boss.toml").exists():
            raise BadWorkspace(f"{root} already holds a workspace; nothing was changed.")
        catalog.templates.copy_template(template, root)
        (root / "boss.toml").write_text(BOSS_TOML.format(starts=starts), encoding="utf-8")
        return cls.open(root)

    @property
    def catalog_folder(self) -> Path:
        return self.root / "catalog"

    @property
    def roster_folder(self) -> Path:
        return self.root / "roster"

    @property
    def books(self) -> Path:
        return self.root / "books"

    @property
    def rosters(self) -> Path:
        return self.root / "rosters"

    @property
    def ledger_folder(self) -> Path:
        return self.root / "ledger"

    @property
    def runs_folder(self) -> Path:
        return self.root / "runs"

    @property
    def invoices_folder(self) -> Path:
        return self.root / "invoices"

    @property
    def statements_folder(self) -> Path:
        return self.root / "statements"

    @property
    def stream_name(self) -> str:
        """Names the usage topic's positions in the ledger."""
        return f"kafka:{self.settings.stream.topic}@{self.settings.stream.epoch}"

    def login(self) -> Login:
        """How to log in to Kafka. Raises BadWorkspace when the settings contradict each other or a file is missing."""
        return read_login(self.settings.kafka_security, self.root)

    def read_sources(self) -> tuple[Book, Roster]:
        """The drafts as written in catalog/ and roster/. Raises BadCatalog with every mistake."""
        book = catalog.book_source.read_book(self.catalog_folder)
        return book, catalog.roster_source.read_roster(self.roster_folder, book)

    def publish(self) -> tuple[Book, Roster]:
        """Freeze the drafts as the newest versions; equal content keeps its version."""
        book, roster = self.read_sources()
        published = catalog.versions.publish_book(book, self.books)
        return published, catalog.versions.publish_roster(roster, self.rosters)

    def versions(self) -> tuple[int, int]:
        """Numbers of the newest published book and roster. Raises NothingPublished. Cheap: asked before every batch."""
        return _newest("price book", self.books), _newest("roster", self.rosters)

    def load(self) -> tuple[Book, Roster]:
        """The newest published versions. Raises NothingPublished."""
        return catalog.versions.load_book(self.books), catalog.versions.load_roster(self.rosters)

    def published(self) -> tuple[Book | None, Roster | None]:
        """The newest published versions, None for what has not been published yet."""
        try:
            book = catalog.versions.load_book(self.books)
        except NothingPublished:
            return None, None
        try:
            return book, catalog.versions.load_roster(self.rosters)
        except NothingPublished:
            return book, None

    def ledger(self) -> Ledger:
        """The ledger where the settings say it is: in the workspace, or in object storage with its cache in the workspace."""
        place = self.settings.ledger
        if not place.location:
            return open_ledger(self.ledger_folder)
        return open_ledger(object_place(place, self.ledger_folder / CACHE))


def object_place(place: LedgerPlace, cache: Path) -> ObjectPlace:
    """The place in object storage that the settings name."""
    return ObjectPlace(
        place.location,
        endpoint=place.endpoint,
        region=place.region,
        path_style=place.path_style,
        allow_http=place.allow_http,
        cache=cache,
    )


def _newest(what: str, store: Path) -> int:
    versions = catalog.versions.published_versions(store)
    if not versions:
        raise NothingPublished(what)
    return versions[-1]
