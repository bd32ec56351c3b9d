"""A gateway's request for a certificate: what it must be to be shown to an admin, and what is shown of it. Pure."""

import re
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from ingest.events import fact_id

LARGEST: Final = 4096  # characters of a request
NAME: Final = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
)  # no wildcard, no level separator: it stands inside topics
RESERVED: Final = frozenset({"bridge", "ca", "server", "crl"})  # "bridge" is ingest's own
LEAST_RSA_BITS: Final = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that could be granted."""

    request_id: UUID
    gateway_id: str
    fingerprint: str
    pem: str


def understood(pem: str) -> Request | str:
    """The request, or in one sentence why it cannot be one.

    >>> understood("hello")
    'this is no certificate request'
    """
    try:
        if len(pem) > LARGEST:
            return "this is no certificate request"
        asked = x509.load_pem_x509_csr(pem.encode())
        signed = asked.is_signature_valid
        key = asked.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature, UnicodeEncodeError):
        return "this is no certificate request"
    if not signed:
        return "whoever made this request does not have its key"
    named = [str(one.value) for one in asked.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if len(named) != 1 or not NAME.fullmatch(named[0]) or named[0] in RESERVED:
        return "the request does not name one gateway: 1 to 64 letters, digits, '.', '_' or '-', and no reserved name"
    strong = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1)
    if not strong and not (isinstance(key, rsa.RSAPublicKey) and key.key_size >= LEAST_RSA_BITS):
        return "the request's key is too weak: P-256, P-384 or RSA with 2048 bits"
    return Request(
        request_id=fact_id("enrolment", pem.strip()),
        gateway_id=named[0],
        fingerprint=fingerprint(asked.public_key()),
        pem=pem,
    )


def fingerprint(key: object) -> str:
    """The first 80 bits of the key's SHA-256 in groups a person can read out: enough to compare, short enough to do so."""
    assert hasattr(key, "public_bytes")  # noqa: S101 - every public key has them
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(spki)
    text = digest.finalize().hex()[:20].upper()
    return "-".join(text[at : at + 4] for at in range(0, len(text), 4))
