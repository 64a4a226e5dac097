"""Signatures on what leaves the house: Ed25519, so that whoever has our public key can check and nobody else can sign."""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from binascii import Error as NoBase64
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from schemas.errors import BadFile, Refused


def make_key(path: Path) -> Path:
    """Write a new private key that only its owner can read, and its public key beside it; returns the public key's path.

    Raises:
        Refused: One of the files is there already.
    """
    public = path.with_name(f"{path.name}.pub")
    for file in (path, public):
        if file.exists():
            raise Refused(f"{file} is there already; a key that was handed out is not replaced. Choose another name.")
    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
        opened.write(secret)
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return public


def read_key(path: Path) -> Ed25519PrivateKey:
    """Raises BadFile when it is no private key of ours. The key itself is never part of a message."""
    try:
        key = serialization.load_pem_private_key(_content(path), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadFile(path, "is no private Ed25519 key. `boss sync key FILE` makes one.")
    return key


def read_public_key(path: Path) -> Ed25519PublicKey:
    """Raises BadFile when it is no public key."""
    try:
        key = serialization.load_pem_public_key(_content(path))
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise BadFile(path, "is no public Ed25519 key. It is the .pub file that `boss sync key FILE` wrote.")
    return key


def sign(key: Ed25519PrivateKey, content: bytes) -> bytes:
    """The signature as one line of text."""
    return b64encode(key.sign(content)) + b"\n"


def is_signed(key: Ed25519PublicKey, content: bytes, signature: bytes) -> bool:
    try:
        key.verify(b64decode(signature.strip(), validate=True), content)
    except (InvalidSignature, NoBase64):
        return False
    return True


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadFile(path, f"cannot be read ({error.strerror}). Check the name and the permissions.") from None
