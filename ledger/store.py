"""Where the files of a table are kept: a folder here, or an object store (`ledger/objects.py`).

The ledger asks little of it. A file is put whole, safely and once, and is never changed; it is read, listed, and at the very
end deleted. Names are paths within the table, with slashes. Only a folder can do more: there the chain is a file that grows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from deltalake.exceptions import DeltaError

from schemas.errors import LedgerUnreachable


@dataclass(frozen=True)
class Stored:
    """A file as it is listed: its size in bytes, and when it was put, in seconds since 1970."""

    name: str
    bytes: int
    put_at: float


class Store(Protocol):
    """The files of one table. What cannot be done raises OSError, or LedgerUnreachable when nobody answers."""

    @property
    def name(self) -> str:
        """The table's."""

    @property
    def folder(self) -> Path:
        """Where `fetch` has its files: the table itself, or the cache that this machine keeps of it."""

    @property
    def remote(self) -> bool:
        """Whether every question takes a way over the network, and a file cannot grow."""

    @property
    def location(self) -> str:
        """What delta-rs opens, with `options`."""

    @property
    def options(self) -> Mapping[str, str] | None: ...

    def prepare(self) -> None:
        """Make room for a new table, and see whether it can be kept there."""

    def put(self, name: str, data: memoryview) -> None:
        """Keep a new file. When this returns it survives a power cut."""

    def read(self, name: str) -> bytes:
        """Its bytes. Raises FileNotFoundError."""

    def read_many(self, names: Sequence[str]) -> list[bytes]:
        """The bytes of small files, in order. Raises FileNotFoundError."""

    def files(self, below: str = "") -> Iterator[Stored]:
        """Every file whose name begins with this folder's (`_delta_log/`), in the order of their names."""

    def delete(self, name: str) -> None:
        """Delete a file; one that is gone already is no error."""

    def look_at(self, name: str) -> AbstractContextManager[Path]:
        """The file as it is now, to look at here. Raises FileNotFoundError."""

    def fetch(self, files: Sequence[tuple[str, int]]) -> list[str]:
        """Paths on this machine of data files, named with their sizes, in the order given."""

    def tidy(self, named: Sequence[str]) -> None:
        """Remove files from the cache that the newest version does not name and that nobody has asked for lately."""

    def unreachable(self, error: Exception) -> LedgerUnreachable | None:
        """What to say when this error of delta-rs means that the store refuses or does not answer."""


class FolderStore:
    """A table in a folder of its own."""

    remote = False
    options = None

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder).absolute()
        self.name = self.folder.name
        self.location = str(self.folder)

    def __str__(self) -> str:
        return self.location

    def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def put(self, name: str, data: memoryview) -> None:
        """Write one file and wait until it is on disk.

        After a power cut the log may lack a commit, which is then rated again; it must never name a file that is not there.
        """
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def read_many(self, names: Sequence[str]) -> list[bytes]:
        return [self.read(name) for name in names]

    def files(self, below: str = "") -> Iterator[Stored]:
        for path in sorted((self.folder / below).rglob("*")):
            with suppress(FileNotFoundError):
                if path.is_file():
                    found = path.stat()
                    yield Stored(path.relative_to(self.folder).as_posix(), found.st_size, found.st_mtime)

    def delete(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)

    @contextmanager
    def look_at(self, name: str) -> Iterator[Path]:
        yield self.folder / name

    def fetch(self, files: Sequence[tuple[str, int]]) -> list[str]:
        return [str(self.folder / name) for name, _ in files]

    def tidy(self, named: Sequence[str]) -> None:
        """There is no cache."""

    def unreachable(self, error: Exception) -> LedgerUnreachable | None:
        return None


class Stores(Protocol):
    """Something that is kept in a store."""

    @property
    def store(self) -> Store: ...


Kept = TypeVar("Kept", bound=Stores)
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def asks_the_store(function: Callable[Concatenate[Kept, Arguments], Result]) -> Callable[Concatenate[Kept, Arguments], Result]:
    """Let the function raise LedgerUnreachable where delta-rs says in its own way that the store does not answer."""

    @wraps(function)
    def asking(kept: Kept, /, *args: Arguments.args, **named: Arguments.kwargs) -> Result:
        try:
            return function(kept, *args, **named)
        except (DeltaError, OSError) as error:
            if (told := kept.store.unreachable(error)) is not None:
                raise told from error
            raise

    return asking
