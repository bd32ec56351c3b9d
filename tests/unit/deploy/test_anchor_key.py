"""The key that signs the ledgers: made once by people, whole or not at all; a service only ever loads it."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from typer.testing import CliRunner

from ccm_bridge.anchor import key_id
from ccm_bridge.anchor_store import load_key, load_or_make_key, load_public_key
from ccm_bridge.cli import app
from deploy.edges import signer
from deploy.settings import Settings, SettingsError

ROOT = Path(__file__).parents[3]


def test_the_command_makes_a_key_once_that_its_owner_alone_reads(tmp_path):
    file = tmp_path / "anchor.pem"
    assert CliRunner().invoke(app, ["make-key", str(file)]).exit_code == 0
    made = file.read_bytes()
    assert CliRunner().invoke(app, ["make-key", str(file)]).exit_code == 0
    assert file.read_bytes() == made
    assert file.stat().st_mode & 0o777 == 0o600
    public = load_public_key(file.with_suffix(".pub").read_bytes())
    assert key_id(public) == key_id(signer(Settings(anchor_key=file)).public_key())
    assert {one.name for one in tmp_path.iterdir()} == {"anchor.pem", "anchor.pub"}


def test_a_key_whose_writing_fails_leaves_no_file_of_its_name(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "no space left")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="no space left"):
            load_or_make_key(tmp_path / "anchor.pem")
    assert list(tmp_path.iterdir()) == []


def test_of_many_who_make_it_at_once_all_have_the_same(tmp_path):
    with ThreadPoolExecutor(8) as makers:
        keys = list(makers.map(load_or_make_key, [tmp_path / "anchor.pem"] * 8))
    assert {key_id(key.public_key()) for key in keys} == {
        key_id(load_key(tmp_path / "anchor.pem").public_key())
    }


def another_kind():
    made = generate_private_key(public_exponent=65537, key_size=2048)
    return made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


UNREADABLE = [
    ("a file that is not there", lambda file: None),
    ("an empty file", lambda file: file.write_bytes(b"")),
    ("a folder, as a mount makes it of a missing file", lambda file: file.mkdir()),
    ("another kind of key", lambda file: file.write_bytes(another_kind())),
]


@pytest.mark.parametrize("put", [row[1] for row in UNREADABLE], ids=[row[0] for row in UNREADABLE])
def test_a_service_refuses(tmp_path, put):
    file = tmp_path / "anchor.pem"
    put(file)
    before = list(tmp_path.iterdir())
    with pytest.raises(SettingsError, match="LAMPLIGHT_ANCHOR_KEY") as refused:
        signer(Settings(anchor_key=file))
    assert str(file) in str(refused.value)
    assert f"lamplight ccm make-key {file}" in str(refused.value)
    assert list(tmp_path.iterdir()) == before


def test_the_service_without_its_key_ends_with_the_sentence_and_makes_none(tmp_path):
    told = {
        "LAMPLIGHT_KAFKA": "x",
        "LAMPLIGHT_DATABASE": "x",
        "LAMPLIGHT_ANCHOR_KEY": str(tmp_path / "anchor.pem"),
    }
    env = {key: value for key, value in os.environ.items() if not key.startswith("LAMPLIGHT_")} | told
    ended = subprocess.run(
        [sys.executable, "-m", "deploy.cli", "run", "ccm"],
        env=env, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("lamplight: LAMPLIGHT_ANCHOR_KEY: no Ed25519 key can be read from")
    assert list(tmp_path.iterdir()) == []


def test_without_a_named_file_there_is_nothing_to_sign_with():
    assert signer(Settings()) is None
