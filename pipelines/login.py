"""How BOSS logs in to Kafka: TLS, a user with a password, both, or neither. Secrets come from the environment or a file.

A login that the brokers refuse is said at once and not tried again: some clusters lock a user out after a few attempts.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka.errors import (
    AuthenticationFailedError,
    IllegalSaslStateError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from pipelines.settings import KafkaSecurity
from schemas.errors import BadWorkspace

FINAL = (
    ssl.SSLError,
    AuthenticationFailedError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
    IllegalSaslStateError,
)
"""What a broker that is there says to a login that will never succeed."""


@dataclass(frozen=True)
class Login:
    """What a connection to a broker needs beside its address. Without arguments: nothing, the cluster is open."""

    protocol: str = "PLAINTEXT"
    tls: ssl.SSLContext | None = None
    mechanism: str = "SCRAM-SHA-512"
    user: str = ""
    password: str = field(default="", repr=False)

    @property
    def by_password(self) -> bool:
        return self.protocol.startswith("SASL")

    def options(self) -> dict[str, Any]:
        """The keyword arguments of aiokafka's clients."""
        options: dict[str, Any] = {"security_protocol": self.protocol, "ssl_context": self.tls}
        if self.by_password:
            options |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.user,
                "sasl_plain_password": self.password,
            }
        return options

    def refused(self, servers: str, error: Exception) -> BadWorkspace:
        """The error for one of FINAL."""
        if isinstance(error, ssl.SSLCertVerificationError):
            why = f"its certificate is not trusted: {error.verify_message}. Set kafka_security.ca_file to the CA that signed it"
        elif isinstance(error, ssl.SSLError):
            why = f"TLS fails: {error.reason or error}. Look at kafka_security.protocol and the certificates"
        elif isinstance(error, UnsupportedSaslMechanismError):
            why = f"it does not know the mechanism {self.mechanism}. Set kafka_security.mechanism to one it has"
        else:
            why = f"it does not accept the user '{self.user}' with this password. Check kafka_security.user and the password"
        return BadWorkspace(f"Kafka at {servers} refuses the login; {why}.")


OPEN = Login()


def read_login(settings: KafkaSecurity, root: Path) -> Login:
    """The login of these settings; names of files are relative to `root`.

    Raises:
        BadWorkspace: A file is missing or is not what it should be, or settings contradict each other; says which.
    """
    tls, by_password = settings.protocol.endswith("SSL"), settings.protocol.startswith("SASL")
    password = _password(settings, root)
    files = [name for name in ("ca_file", "certificate_file", "key_file") if getattr(settings, name)]
    if files and not tls:
        raise _wrong(f"{files[0]} is set, and protocol {settings.protocol} uses no TLS. Take SSL or SASL_SSL")
    if (settings.user or password) and not by_password:
        raise _wrong(f"a user or password is set, and protocol {settings.protocol} uses none. Take SASL_SSL or SASL_PLAINTEXT")
    if by_password and not (settings.user and password):
        missing = "password (BOSS_KAFKA_SECURITY__PASSWORD) or password_file" if settings.user else "user"
        raise _wrong(f"protocol {settings.protocol} needs a {missing}")
    return Login(settings.protocol, _context(settings, root) if tls else None, settings.mechanism, settings.user, password)


def _password(settings: KafkaSecurity, root: Path) -> str:
    password = settings.password.get_secret_value()
    if not settings.password_file:
        return password
    if password:
        raise _wrong("password and password_file are both set. Take one")
    try:
        text = (root / settings.password_file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable("password_file", root / settings.password_file, error) from None
    if not text.strip("\r\n"):
        raise _wrong(f"password_file {root / settings.password_file} is empty")
    return text.strip("\r\n")


def _context(settings: KafkaSecurity, root: Path) -> ssl.SSLContext:
    """Checks the broker's certificate and name, always."""
    try:
        context = ssl.create_default_context(cafile=str(root / settings.ca_file) if settings.ca_file else None)
    except OSError as error:
        raise _unreadable("ca_file", root / settings.ca_file, error) from None
    if settings.key_file and not settings.certificate_file:
        raise _wrong("key_file is set without certificate_file")
    if settings.certificate_file:
        key = str(root / settings.key_file) if settings.key_file else None
        try:
            # An encrypted key would be asked for on the terminal: with an empty password it is an error instead.
            context.load_cert_chain(str(root / settings.certificate_file), key, password=lambda: "")
        except OSError as error:
            raise _unreadable("certificate_file or key_file", root / settings.certificate_file, error) from None
    return context


def _unreadable(name: str, path: Path, error: Exception) -> BadWorkspace:
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return _wrong(f"{name} {path} cannot be read ({why})")


def _wrong(what: str) -> BadWorkspace:
    return BadWorkspace(f"The settings of [kafka_security] are wrong: {what}.")
