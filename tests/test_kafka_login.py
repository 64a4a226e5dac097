"""A guarded Apache Kafka: with a password or a certificate events are sent and rated over TLS; others are turned away."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

import cli
from pipelines.workspace import Workspace
from tests.certificates import make_authority
from tests.kafka import PASSWORD, USER, KafkaNode
from tests.stream_watch import wait_for, wait_until
from tests.test_pipelines_worker import meeting, start

pytestmark = pytest.mark.kafka

KEY = "BOSS_KAFKA_SECURITY__"


@pytest.fixture
def shop(shop: Workspace) -> Workspace:
    (shop.root / "usage.ndjson").write_bytes(b"\n".join(meeting(number) for number in range(100)))
    return shop


def by_password(node: KafkaNode, **changes: str) -> dict[str, str]:
    login = {"PROTOCOL": "SASL_SSL", "USER": USER, "PASSWORD": PASSWORD, "CA_FILE": str(node.keys / "ca.pem")}
    return {"BOSS_KAFKA": node.login, **{KEY + name: value for name, value in (login | changes).items() if value}}


def by_certificate(node: KafkaNode) -> dict[str, str]:
    files = {"CA_FILE": str(node.keys / "ca.pem"), "CERTIFICATE_FILE": str(node.keys / "client.pem")}
    return {"BOSS_KAFKA": node.tls, KEY + "PROTOCOL": "SSL", **{KEY + name: value for name, value in files.items()}}


@pytest.mark.parametrize("way", ["SCRAM-SHA-512", "SCRAM-SHA-256", "certificate"])
def test_events_are_sent_and_rated_over_tls(
    way: str, kafka_node: KafkaNode, topic: str, shop: Workspace, worker_log: Path
) -> None:
    login = by_certificate(kafka_node) if way == "certificate" else by_password(kafka_node, MECHANISM=way)
    place = {"BOSS_WORKSPACE": str(shop.root), "BOSS_STREAM__TOPIC": topic}
    sent = CliRunner().invoke(cli.app, ["send", str(shop.root / "usage.ndjson")], env=place | login)
    assert sent.exit_code == 0, sent.output
    worker = start(shop, "", topic, worker_log, **login)
    try:
        postings = shop.ledger().postings
        wait_until(lambda: postings.scan().select(pl.col("event_id").n_unique()).collect().item() == 100)
        worker.terminate()
        assert wait_for(worker) == 0
    finally:
        worker.kill()
    assert PASSWORD not in worker_log.read_text()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"PASSWORD": "wrong"}, f"does not accept the user '{USER}' with this password"),
        ({"USER": "stranger"}, "does not accept the user 'stranger'"),
        ({"MECHANISM": "PLAIN"}, "does not know the mechanism PLAIN"),
        ({"CA_FILE": "other.pem"}, "certificate is not trusted"),
        ({"CA_FILE": ""}, "certificate is not trusted"),
    ],
)
def test_a_login_that_is_refused_ends_the_worker_and_the_sender_at_once(
    changes: dict[str, str], why: str, kafka_node: KafkaNode, topic: str, shop: Workspace, worker_log: Path
) -> None:
    make_authority(shop.root, "other")
    login = by_password(kafka_node, **changes)
    assert wait_for(start(shop, "", topic, worker_log, **login), 20) == 1
    said = worker_log.read_text()
    assert why in " ".join(said.split())
    assert said.count("\n") < 10
    assert login[KEY + "PASSWORD"] not in said.replace("with this password", "").replace("are wrong", "")
    place = {"BOSS_WORKSPACE": str(shop.root), "BOSS_STREAM__TOPIC": topic}
    sent = CliRunner().invoke(cli.app, ["send", str(shop.root / "usage.ndjson")], env=place | login)
    assert sent.exit_code == 1
    assert why in sent.output


def test_a_client_that_greets_a_guarded_listener_without_tls_is_told_where_to_look(
    kafka_node: KafkaNode, topic: str, shop: Workspace, worker_log: Path
) -> None:
    worker = start(shop, kafka_node.login, topic, worker_log)
    try:
        wait_until(lambda: "Does its listener speak PLAINTEXT (kafka_security.protocol)?" in worker_log.read_text(), 20)
        worker.terminate()
        assert wait_for(worker) == 0
    finally:
        worker.kill()
