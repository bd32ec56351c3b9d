"""Anchors in SQL and in a file kept elsewhere, and the key that signs them."""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from uuid import uuid5

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from ccm_bridge import time_store
from ccm_bridge.anchor import Anchor, sign, state
from ccm_bridge.chain import Head
from ccm_bridge.store import Connection
from ccm_bridge.tasks import WORK

TABLES = tuple(time_store.ROWS)


async def practices(conn: Connection) -> list[int]:
    """Every practice: each has chains of its own."""
    rows = await (await conn.execute("SELECT practice_id FROM who.practice ORDER BY 1")).fetchall()
    return [row[0] for row in rows]


async def stored(conn: Connection) -> list[Anchor]:
    """Every anchor that the database holds."""
    rows = await (await conn.execute("SELECT statement, key_id, signature FROM ccm.anchor")).fetchall()
    return [Anchor(statement=row[0], key_id=row[1], signature=row[2]) for row in rows]


async def of_day(conn: Connection, practice: int, day: date) -> Anchor | None:
    """The anchor of one practice and day: there is at most one."""
    row = await (
        await conn.execute(
            "SELECT statement, key_id, signature FROM ccm.anchor WHERE practice_id = %s AND day = %s",
            (practice, day),
        )
    ).fetchone()
    return Anchor(statement=row[0], key_id=row[1], signature=row[2]) if row else None


async def add(conn: Connection, practice: int, key: Ed25519PrivateKey, *, now: datetime) -> Anchor | None:
    """Sign the heads of a practice's chains for this day; None where the day has its anchor already."""
    heads = {}
    for table in TABLES:
        seq, own = await time_store.head(conn, table, practice)
        heads[table] = Head(seq=seq, hash=own)
    made = sign(state(practice, now.date(), heads), key)
    written = await conn.execute(
        """INSERT INTO ccm.anchor (anchor_id, practice_id, day, statement, key_id, signature, at)
           VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING""",
        (
            uuid5(WORK, f"anchor {practice} {now.date()}"),
            practice,
            now.date(),
            made.statement,
            made.key_id,
            made.signature,
            now,
        ),
    )
    return made if written.rowcount else None


async def anchor_database(dsn: str, key: Ed25519PrivateKey, *, now: datetime) -> list[str]:
    """Every practice's anchor of this day, as lines; a day that was anchored before is given as it stands."""
    lines = []
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        for practice in await practices(conn):
            made = await add(conn, practice, key, now=now) or await of_day(conn, practice, now.date())
            if made is None:
                raise RuntimeError(
                    f"the anchor of practice {practice} for {now.date()} was just written and is not there"
                )
            lines.append(as_line(made))
    return lines


# Outside the database -------------------------------------------------------------------------------------


def as_line(anchor: Anchor) -> str:
    """An anchor as one line of JSON."""
    return json.dumps(
        {"statement": anchor.statement, "key_id": anchor.key_id, "signature": anchor.signature.hex()}
    )


def from_line(text: str) -> Anchor:
    said = json.loads(text)
    return Anchor(
        statement=said["statement"], key_id=said["key_id"], signature=bytes.fromhex(said["signature"])
    )


def keep(file: Path, lines: Sequence[str]) -> None:
    """Append lines to the file that lies elsewhere."""
    with file.open("a") as kept:
        kept.writelines(line + "\n" for line in lines)


def load_public_key(pem: bytes) -> Ed25519PublicKey:
    key = load_pem_public_key(pem)
    if not isinstance(key, Ed25519PublicKey):
        raise TypeError("anchors are signed with Ed25519: this is another kind of key")
    return key


def load_key(path: Path) -> Ed25519PrivateKey:
    """The signing key of a file that must be there: a key made in its stead would sign what nobody can check."""
    key = load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise TypeError(f"anchors are signed with Ed25519: {path.name} is another kind of key")
    return key


def load_or_make_key(path: Path) -> Ed25519PrivateKey:
    """The signing key, for people and the local stack; made if it is not there, readable by its owner alone.

    1. A new key is whole on the disk before it has its name: a crash leaves none or all of it.
    2. Whoever is first gives the name; everybody loads what has it.
    3. Its public half is put beside it.
    """
    if not path.exists():
        made = Ed25519PrivateKey.generate()
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.") as whole:  # mode 0600
            whole.write(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            whole.flush()
            os.fsync(whole.fileno())
            with suppress(FileExistsError):
                os.link(whole.name, path)
    key = load_key(path)
    public = path.with_suffix(".pub")
    if not public.exists():
        public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return key
