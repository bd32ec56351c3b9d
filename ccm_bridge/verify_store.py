"""The verifier as a program: it reads every chain, changes nothing, and says what does not fit; and the daily anchor."""

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
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
from ccm_bridge.anchor import Anchor, Statement, read, sign, state
from ccm_bridge.chain import Fault, Finding, Head, verify
from ccm_bridge.store import Connection
from ccm_bridge.tasks import WORK

TABLES = tuple(time_store.ROWS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was read and what was found."""

    rows: dict[str, int]
    practices: int
    anchors: int
    findings: tuple[Finding, ...]

    def as_text(self) -> Iterable[str]:
        counted = ", ".join(f"{count} {table}" for table, count in self.rows.items())
        yield f"{self.practices} practice(s), {counted} rows hashed anew, {self.anchors} anchor(s) checked"
        for one in self.findings:
            yield f"practice {one.practice_id}, {one.table}: {one.fault}: {one.sentence}"
        if not self.findings:
            yield "every chain is whole"

    def as_json(self) -> Iterable[str]:
        for one in self.findings:
            yield json.dumps(asdict(one))


@asynccontextmanager
async def read_only(dsn: str) -> AsyncIterator[Connection]:
    """One snapshot that can write nothing."""
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await conn.set_read_only(True)
        await conn.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        yield conn


async def verify_database(
    dsn: str, *, key: Ed25519PublicKey | None = None, kept: Sequence[str] | None = None
) -> Report:
    """Verify every practice's chains; with a public key, also against the anchors kept elsewhere or in the database."""
    findings: list[Finding] = []
    counted = dict.fromkeys(TABLES, 0)
    async with read_only(dsn) as conn:
        practices = [
            row[0]
            for row in await (
                await conn.execute("SELECT practice_id FROM who.practice ORDER BY 1")
            ).fetchall()
        ]
        anchors = [_line(text) for text in kept] if kept is not None else await _stored(conn)
        newest, bad = _newest(anchors, key) if key else ({}, [])
        findings += bad
        for practice in practices:
            for table in TABLES:
                rows = [row async for row in time_store.links(conn, table, practice)]
                counted[table] += len(rows)
                stated = newest.get(practice)
                findings += verify(table, practice, rows, anchor=stated.head(table) if stated else None)
    return Report(
        rows=counted,
        practices=len(practices),
        anchors=len(anchors) if key else 0,
        findings=tuple(findings),
    )


def _newest(anchors: Sequence[Anchor], key: Ed25519PublicKey) -> tuple[dict[int, Statement], list[Finding]]:
    """The last day's statement of each practice, and anchors that this key did not sign."""
    newest: dict[int, Statement] = {}
    bad = []
    for one in anchors:
        said = read(one, key)
        if said is None:
            sentence = f"an anchor is not signed by this key (it names key {one.key_id})"
            bad.append(Finding(table="anchor", practice_id=0, seq=0, fault=Fault.ALTERED, sentence=sentence))
        elif said.practice not in newest or newest[said.practice].day <= said.day:
            newest[said.practice] = said
    return newest, bad


async def _stored(conn: Connection) -> list[Anchor]:
    rows = await (await conn.execute("SELECT statement, key_id, signature FROM ccm.anchor")).fetchall()
    return [Anchor(statement=row[0], key_id=row[1], signature=row[2]) for row in rows]


def _line(text: str) -> Anchor:
    said = json.loads(text)
    return Anchor(
        statement=said["statement"], key_id=said["key_id"], signature=bytes.fromhex(said["signature"])
    )


async def anchor_database(dsn: str, key: Ed25519PrivateKey, *, now: datetime) -> list[str]:
    """Sign the heads of every practice's chains for this day; a day that was anchored before is given as it stands."""
    lines = []
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        practices = await (await conn.execute("SELECT practice_id FROM who.practice ORDER BY 1")).fetchall()
        for (practice,) in practices:
            heads = {}
            for table in TABLES:
                seq, own = await time_store.head(conn, table, practice)
                heads[table] = Head(seq=seq, hash=own)
            made = sign(state(practice, now.date(), heads), key)
            await conn.execute(
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
            stood = await (
                await conn.execute(
                    "SELECT statement, key_id, signature FROM ccm.anchor WHERE practice_id = %s AND day = %s",
                    (practice, now.date()),
                )
            ).fetchone()
            if stood is None:
                raise RuntimeError(
                    f"the anchor of practice {practice} for {now.date()} was just written and is not there"
                )
            lines.append(json.dumps({"statement": stood[0], "key_id": stood[1], "signature": stood[2].hex()}))
    return lines


def load_public_key(pem: bytes) -> Ed25519PublicKey:
    key = load_pem_public_key(pem)
    if not isinstance(key, Ed25519PublicKey):
        raise TypeError("anchors are signed with Ed25519: this is another kind of key")
    return key


def load_or_make_key(path: Path) -> Ed25519PrivateKey:
    """The signing key; made with its public half beside it if it is not there, readable by its owner alone."""
    if path.exists():
        key = load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise TypeError(f"anchors are signed with Ed25519: {path.name} is another kind of key")
        return key
    made = Ed25519PrivateKey.generate()
    path.touch(mode=0o600)
    path.write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = made.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    path.with_suffix(".pub").write_bytes(public)
    return made
