"""The gateway's key and certificate: made here, renewed here; the key never leaves.

A renewal keeps the key and replaces one file, so there is no moment at which key and certificate do not belong
together. A new key means enrolling anew.
"""

import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

RENEW_BEFORE = timedelta(days=30)  # of its end: from day 60 of 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Where a gateway keeps its name."""

    key: Path
    cert: Path


def make(folder: Path, gateway_id: str) -> tuple[Files, str]:
    """A key and a request for a certificate; a key that is there stays, so that this can be repeated."""
    folder.mkdir(parents=True, exist_ok=True)
    files = Files(key=folder / f"{gateway_id}.key", cert=folder / f"{gateway_id}.crt")
    if not files.key.exists():
        pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        with os.fdopen(os.open(files.key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
    kept = folder / f"{gateway_id}.csr"
    if not kept.exists():
        _write(kept, request(files, gateway_id))
    return files, kept.read_text()


def request(files: Files, gateway_id: str) -> str:
    """A certificate request under the key that is there."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, gateway_id)])
    key = _key(files.key)
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(name)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
        .decode()
    )


def due(files: Files, *, now: datetime) -> bool:
    """Whether it is time to ask for a new certificate."""
    return ends(files) - now < RENEW_BEFORE


def ends(files: Files) -> datetime:
    return x509.load_pem_x509_certificate(files.cert.read_bytes()).not_valid_after_utc


def accept(files: Files, pem: str, gateway_id: str, *, now: datetime) -> str | None:
    """Put a new certificate in the place of the old one; returns in one sentence why not, if not.

    It must be for our key and our name, valid now, and not end before the one we have.
    """
    try:
        new = x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        return "not a certificate"
    named = [one.value for one in new.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if new.public_key() != _key(files.key).public_key() or named != [gateway_id]:
        return "not for our key and name"
    if not new.not_valid_before_utc <= now < new.not_valid_after_utc:
        return "not valid now"
    if files.cert.exists() and new.not_valid_after_utc < ends(files):
        return "ends before the one we have"
    _write(files.cert, pem)
    return None


def _write(path: Path, text: str) -> None:
    """All of it or nothing, also across a power cut."""
    fresh = path.with_suffix(path.suffix + ".new")
    with fresh.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101 - we made it
    return key
