"""Certificates for one test run: an authority, a server on loopback and a client, each a PEM file that openssl makes."""

from __future__ import annotations

import subprocess
from pathlib import Path

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
AUTHORITY = "basicConstraints=critical,CA:true", "keyUsage=critical,keyCertSign,cRLSign"
EXTENSIONS = "subjectAltName=IP:127.0.0.1\nauthorityKeyIdentifier=keyid\nextendedKeyUsage=serverAuth,clientAuth\n"


def make_authority(folder: Path, name: str = "ca") -> Path:
    """A new authority: `<name>.pem`, which is returned, and its key."""
    extensions = [part for extension in AUTHORITY for part in ("-addext", extension)]
    where = ["-keyout", f"{name}.key", "-out", f"{name}.pem"]
    _openssl(folder, "req", "-x509", *KEY, *where, "-days", "2", "-subj", f"/CN={name} of a test", *extensions)
    return folder / f"{name}.pem"


def make_certificate(folder: Path, name: str, authority: str = "ca") -> Path:
    """`<name>.pem`: a key and a certificate for 127.0.0.1 that the authority in the same folder signs."""
    _openssl(folder, "req", *KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
    (folder / "extensions").write_text(EXTENSIONS)
    signer = ["-CA", f"{authority}.pem", "-CAkey", f"{authority}.key", "-CAcreateserial"]
    signed = ["-in", f"{name}.csr", "-out", f"{name}.crt", "-extfile", "extensions"]
    _openssl(folder, "x509", "-req", "-days", "2", *signer, *signed)
    both = folder / f"{name}.pem"
    both.write_text((folder / f"{name}.key").read_text() + (folder / f"{name}.crt").read_text())
    return both


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
