"""The small certificate authority: who gets which certificate, and for how long."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from deploy.native.certificates import BRIDGE, Authority

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.fixture
def authority(tmp_path):
    made = Authority(tmp_path / "ca")
    made.found(now=NOW)
    return made


def read(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_a_gateways_certificate_names_it_and_lasts_ninety_days(authority):
    cert = read(authority.issue("gw-1", now=NOW).cert)
    assert cert.subject.rfc4514_string() == "CN=gw-1"
    assert cert.not_valid_after_utc == NOW + timedelta(days=90)
    cert.verify_directly_issued_by(read(authority.ca))


def test_it_stays_the_same_until_a_week_before_its_end(authority):
    first = authority.issue("gw-1", now=NOW).cert.read_bytes()
    assert authority.issue("gw-1", now=NOW + timedelta(days=82)).cert.read_bytes() == first
    assert authority.issue("gw-1", now=NOW + timedelta(days=84)).cert.read_bytes() != first


def test_a_revoked_one_is_listed_and_the_next_is_another(authority):
    first = read(authority.issue("gw-1", now=NOW).cert)
    authority.revoke("gw-1", now=NOW)
    listed = x509.load_pem_x509_crl(authority.crl.read_bytes())
    assert listed.get_revoked_certificate_by_serial_number(first.serial_number) is not None
    second = read(authority.issue("gw-1", now=NOW).cert)
    assert listed.get_revoked_certificate_by_serial_number(second.serial_number) is None


def test_revocations_add_up(authority):
    for name in ("gw-1", "gw-2"):
        authority.issue(name, now=NOW)
        authority.revoke(name, now=NOW)
    assert len(x509.load_pem_x509_crl(authority.crl.read_bytes())) == 2


@pytest.mark.parametrize(
    "name", ["", "+", "#", "a/b", "gw 1", "-x", "ca", "server", "crl", "x" * 65, "../ca", "gw\n1"], ids=repr
)
def test_a_name_that_means_more_than_itself_gets_none(authority, name):
    with pytest.raises(ValueError, match="gateway id"):
        authority.issue(name, now=NOW)


def test_keys_are_readable_by_their_owner_alone(authority):
    authority.issue("gw-1", now=NOW)
    for name in ("ca", "server", BRIDGE, "gw-1"):
        assert (authority.folder / f"{name}.key").stat().st_mode & 0o077 == 0
    assert authority.folder.stat().st_mode & 0o077 == 0


def test_founding_twice_changes_nothing(authority):
    before = {path.name: path.read_bytes() for path in authority.folder.iterdir()}
    authority.found(now=NOW + timedelta(days=1))
    assert {path.name: path.read_bytes() for path in authority.folder.iterdir()} == before


def test_the_brokers_certificate_is_for_a_server_of_the_names_said(tmp_path):
    authority = Authority(tmp_path)
    authority.found(now=NOW, hosts=["localhost", "mqtt"])
    cert = read(tmp_path / "server.crt")
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "mqtt"]
    assert [use._name for use in cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value] == [
        "serverAuth"
    ]
