"""A ledger in S3-compatible object storage, and the cache of its data files that this machine keeps.

Every object is immutable: it is put once and never changed. The one thing that two writers can want at the same moment is the
next entry of the Delta log, and that delta-rs puts on the condition that there is none; so the store itself decides who was
first. Names of data files and chain entries cannot be wanted by two: they are random, or made of the digest.

DuckDB and Polars read files here. So a data file is downloaded when it is first read, and kept for as long as the newest
version of its table names it.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from ledger.store import Stored
from schemas.errors import LedgerUnreachable, LedgerUnwritable

RETRIES = 5
RETRY_SECONDS = 20
"""For so long a request that fails is tried again. A worker then ends and says why, and its supervisor starts it again."""

REQUEST_SECONDS = 60
CONNECT_SECONDS = 5

DOWNLOADS = 8
"""Files that are downloaded at the same time."""

KEEP_SECONDS = 86_400
"""A cached file that the newest version does not name may still be read by somebody who opened an older one."""

UNFINISHED = ".part"

CACHE = ".cache"
"""Folder of the cache, beside the lock: no folder of a table can be mistaken for it."""

_STORE_FAILED = re.compile(r"Generic S3 error|Error performing|error sending request|lacked the necessary|credentials", re.I)
_REFUSED = re.compile(
    r"\b40[13] (Forbidden|Unauthorized)|AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|lacked the necessary"
)
_NO_BUCKET = re.compile("NoSuchBucket")
_SILENT = re.compile(r"error sending request|Connection refused|connect error|timed out|dns error", re.I)
_NO_KEYS = re.compile(r"169\.254\.|metadata|credential", re.I)
_CODE = re.compile(r"<Code>(\w+)</Code>")


@dataclass(frozen=True)
class ObjectPlace:
    """A ledger's place in object storage. Credentials are no part of it: they are in the environment (AWS_ACCESS_KEY_ID, ...).

    Args:
        location: `s3://bucket/prefix`.
        endpoint: Address of the server; empty for Amazon's own.
        path_style: The bucket is part of the path, not of the host name.
        allow_http: Also without TLS.
        cache: Folder of this machine's cache.
    """

    location: str
    endpoint: str
    region: str
    path_style: bool
    allow_http: bool
    cache: Path

    @property
    def bucket_name(self) -> str:
        return urlsplit(self.location).netloc

    @property
    def prefix(self) -> str:
        return urlsplit(self.location).path.strip("/")

    @cached_property
    def options(self) -> dict[str, str]:
        """What delta-rs is told."""
        given = {
            "aws_region": self.region,
            "aws_virtual_hosted_style_request": str(not self.path_style).lower(),
            "aws_allow_http": str(self.allow_http).lower(),
            "aws_conditional_put": "etag",
            "max_retries": str(RETRIES),
            "retry_timeout": f"{RETRY_SECONDS}s",
            "timeout": f"{REQUEST_SECONDS}s",
            "connect_timeout": f"{CONNECT_SECONDS}s",
        }
        return given | ({"aws_endpoint": self.endpoint} if self.endpoint else {})

    @cached_property
    def client(self) -> S3Store:
        endpoint: dict[str, str] = {"endpoint": self.endpoint} if self.endpoint else {}
        return S3Store(
            self.bucket_name,
            region=self.region,
            virtual_hosted_style_request=not self.path_style,
            client_options={
                "allow_http": self.allow_http,
                "timeout": timedelta(seconds=REQUEST_SECONDS),
                "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
            },
            retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
            **endpoint,  # type: ignore[arg-type]
        )

    def table(self, name: str) -> ObjectStore:
        return ObjectStore(self, name)


class ObjectStore:
    """The objects of one table, and this machine's cache of its data files."""

    remote = True

    def __init__(self, place: ObjectPlace, name: str) -> None:
        self.name = name
        self.folder = place.cache / name
        self.location = f"{place.location.rstrip('/')}/{name}"
        self.options = place.options
        self._place = place
        self._prefix = f"{place.prefix}/{name}/".lstrip("/")

    def __str__(self) -> str:
        return self.location

    def prepare(self) -> None:
        """Try whether the server decides who was first. One that does not would let two writers overwrite each other's commits.

        Raises:
            LedgerUnwritable: It overwrites an object that was to be put only if there is none.
        """
        trial = f"{self._prefix}_trial/{uuid.uuid4().hex}"
        with self._asking():
            obstore.put(self._place.client, trial, b"first", mode="create")
            try:
                obstore.put(self._place.client, trial, b"second", mode="create")
                decides = False
            except AlreadyExistsError:
                decides = True
            obstore.delete(self._place.client, trial)
        if not decides:
            raise LedgerUnwritable(
                self,
                "the server does not honour If-None-Match, so two writers could overwrite each other's commits; use another",
            )

    def put(self, name: str, data: memoryview) -> None:
        with self._asking():
            obstore.put(self._place.client, self._prefix + name, data)

    def read(self, name: str) -> bytes:
        with self._asking():
            return bytes(obstore.get(self._place.client, self._prefix + name).bytes())

    def read_many(self, names: Sequence[str]) -> list[bytes]:
        """The bytes of small objects, in order."""
        with ThreadPoolExecutor(DOWNLOADS) as threads:
            return list(threads.map(self.read, names))

    def files(self, below: str = "") -> Iterator[Stored]:
        with self._asking():
            for page in obstore.list(self._place.client, self._prefix + below):
                for found in page:
                    name = found["path"].removeprefix(self._prefix)
                    yield Stored(name, found["size"], found["last_modified"].timestamp())

    def delete(self, name: str) -> None:
        with suppress(FileNotFoundError), self._asking():
            obstore.delete(self._place.client, self._prefix + name)

    @contextmanager
    def look_at(self, name: str) -> Iterator[Path]:
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor, path = tempfile.mkstemp(UNFINISHED, dir=self.folder)
        os.close(descriptor)
        try:
            self._download(name, Path(path))
            yield Path(path)
        finally:
            Path(path).unlink(missing_ok=True)

    def fetch(self, files: Sequence[tuple[str, int]]) -> list[str]:
        """Paths in the cache. Those that are missing, or have another size than the log says, are downloaded first.

        Raises:
            LedgerUnreachable: One cannot be had, or is not what the log says of it.
        """
        now = time.time()
        missing = [(name, size) for name, size in files if not _touch(self.folder / name, size, now)]
        if missing:
            with ThreadPoolExecutor(DOWNLOADS) as threads:
                list(threads.map(lambda file: self._keep(*file), missing))
        return [str(self.folder / name) for name, _ in files]

    def tidy(self, named: Sequence[str]) -> None:
        wanted, latest = set(named), time.time() - KEEP_SECONDS
        for path in self.folder.rglob("*"):
            with suppress(OSError):
                name = path.relative_to(self.folder).as_posix()
                if name not in wanted and path.is_file() and path.stat().st_mtime < latest:
                    path.unlink()

    def unreachable(self, error: Exception) -> LedgerUnreachable | None:
        text = str(error)
        return LedgerUnreachable(self, self._reason(text)) if _STORE_FAILED.search(text) else None

    def _keep(self, name: str, size: int) -> None:
        """Download a data file. It gets its name when it is whole, so nobody reads a part of it."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, unfinished = tempfile.mkstemp(UNFINISHED, dir=path.parent)
        os.close(descriptor)
        try:
            try:
                self._download(name, Path(unfinished))
            except FileNotFoundError:
                raise LedgerUnreachable(self, f"{name} is gone; `boss ledger verify` says more") from None
            except OSError as error:
                raise LedgerUnwritable(path.parent, str(error)) from error
            found = Path(unfinished).stat().st_size
            if found != size:
                raise LedgerUnreachable(self, f"{name} has {found} bytes, and the log says {size}; run `boss ledger verify`")
            Path(unfinished).replace(path)
        finally:
            Path(unfinished).unlink(missing_ok=True)

    def _download(self, name: str, path: Path) -> None:
        with self._asking(), path.open("wb") as file:
            for part in obstore.get(self._place.client, self._prefix + name):
                file.write(part)
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if _NO_BUCKET.search(str(error)):
                raise LedgerUnreachable(self, self._reason(str(error))) from error
            raise
        except BaseError as error:
            raise LedgerUnreachable(self, self._reason(str(error))) from error

    def _reason(self, text: str) -> str:
        """What the store's error comes to, in a few words; without what a server may have put into it."""
        server = self._place.endpoint or f"S3 in {self._place.region}"
        code = _CODE.search(text)
        if _NO_BUCKET.search(text):
            return f"{server} has no bucket {self._place.bucket_name}"
        if _REFUSED.search(text):
            return f"{server} refuses our credentials: {code[1] if code else 'access denied'}"
        if _SILENT.search(text) and not _NO_KEYS.search(text):
            return f"{server} does not answer"
        if _NO_KEYS.search(text):
            return "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        return f"{server} says {code[1]}" if code else " ".join(text.split("Debug source")[0].split())[:300]


def _touch(path: Path, size: int, now: float) -> bool:
    """Whether the file is there; it then counts as asked for now."""
    try:
        if path.stat().st_size != size:
            return False
        os.utime(path, (now, now))
    except OSError:
        return False
    return True
