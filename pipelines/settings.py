"""Settings of a workspace: `boss.toml`, overridden by environment variables.

A variable is `BOSS_` + the key, with two underscores between table and key: `BOSS_KAFKA`, `BOSS_STREAM__TOPIC`. The text
below a setting is its meaning, as docs/OPERATIONS.md and the published schema give it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from schemas.errors import BadWorkspace
from schemas.period import Period

Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9._-]+$")]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class KafkaSecurity(_Table):
    """How to log in to the Kafka cluster. Names of files are relative to the workspace."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """What the brokers' listener speaks: TLS or not, a user with a password (SASL) or not."""
    mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] = "SCRAM-SHA-512"
    """How the password is shown to the broker."""
    user: str = ""
    """Who logs in."""
    password: SecretStr = SecretStr("")
    """The user's password. From the environment only; boss.toml is no place for it."""
    password_file: str = ""
    """File that holds the password and nothing else, instead of the variable."""
    ca_file: str = ""
    """Certificates (PEM) of the authorities that sign the brokers' certificates. Empty: those of the operating system."""
    certificate_file: str = ""
    """Certificate (PEM) of this client, when the brokers ask for one."""
    key_file: str = ""
    """Its private key (PEM, not encrypted); empty when certificate_file holds it too."""


class Company(_Table):
    """Who issues the invoices, as printed on them."""

    name: str = "Example Company"
    """Who sells."""
    address: str = ""
    """Postal address."""
    tax_id: str = ""
    """Tax number."""
    bank: str = ""
    """Where to pay: bank and account number."""
    email: str = ""
    """Where questions about an invoice go."""


class Billing(_Table):
    """What the bill run needs to know beside the price book."""

    starts: str = "2026-10"
    """First period whose recurring fees are billed from here; earlier ones were billed elsewhere."""
    series: Annotated[str, StringConstraints(min_length=1, max_length=12, pattern=r"^[A-Z0-9]+$")] = "INV"
    """How invoice numbers begin: `INV-2026-000001`."""

    @field_validator("starts")
    @classmethod
    def _is_a_period(cls, value: str) -> str:
        Period.parse(value)
        return value


class Stream(_Table):
    """The usage topic and the worker that reads it."""

    topic: Name = "usage"
    """Topic that holds the usage events; created when it is missing."""
    partitions: int = Field(default=4, ge=1, le=1000)
    """Partitions of a topic that BOSS creates; at most so many workers share the reading."""
    epoch: Name = "1"
    """Names this life of the topic. Give a new one when the topic was deleted, emptied or repartitioned."""
    group: Name = "boss"
    """Consumer group. All workers of a ledger have the same one."""
    flush_seconds: float = Field(default=0.2, gt=0, le=60)
    """The longest that a message waits for others before they are committed to the ledger."""
    flush_events: int = Field(default=50_000, ge=1, le=1_000_000)
    """With so many messages in hand the worker commits without waiting."""
    flush_megabytes: int = Field(default=28, ge=1, le=1024)
    """The same for their size, in units of 2^20 bytes. Less at a time takes less memory and more processor."""
    session_seconds: float = Field(default=10.0, ge=1, le=300)
    """A worker that is silent for so long loses its partitions to the others."""
    notices_topic: Name | Literal[""] = "boss.notices"
    """Topic to which notices about prepaid balances are sent; created when there is one to send. Empty: none is sent."""
    host: str = "127.0.0.1"
    """Address on which a worker serves /healthz, /readyz and /metrics."""
    port: int = Field(default=6066, ge=0, le=65535)
    """Port of these pages, one per worker on a machine; 0: none."""


class Rekey(_Table):
    """The topic that `boss rekey` reads: one whose messages are not keyed by account."""

    topic: Name | Literal[""] = ""
    """Topic whose messages are to be keyed by account and sent on to stream.topic."""
    group: Name = "boss-rekey"
    """Consumer group of `boss rekey`. A new name reads the topic from its beginning; what was rated is known by its ids."""
    host: str = "127.0.0.1"
    """Address on which `boss rekey` serves /healthz, /readyz and /metrics."""
    port: int = Field(default=6076, ge=0, le=65535)
    """Port of these pages, one per process on a machine; 0: none."""


class LedgerPlace(_Table):
    """Where the ledger is kept. Credentials are no settings: they are in the environment, as AWS_ACCESS_KEY_ID and so on."""

    location: Annotated[str, StringConstraints(pattern=r"^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._=-]+)*/?)?$")] = (
        ""
    )
    """`s3://bucket/prefix` in object storage. Empty: the folder `ledger` of the workspace."""
    endpoint: Annotated[str, StringConstraints(pattern=r"^(https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._/-]*)?)?$")] = ""
    """Address of an S3-compatible server, such as `https://minio.example.com:9000`. Empty: Amazon's own."""
    region: Name = "us-east-1"
    """Region of the bucket; most other servers take any."""
    path_style: bool = True
    """The bucket stands in the path and not in the host name, as most servers that are not Amazon's want it."""
    allow_http: bool = False
    """Also without TLS. For a server on the same machine or in a closed network."""


class Limits(_Table):
    """What one event may be."""

    max_event_bytes: int = Field(default=1 << 20, ge=1024)
    """A longer event is a reject."""
    remember_months: int = Field(default=2, ge=1, le=120)
    """So many months before the newest in the ledger are kept in memory; for older usage the ledger is asked when it comes."""
    clock_skew_seconds: int = Field(default=86_400, ge=0)
    """How far ahead of its arrival an event's time may be."""


class Settings(BaseSettings):
    """All settings; every one has a default."""

    model_config = SettingsConfigDict(
        env_prefix="BOSS_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        nested_model_default_partial_update=True,
        use_attribute_docstrings=True,
    )

    kafka: str = ""
    """Bootstrap servers, `host:port` with commas between them. Empty: no Kafka, and `boss rate` writes the ledger itself."""
    kafka_security: KafkaSecurity = KafkaSecurity()
    company: Company = Company()
    billing: Billing = Billing()
    stream: Stream = Stream()
    rekey: Rekey = Rekey()
    limits: Limits = Limits()
    ledger: LedgerPlace = LedgerPlace()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings


def read_settings(path: Path) -> Settings:
    """The settings in `path` with the environment on top.

    Raises:
        BadWorkspace: The file is missing, is no TOML, or a setting is unknown or out of range; names each one.
    """
    if not path.is_file():
        raise BadWorkspace(f"There is no workspace in {path.parent}. Make one with `boss init {path.parent}`.")
    try:
        values: dict[str, Any] = TomlConfigSettingsSource(Settings, toml_file=path)()
        if "password" in values.get("kafka_security", {}):
            raise BadWorkspace(
                f"{path} holds a password. Take it out, and give it as BOSS_KAFKA_SECURITY__PASSWORD or in a file that "
                "kafka_security.password_file names."
            )
        return Settings(**values)
    except ValidationError as error:
        problems = "\n".join(f"  {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise BadWorkspace(f"{path} or a BOSS_ environment variable is wrong:\n{problems}") from None
    except ValueError as error:  # tomllib.TOMLDecodeError
        raise BadWorkspace(f"{path}: {error}") from None
