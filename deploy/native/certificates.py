"""A small certificate authority for the MQTT listener: one server, one certificate per gateway, a revocation list.

It serves a laptop and the tests; a clinic's own authority takes its place in production. A certificate's common
name is the gateway's id, and the broker takes it as user name *and* client id, so nobody can claim another's.
"""

import ipaddress
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

BRIDGE = "bridge"
"""The name ingest signs in with; no gateway may carry it."""

_NAME = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
)  # no wildcard, no level separator: it stands inside topics
_YEARS = timedelta(days=3650)
_GATEWAY_DAYS = timedelta(days=90)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What a client needs to prove who it is, and to know the broker."""

    name: str
    ca: Path
    cert: Path
    key: Path


class Authority:
    """The authority kept in one folder: `ca.crt`, `ca.key`, `crl.pem`, and a pair of files per name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def ca(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def crl(self) -> Path:
        return self.folder / "crl.pem"

    def found(self, *, now: datetime, hosts: Sequence[str] = ("localhost",)) -> None:
        """Make the authority, an empty revocation list, the certificates of the server (called `hosts`) and of the bridge.

        What is there stays.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        if not self.ca.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            name = _subject("Lamplight local authority")
            made = (
                _builder(name, name, key.public_key(), now=now, lasts=_YEARS)
                .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
                .add_extension(_usage(ca=True), critical=True)
                .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
                .sign(key, hashes.SHA256())
            )
            _write_private(self.folder / "ca.key", key)
            self.ca.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        if not self.crl.exists():
            self._write_crl([], now=now)
        if not (self.folder / "server.crt").exists():
            names: list[x509.GeneralName] = [x509.DNSName(host) for host in hosts]
            names += [x509.IPAddress(ipaddress.ip_address(ip)) for ip in ("127.0.0.1", "::1")]
            extra = x509.SubjectAlternativeName(names)
            self._sign("server", ExtendedKeyUsageOID.SERVER_AUTH, extra, now=now, lasts=timedelta(days=820))
        self.issue(BRIDGE, now=now)

    def issue(self, gateway_id: str, *, now: datetime) -> Credential:
        """A client certificate for a gateway (or for the bridge itself), made anew when within a week of its end."""
        if not _NAME.fullmatch(gateway_id) or gateway_id in ("ca", "server", "crl"):
            raise ValueError(
                f"gateway id {gateway_id!r}: want 1 to 64 letters, digits, '.', '_' or '-', and not a reserved name"
            )
        cert = self.folder / f"{gateway_id}.crt"
        if (
            not cert.exists()
            or _load(cert).not_valid_after_utc - now < timedelta(days=7)
            or self._revoked(cert)
        ):
            lasts = _YEARS if gateway_id == BRIDGE else _GATEWAY_DAYS
            self._sign(gateway_id, ExtendedKeyUsageOID.CLIENT_AUTH, None, now=now, lasts=lasts)
        return Credential(name=gateway_id, ca=self.ca, cert=cert, key=self.folder / f"{gateway_id}.key")

    def revoke(self, gateway_id: str, *, now: datetime) -> None:
        """Put a gateway's certificate on the revocation list; the broker must read the list again."""
        listed = list(x509.load_pem_x509_crl(self.crl.read_bytes()))
        entry = x509.RevokedCertificateBuilder().serial_number(
            _load(self.folder / f"{gateway_id}.crt").serial_number
        )
        self._write_crl([*listed, entry.revocation_date(now).build()], now=now)

    def sign_request(self, pem: str, *, now: datetime) -> x509.Certificate:
        """A 90-day client certificate for the key and the name of a request that was found good (`ingest.fleet`)."""
        asked = x509.load_pem_x509_csr(pem.encode())
        (name,) = asked.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        public = asked.public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)  # noqa: S101 - found good
        return self._certificate(
            str(name.value), public, ExtendedKeyUsageOID.CLIENT_AUTH, None, now=now, lasts=_GATEWAY_DAYS
        )

    def stand_in(self, gateway_id: str, folder: Path, *, now: datetime) -> Credential:
        """A certificate of minutes under a gateway's own name, in `folder`: with it the authority throws it out."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._certificate(
            gateway_id,
            key.public_key(),
            ExtendedKeyUsageOID.CLIENT_AUTH,
            None,
            now=now,
            lasts=timedelta(minutes=5),
        )
        cert, key_file = folder / "stand-in.crt", folder / "stand-in.key"
        cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        _write_private(key_file, key)
        return Credential(name=gateway_id, ca=self.ca, cert=cert, key=key_file)

    def serial(self, name: str) -> int | None:
        """Of the certificate in this folder, if there is one."""
        path = self.folder / f"{name}.crt"
        return _load(path).serial_number if path.exists() else None

    def listed(self) -> set[int]:
        """The serials on the revocation list."""
        return {one.serial_number for one in x509.load_pem_x509_crl(self.crl.read_bytes())}

    def list_as_revoked(self, serials: Iterable[int], *, now: datetime) -> None:
        """Put these on the revocation list too; the broker must read it again."""
        entries = list(x509.load_pem_x509_crl(self.crl.read_bytes()))
        fresh = [
            x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
            for serial in sorted(serials)
        ]
        self._write_crl([*entries, *fresh], now=now)

    def _revoked(self, cert: Path) -> bool:
        listed = x509.load_pem_x509_crl(self.crl.read_bytes())
        return listed.get_revoked_certificate_by_serial_number(_load(cert).serial_number) is not None

    def _sign(
        self,
        name: str,
        use: x509.ObjectIdentifier,
        names: x509.SubjectAlternativeName | None,
        *,
        now: datetime,
        lasts: timedelta,
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        _write_private(self.folder / f"{name}.key", key)
        made = self._certificate(name, key.public_key(), use, names, now=now, lasts=lasts)
        (self.folder / f"{name}.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def _certificate(
        self,
        name: str,
        public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
        use: x509.ObjectIdentifier,
        names: x509.SubjectAlternativeName | None,
        *,
        now: datetime,
        lasts: timedelta,
    ) -> x509.Certificate:
        ca, ca_key = _load(self.ca), self._ca_key()
        builder = (
            _builder(_subject(name), ca.subject, public, now=now, lasts=lasts)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
            )
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        return builder.sign(ca_key, hashes.SHA256())

    def _write_crl(self, entries: list[x509.RevokedCertificate], *, now: datetime) -> None:
        builder = x509.CertificateRevocationListBuilder().issuer_name(_load(self.ca).subject)
        builder = builder.last_update(now - timedelta(days=1)).next_update(now + _YEARS)
        for entry in entries:
            builder = builder.add_revoked_certificate(entry)
        made = builder.sign(self._ca_key(), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        fresh = self.crl.with_suffix(".new")
        fresh.write_bytes(made)
        fresh.replace(self.crl)

    def _ca_key(self) -> ec.EllipticCurvePrivateKey:
        key = serialization.load_pem_private_key((self.folder / "ca.key").read_bytes(), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101 - we made it
        return key


def _write_private(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Owner-readable from its first byte on."""
    path.unlink(missing_ok=True)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)


def _load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
    *,
    now: datetime,
    lasts: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # a gateway's clock may be behind ours
        .not_valid_after(now + lasts)
    )
