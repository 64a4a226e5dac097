"""A real Apache Kafka for tests: fetched from Maven Central once, one or three KRaft nodes on loopback, stopped afterwards.

python tests/kafka.py --available    says whether the tests marked `kafka` can run here, and if not why
python tests/kafka.py --fetch        fetches it now
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from pipelines.broker import die_with_parent, free_port
from tests.certificates import make_authority, make_certificate

VERSION = "4.1.0"
CACHE = Path(__file__).parents[1] / ".kafka"
JARS = CACHE / f"libs-{VERSION}-tools"
START_SECONDS = 120.0

POM = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>boss.tests</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>{VERSION}</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.24.3</version></dependency>
  </dependencies>
</project>
"""

SETTINGS = """\
process.roles=broker,controller
node.id={number}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{more_listeners}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}{more_listeners}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.voters={voters}
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500
log.dirs={folder}/data
auto.create.topics.enable=false
default.replication.factor={copies}
min.insync.replicas={in_sync}
offsets.topic.num.partitions=4
offsets.topic.replication.factor={copies}
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr={in_sync}
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.retention.check.interval.ms=1000
log.initial.task.delay.ms=1000
log.cleaner.backoff.ms=500
"""

GUARDED = """\
ssl.keystore.type=PEM
ssl.keystore.location={keys}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={keys}/ca.pem
listener.name.ssl.ssl.client.auth=required
sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
"""

USER, PASSWORD = "boss", "a-password+of;the/test"
"""Who may log in to the guarded listener."""


def missing() -> str | None:
    """What this machine lacks for a real Kafka, None when it lacks nothing."""
    if not JARS.is_dir() and shutil.which("mvn") is None:
        return "Maven is missing (it fetches Kafka)"
    if shutil.which("java") is None:
        return "Java is missing (17 or newer is needed)"
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < 17:
        return f"Java 17 or newer is needed, found {said.splitlines()[0] if said else 'none'}"
    return None


def fetch() -> Path:
    """Folder of Kafka's jars; Maven brings them when they are not there, with the user's own settings."""
    if not JARS.is_dir():
        CACHE.mkdir(exist_ok=True)
        (CACHE / "pom.xml").write_text(POM)
        part = CACHE / f"part-{uuid.uuid4().hex}"
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={part}", "-DincludeScope=runtime"]
        subprocess.run(["mvn", "-q", "-B", *goal], cwd=CACHE, stdin=subprocess.DEVNULL, check=True)
        part.rename(JARS)
    return JARS


class KafkaNode:
    """One Kafka in `folder`; its topics are on disk and survive a restart.

    Beside `bootstrap`, which is open to all, a guarded one has `tls`, which asks for a client's certificate, and `login`, which
    asks for USER and PASSWORD over TLS. The certificates are in `keys`: ca.pem, client.pem.
    """

    def __init__(self, folder: Path, *, guarded: bool = False, heap: str = "400m") -> None:
        self.folder = folder
        self.port = free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.keys = folder / "keys"
        self.tls, self.login = (f"127.0.0.1:{free_port()}" if guarded else "" for _ in range(2))
        self.controller = free_port()
        self._heap = heap
        self._jars = fetch()
        self._config = folder / "server.properties"
        self._process: subprocess.Popen[bytes] | None = None
        self._prepared = False

    def prepare(self, number: int, voters: str, copies: int, cluster: str) -> None:
        """Write its settings and make its folder ready, as node `number` of a cluster."""
        more = f",SSL://{self.tls},SASL_SSL://{self.login}" if self.tls else ""
        settings = SETTINGS.format(
            number=number,
            port=self.port,
            controller=self.controller,
            more_listeners=more,
            voters=voters,
            folder=self.folder,
            copies=copies,
            in_sync=max(1, copies - 1),
        )
        users = []
        if self.tls:
            self.keys.mkdir()
            make_authority(self.keys)
            make_certificate(self.keys, "server")
            make_certificate(self.keys, "client")
            settings += GUARDED.format(keys=self.keys)
            for mechanism in ("SCRAM-SHA-512", "SCRAM-SHA-256"):
                users += ["--add-scram", f'{mechanism}=[name={USER},password="{PASSWORD}"]']
        self._config.write_text(settings)
        self._java("kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", str(self._config), *users).wait()
        self._prepared = True

    def start(self) -> None:
        """Start and wait until it answers."""
        self.launch()
        self.wait_until_it_answers()

    def launch(self) -> None:
        """Start and do not wait. A node that no cluster has prepared is one of its own."""
        if not self._prepared:
            self.prepare(1, f"1@127.0.0.1:{self.controller}", 1, new_cluster())
        self._process = self._java("kafka.Kafka", str(self._config))

    def wait_until_it_answers(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while not asyncio.run(_answers(self.bootstrap)):
            if time.monotonic() > deadline or self._process.poll() is not None:
                self.stop(signal.SIGKILL)
                raise RuntimeError(f"Kafka did not start; {self.folder / 'kafka.log'} says why")
            time.sleep(0.3)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def tool(self, main: str, *arguments: str) -> str:
        """What one of Kafka's own command line tools prints."""
        command = ["java", "-Xmx200m", "-XX:TieredStopAtLevel=1", "-cp", f"{self._jars}/*", main, *arguments]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
        return done.stdout

    def _java(self, main: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = ["java", f"-Xmx{self._heap}", "-XX:+UseSerialGC", "-cp", f"{self._jars}/*", main, *arguments]
        with (self.folder / "kafka.log").open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "LC_ALL": "C"},
                preexec_fn=die_with_parent if sys.platform == "linux" else None,
            )


