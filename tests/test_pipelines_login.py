"""Logging in to Kafka: what the settings allow, what they must not hold, and that secrets stay secret."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest

import pipelines.topic
from pipelines.login import OPEN, Login, read_login
from pipelines.settings import KafkaSecurity, Settings, read_settings
from pipelines.topic import ensure_topic
from schemas.errors import BadWorkspace, Refused
from tests.certificates import make_authority, make_certificate


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    make_authority(folder)
    make_certificate(folder, "client")
    (folder / "password").write_text("of a file\n")
    (folder / "empty").touch()
    return folder


def login(keys: Path, **settings: Any) -> Login:
    return read_login(KafkaSecurity(**settings), keys)


def test_without_settings_the_cluster_is_open(keys: Path) -> None:
    assert login(keys) == OPEN
    assert OPEN.options() == {"security_protocol": "PLAINTEXT", "ssl_context": None}


def test_a_user_and_a_password_from_a_file_over_tls_with_an_own_authority(keys: Path) -> None:
    found = login(keys, protocol="SASL_SSL", user="boss", password_file="password", ca_file="ca.pem")
    assert found.tls is not None
    assert found.tls.verify_mode is ssl.CERT_REQUIRED
    assert found.tls.check_hostname
    assert {name: value for name, value in found.options().items() if name != "ssl_context"} == {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "boss",
        "sasl_plain_password": "of a file",
    }
    assert "of a file" not in repr(found)


def test_a_certificate_of_our_own(keys: Path) -> None:
    found = login(keys, protocol="SSL", ca_file="ca.pem", certificate_file="client.crt", key_file="client.key")
    assert set(found.options()) == {"security_protocol", "ssl_context"}
    assert login(keys, protocol="SSL", certificate_file="client.pem").tls is not None


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"protocol": "SASL_SSL"}, "needs a user"),
        ({"protocol": "SASL_SSL", "user": "boss"}, "needs a password (BOSS_KAFKA_SECURITY__PASSWORD) or password_file"),
        ({"user": "boss"}, "protocol PLAINTEXT uses none"),
        ({"protocol": "SSL", "password_file": "password"}, "protocol SSL uses none"),
        ({"ca_file": "ca.pem"}, "protocol PLAINTEXT uses no TLS"),
        ({"password": "a", "password_file": "password"}, "both set"),
        ({"protocol": "SASL_SSL", "user": "boss", "password_file": "gone"}, "gone cannot be read (No such file or directory)"),
        ({"protocol": "SASL_SSL", "user": "boss", "password_file": "empty"}, "is empty"),
        ({"protocol": "SSL", "ca_file": "gone"}, "ca_file"),
        ({"protocol": "SSL", "ca_file": "password"}, "ca_file"),
        ({"protocol": "SSL", "key_file": "client.key"}, "key_file is set without certificate_file"),
        ({"protocol": "SSL", "certificate_file": "client.crt", "key_file": "ca.key"}, "certificate_file or key_file"),
        ({"protocol": "SSL", "certificate_file": "client.crt"}, "certificate_file or key_file"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(settings: dict[str, Any], why: str, keys: Path) -> None:
    with pytest.raises(BadWorkspace) as refusal:
        login(keys, **settings)
    assert why in str(refusal.value)


def test_a_password_comes_from_the_environment_and_not_from_boss_toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOSS_KAFKA_SECURITY__PASSWORD", "secret of the environment")
    file = tmp_path / "boss.toml"
    file.write_text('[kafka_security]\nprotocol = "SASL_SSL"\nuser = "boss"\n')
    settings = read_settings(file)
    assert read_login(settings.kafka_security, tmp_path).password == "secret of the environment"
    assert "secret of" not in f"{settings!r} {settings.model_dump_json()}"
    file.write_text('[kafka_security]\npassword = "secret of the file"\n')
    with pytest.raises(BadWorkspace, match="holds a password") as refusal:
        read_settings(file)
    assert "secret of" not in str(refusal.value)


def test_a_wrong_setting_is_refused_without_showing_the_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOSS_KAFKA_SECURITY__PASSWORD", "secret of the environment")
    file = tmp_path / "boss.toml"
    file.write_text('[kafka_security]\nprotocol = "TLS"\n')
    with pytest.raises(BadWorkspace, match=r"kafka_security\.protocol") as refusal:
        read_settings(file)
    assert "secret of" not in str(refusal.value)


def test_who_greets_an_open_listener_with_tls_is_told_where_to_look(
    kafka: str, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines.topic, "KNOCK_SECONDS", 0.5)
    with pytest.raises(Refused, match=r"Does its listener speak SSL \(kafka_security\.protocol\)\?"):
        asyncio.run(ensure_topic(kafka, "usage", 1, login=login(keys, protocol="SSL"), patience_seconds=0.1))


def test_every_file_and_secret_of_the_settings_is_read() -> None:
    """A new one must be thought of in read_login."""
    assert set(type(Settings().kafka_security).model_fields) == {
        *("protocol", "mechanism", "user", "password", "password_file", "ca_file", "certificate_file", "key_file")
    }
