"""Brokers for the tests that need one: the embedded one, or a real Apache Kafka for those marked `kafka`."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from pipelines.broker import embedded_broker
from pipelines.workspace import Workspace
from tests.examples import TIMES
from tests.kafka import KafkaNode, closing_kafka, missing
from tests.s3 import CREDENTIALS, ObjectServer

# No example has to be quick: the first one compiles loops, and the machine may have other work.
settings.register_profile("boss", deadline=None, max_examples=30 * TIMES)
settings.load_profile("boss")


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap address of an embedded broker."""
    with embedded_broker(tmp_path_factory.mktemp("broker") / "broker.log") as bootstrap:
        yield bootstrap


@pytest.fixture
def topic() -> str:
    """A topic nobody has used; good as a group too."""
    return f"usage-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def worker_log(tmp_path: Path) -> Path:
    return tmp_path / "worker.log"


@pytest.fixture(scope="session")
def kafka_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaNode]:
    """A running Apache Kafka, open on one port and guarded on two others."""
    lack = missing()
    assert lack is None, lack
    node = KafkaNode(tmp_path_factory.mktemp("kafka"), guarded=True)
    with closing_kafka(node):
        yield node


@pytest.fixture
def shop(tmp_path: Path) -> Workspace:
    """A company of the template `video-conference`, published."""
    made = Workspace.create(tmp_path / "shop", "video-conference", "2026-10")
    made.publish()
    return made


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write tests/golden/ anew from what the code gives now")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written instead of compared."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(scope="session")
def object_server() -> Iterator[ObjectServer]:
    """A running server of object storage."""
    server = ObjectServer()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def objects(object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectServer]:
    """The server, serving everything, and its credentials in the environment."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    object_server.refuse()
    yield object_server
    object_server.refuse()
