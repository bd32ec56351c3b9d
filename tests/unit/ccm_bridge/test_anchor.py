"""The signed heads of the chains: one spelling, one signature, and nothing believed without it."""

from dataclasses import replace
from datetime import date
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ccm_bridge.anchor import key_id, read, sign, state
from ccm_bridge.chain import Head

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
HEADS = {"time_void": Head(seq=2, hash=b"\x02" * 32), "time_entry": Head(seq=41, hash=b"\x01" * 32)}
SAID = state(1, date(2026, 11, 30), HEADS)


def test_a_statement_has_one_spelling_whatever_the_order_of_its_heads():
    assert state(1, date(2026, 11, 30), dict(reversed(HEADS.items()))) == SAID
    assert SAID.startswith('{"day":"2026-11-30","heads":{"time_entry":{"hash":"0101')


def test_what_was_signed_is_read_again_head_by_head():
    said = read(sign(SAID, KEY), KEY.public_key())
    assert (said.practice, said.day) == (1, date(2026, 11, 30))
    assert said.head("time_entry") == HEADS["time_entry"]
    assert said.head("time_void") == HEADS["time_void"]
    assert said.head("month_review") is None


def test_another_key_or_another_word_is_not_believed():
    anchor = sign(SAID, KEY)
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    assert read(anchor, other.public_key()) is None
    assert read(replace(anchor, statement=SAID.replace("41", "40")), KEY.public_key()) is None


def test_a_key_is_named_by_the_beginning_of_its_hash():
    public = KEY.public_key()
    whole = sha256(public.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()
    assert key_id(public) == whole[:16] == sign(SAID, KEY).key_id