def new_cluster() -> str:
    """A name for a new cluster, as Kafka wants it."""
    return urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


class KafkaCluster:
    """Three Kafka nodes; each topic is kept three times, and two copies of a message must be written."""

    def __init__(self, folder: Path) -> None:
        self.nodes: list[KafkaNode] = []
        for number in (1, 2, 3):
            (folder / str(number)).mkdir()
            self.nodes.append(KafkaNode(folder / str(number), heap="256m"))
        voters = ",".join(f"{number}@127.0.0.1:{node.controller}" for number, node in enumerate(self.nodes, 1))
        cluster = new_cluster()
        for number, node in enumerate(self.nodes, 1):
            node.prepare(number, voters, 3, cluster)
        self.bootstrap = ",".join(node.bootstrap for node in self.nodes)

    def start(self) -> None:
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait_until_it_answers()

    def stop(self) -> None:
        for node in self.nodes:
            node.stop(signal.SIGKILL)


def administer(node: KafkaNode, work: Callable[[AIOKafkaAdminClient], Awaitable[Any]]) -> Any:
    """What `work` answers, given a client for administration of the node."""

    async def run() -> Any:
        admin = AIOKafkaAdminClient(bootstrap_servers=node.bootstrap)
        await admin.start()
        try:
            return await work(admin)
        finally:
            await admin.close()

    return asyncio.run(run())


@contextmanager
def closing_kafka(kafka: KafkaNode | KafkaCluster) -> Iterator[None]:
    """Start it; stop it at the end of the with block."""
    try:
        kafka.start()
        yield
    finally:
        kafka.stop()


async def _answers(bootstrap: str) -> bool:
    host, _, port = bootstrap.partition(":")
    with suppress(OSError), socket.create_connection((host, int(port)), 1):
        return await _lists_topics(bootstrap)
    return False


async def _lists_topics(bootstrap: str) -> bool:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=2_000)
    try:
        await admin.start()
        await admin.list_topics()
    except (KafkaError, OSError, TimeoutError):
        return False
    finally:
        await admin.close()
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--available", action="store_true")
    parser.add_argument("--fetch", action="store_true")
    given = parser.parse_args()
    lack = missing()
    if lack is not None:
        print(f"The tests against a real Apache Kafka did not run: {lack}.")
        return 1
    if given.fetch:
        print(fetch())
    else:
        print("The tests against a real Apache Kafka are apart; run them with: .venv/bin/pytest -m kafka")
    return 0


if __name__ == "__main__":
    sys.exit(main())
