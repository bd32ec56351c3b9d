"""The frame around every room's screens: who is asking, one transaction under their practice's row-level security, CSRF."""

import secrets
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlsplit
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import HTTPException, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, PrefixLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from psycopg_pool import AsyncConnectionPool

from deploy.database import Connection, borrowed
from deploy.web import reads, session
from deploy.web.session import Who

SAFE = {"GET", "HEAD", "OPTIONS"}
PATIENT: Final = "SELECT patient_id, name, mrn, born, zone FROM who.patient"


class SignInNeeded(Exception):
    """Nobody is signed in: the browser is sent to the sign-in page and back."""


class Patient(NamedTuple):
    """Whom a page is about. A tuple as the database told it, for a practice has ten thousand."""

    patient_id: UUID
    name: str
    mrn: str
    born: date
    zone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One entry of the navigation, shown to the roles that have a use for it."""

    label: str
    url: str
    roles: frozenset[str]


class Desk:
    """What a room's screens may ask of the frame. Each room declares the part it uses as a Protocol."""

    def __init__(
        self,
        *,
        pool: AsyncConnectionPool,
        clock: Callable[[], datetime],
        rooms: Iterable[str],
        links: Iterable[Link],
        secure: bool,
        scripts: Iterable[str] = (),  # that follow people from page to page, like a running timer
    ) -> None:
        self.pool, self._clock, self._links = pool, clock, tuple(links)
        self._scripts = tuple(scripts)
        self.cookie = "__Host-lamplight" if secure else "lamplight"
        self.secure = secure
        loaders = {"web": PackageLoader("deploy.web"), **{room: PackageLoader(room) for room in rooms}}
        self._jinja = Environment(
            loader=PrefixLoader(loaders),
            autoescape=select_autoescape(),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._jinja.filters.update(
            ago=_ago, initials=lambda name: "".join(part[0] for part in name.split()[:2])
        )

    async def guard(self, request: Request) -> None:
        """Dependency of every route of every room: a person, and for unsafe methods proof that the page is ours.

        Fails closed: an unsafe request must carry the session's token and come from this very origin.
        """
        token = request.cookies.get(self.cookie, "")
        renew = not by_itself(request)
        who = await session.find(self.pool, token, now=self.now(), renew=renew) if token else None
        if who is None:
            raise SignInNeeded
        request.state.who = who
        if request.method in SAFE:
            return
        if not from_here(request):
            raise HTTPException(
                403, "This request did not come from a Lamplight page. Open the page again and repeat it."
            )
        sent = request.headers.get("x-csrf-token")
        if sent is None:
            field = (await request.form()).get("csrf")
            sent = field if isinstance(field, str) else ""
        if not secrets.compare_digest(sent.encode(), who.csrf.encode()):
            raise HTTPException(
                403, "This page is older than your sign-in. Reload it and repeat what you did."
            )

    def who(self, request: Request) -> Who:
        who: Who = request.state.who
        return who

    def require(self, request: Request, *roles: str) -> Who:
        """The person, if their role is one of `roles`; otherwise a 403 page that says whose task this is."""
        who = self.who(request)
        if who.role not in roles:
            raise HTTPException(403, f"This is for {' or '.join(roles)}; you are signed in as {who.role}.")
        return who

    def now(self) -> datetime:
        return self._clock()

    @asynccontextmanager
    async def transaction(self, request: Request) -> AsyncIterator[Connection]:
        """One transaction that sees the asker's practice and nothing else; commits when left without an error."""
        async with self.practice(self.who(request).practice_id) as conn:
            await reads.record(conn, request, self.who(request), now=self.now())
            yield conn

    @asynccontextmanager
    async def practice(self, practice_id: int) -> AsyncIterator[Connection]:
        async with borrowed(self.pool) as conn, conn.transaction():
            await conn.execute("SELECT set_config('app.practice_id', %s, true)", (str(practice_id),))
            yield conn

    async def patients(self, conn: Connection, ids: Iterable[UUID]) -> dict[UUID, Patient]:
        """The patients among `ids` whom this transaction may see."""
        rows = await conn.execute(f"{PATIENT} WHERE patient_id = ANY(%s)", (list(ids),))
        return {row[0]: Patient(*row) for row in await rows.fetchall()}

    async def roster(self, conn: Connection) -> dict[UUID, Patient]:
        """Every patient whom this transaction may see: the practice's."""
        rows = await conn.execute(PATIENT, binary=True)
        return {row[0]: Patient(*row) for row in await rows.fetchall()}

    async def colleagues(self, conn: Connection, *, roles: Collection[str] = ()) -> dict[UUID, str]:
        """Everybody of the practice by id, so that a page can name who holds what; of `roles` only, if any are named."""
        rows = await conn.execute(
            """SELECT staff_id, name FROM who.staff
                WHERE cardinality(%(roles)s::text[]) = 0 OR role = ANY(%(roles)s) AND active ORDER BY name""",
            {"roles": list(roles)},
        )
        return dict(await rows.fetchall())

    def page(
        self, request: Request, template: str, *, status_code: int = 200, **context: Any
    ) -> HTMLResponse:
        return HTMLResponse(self.render(request, template, **context), status_code=status_code)

    def render(self, request: Request, template: str, **context: Any) -> str:
        who: Who | None = getattr(request.state, "who", None)
        now = self.now()
        zone = ZoneInfo(who.zone if who else "UTC")
        csrf = who.csrf if who else ""
        return self._jinja.get_template(template).render(
            who=who,
            now=now,
            zone=zone,
            csrf_token=csrf,
            csrf_field=lambda: Markup('<input type="hidden" name="csrf" value="{}">').format(csrf),
            local=lambda at, form="%d %b %H:%M": at.astimezone(zone).strftime(form) if at else "",
            links=[link for link in self._links if who and who.role in link.roles],
            path=request.url.path,
            idle_s=int(session.IDLE.total_seconds()),
            scripts_everywhere=self._scripts,
            **context,
        )


BY_ITSELF: Final = "lamplight-by-itself"
"""The header of what a page asks without anybody having touched it."""


def by_itself(request: Request) -> bool:
    """True for what a page asks by itself: it must not keep a session alive that nobody uses."""
    return BY_ITSELF in request.headers or "text/event-stream" in request.headers.get("accept", "")


def from_here(request: Request) -> bool:
    """True if the browser says that the request comes from a page of this origin."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc == request.headers.get("host")


def sign_in_url(request: Request) -> str:
    """Where to sign in, and the page to come back to."""
    query = f"?{request.url.query}" if request.url.query else ""
    back = request.url.path + query if request.method == "GET" else "/"
    return f"/sign-in?next={quote(back)}"


def _ago(at: datetime, now: datetime) -> str:
    """How long ago, in the one unit a glance needs.

    >>> from datetime import UTC, timedelta
    >>> _ago(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=95))
    '1 h'
    """
    seconds = max(0, round((now - at).total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return "now"
