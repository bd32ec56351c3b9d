"""Where the software comes from: apt's own configuration, and a list of jars with their hashes."""

import re

import pytest

from deploy.native import jars
from deploy.native.debian_tree import NoTreeError, find_source

DEBIAN_12 = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_CODENAME=bookworm\nID=debian\n'
DEBIAN_13 = 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nVERSION_CODENAME=trixie\nID=debian\n'

DEB822 = """\
Types: deb
# a comment inside
URIs: https://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/archive.gpg

Types: deb
URIs: https://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/archive.gpg
"""
THIRD_PARTY = """\
Types: deb
URIs: https://vendor.example/apt
Suites: stable
Components: main
Signed-By: /usr/share/keyrings/vendor.gpg
"""


def etc(tmp_path, release, *, sources=None, one_line=None):
    """A little /etc with apt's configuration in it."""
    (tmp_path / "apt/sources.list.d").mkdir(parents=True)
    (tmp_path / "os-release").write_text(release)
    for name, text in (sources or {}).items():
        (tmp_path / "apt/sources.list.d" / name).write_text(text)
    if one_line is not None:
        (tmp_path / "apt/sources.list").write_text(one_line)
    return tmp_path


def test_debian_12_takes_trixie_from_its_own_mirror_with_its_own_key(tmp_path):
    found = find_source(
        etc(tmp_path, DEBIAN_12, sources={"a-vendor.sources": THIRD_PARTY, "debian.sources": DEB822})
    )
    assert (found.uri, found.suite, found.components) == ("https://mirror.example/debian", "trixie", "main")
    assert found.key == "/usr/share/keyrings/archive.gpg"


def test_the_older_one_line_form_is_understood(tmp_path):
    lines = "# deb cdrom:[x] trixie main\ndeb [arch=amd64 signed-by=/k.gpg] https://mirror.example/debian trixie main contrib\n"
    found = find_source(etc(tmp_path, DEBIAN_13, one_line=lines))
    assert (found.uri, found.suite, found.components) == (
        "https://mirror.example/debian",
        "trixie",
        "main contrib",
    )
    assert found.key == "/k.gpg"


def test_a_line_without_a_key_uses_debians_own(tmp_path):
    key = tmp_path / "debian.gpg"
    key.touch()
    folder = etc(tmp_path / "etc", DEBIAN_12, one_line="deb http://mirror.example/debian bookworm main\n")
    assert find_source(folder, key).key == str(key)


def test_a_system_without_an_archive_is_told_by_name(tmp_path):
    with pytest.raises(NoTreeError, match=re.escape("apt has no source for Debian GNU/Linux 12 (bookworm)")):
        find_source(etc(tmp_path, DEBIAN_12, sources={"vendor.sources": THIRD_PARTY}))


def test_the_list_of_jars_holds_the_server_and_names_each_file_once():
    listed = jars.listed()
    names = {jar.name for jar in listed}
    assert {
        "kafka_2.13",
        "kafka-clients",
        "kafka-server",
        "kafka-storage",
        "log4j-core",
        "log4j-slf4j-impl",
    } <= names
    assert len({jar.file for jar in listed}) == len(listed)
    assert all(re.fullmatch(r"[0-9a-f]{64}", jar.sha256) for jar in listed)
    assert {jar.version for jar in listed if jar.group == "org.apache.kafka"} == {jars.version()}


def test_jars_are_missing_until_all_are_there(tmp_path):
    for jar in jars.listed()[1:]:
        (tmp_path / jar.file).touch()
    assert not jars.present(tmp_path)
    (tmp_path / jars.listed()[0].file).touch()
    assert jars.present(tmp_path)
