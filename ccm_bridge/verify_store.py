"""The verifier as a program: it reads every chain, changes nothing, and says what does not fit."""

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ccm_bridge import anchor_store, time_store
from ccm_bridge.anchor import Anchor, Statement, read
from ccm_bridge.anchor_store import TABLES
from ccm_bridge.chain import Fault, Finding, verify
from ccm_bridge.store import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was read and what was found."""

    rows: dict[str, int]
    practices: int
    anchors: int
    findings: tuple[Finding, ...]

    def as_text(self) -> Iterable[str]:
        counted = ", ".join(f"{count} {table}" for table, count in self.rows.items())
        yield f"practices: {self.practices}, rows hashed anew: {counted}, anchors checked: {self.anchors}"
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
        practices = await anchor_store.practices(conn)
        anchors = (
            [anchor_store.from_line(text) for text in kept]
            if kept is not None
            else await anchor_store.stored(conn)
        )
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
