"""Sign-in, sessions, CSRF and roles on the real database, on a clock the test owns."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import PlainTextResponse

from deploy import database
from deploy.settings import Secret
from deploy.web import session
from deploy.web.frame import Desk
from deploy.web.site import site

pytestmark = pytest.mark.stack

HERE = "http://testserver"
FROM_HERE = {"origin": HERE}


class Clock:
    def __init__(self):
        self.now = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)

    def __call__(self):
        return self.now


def a_room(desk):
    router = APIRouter()

    @router.get("/things")
    async def things(request: Request):
        async with desk.transaction(request) as conn:
            rows = await (await conn.execute("SELECT name FROM who.patient ORDER BY name")).fetchall()
        return PlainTextResponse(",".join(r[0] for r in rows))

    @router.get("/people/{patient_id}")
    async def person(request: Request, patient_id: UUID):
        async with desk.transaction(request) as conn:
            found = await desk.patients(conn, [patient_id])
        async with desk.transaction(request) as conn:  # a page may ask twice
            await conn.execute("SELECT 1")
        if not found:
            raise HTTPException(404)
        return PlainTextResponse(found[patient_id].name)

    @router.get("/things/{thing_id}")
    async def thing(thing_id: UUID):
        return PlainTextResponse(str(thing_id))

    @router.post("/things")
    async def change(request: Request):
        desk.require(request, "nurse")
        return PlainTextResponse("changed")

    return router


@pytest.fixture
async def clinic(fresh_database):
    """Two practices with a nurse and a patient each, and the site in front of them."""
    password = "correct horse battery"
    async with await database.Connection.connect(fresh_database.pipeline, autocommit=True) as conn:
        for number, nurse, patient in ((1, "ana", "Maria"), (2, "chris", "Oto")):
            await conn.execute(
                "INSERT INTO who.practice VALUES (%s, %s, 'America/New_York')", (number, f"Practice {number}")
            )
            for role in ("nurse", "auditor"):
                await conn.execute(
                    "INSERT INTO who.staff (staff_id, practice_id, email, name, role, password_hash) VALUES (%s,%s,%s,%s,%s,%s)",
                    (
                        uuid4(),
                        number,
                        f"{nurse}.{role}@example.org",
                        nurse.title(),
                        role,
                        session.hash_password(password),
                    ),
                )
            await conn.execute(
                "INSERT INTO who.patient VALUES (%s, %s, 'MRN-1', %s, '1950-01-01', 'America/New_York')",
                (uuid4(), number, patient),
            )
    clock = Clock()
    async with database.pool(Secret(fresh_database.web)) as pool:
        desk = Desk(pool=pool, clock=clock, rooms=(), links=(), secure=False)
        app = site(desk, [a_room(desk)], static=())
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url=HERE) as client:
            yield Clinic(client, clock, desk, password, app, fresh_database.web)


class Clinic:
    def __init__(self, client, clock, desk, password, app, web):
        self.client, self.clock, self.desk, self.password, self.app = client, clock, desk, password, app
        self.web = web

    async def sign_in(self, email="ana.nurse@example.org", password=None, **headers):
        return await self.client.post(
            "/sign-in",
            data={"email": email, "password": password or self.password},
            headers={**FROM_HERE, **headers},
        )

    async def csrf(self):
        who = await session.find(self.desk.pool, self.client.cookies["lamplight"], now=self.clock())
        return who.csrf


async def test_an_address_that_names_nothing_is_a_page_and_not_what_was_sent(clinic):
    await clinic.sign_in()
    answer = await clinic.client.get("/things/<b>no-id</b>")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "no-id" not in answer.text
    form = await clinic.client.post("/sign-in", data={"email": "ana"}, headers=FROM_HERE)
    assert (form.status_code, form.headers["content-type"]) == (422, "text/html; charset=utf-8")


async def test_nobody_sees_anything_before_signing_in(clinic):
    answer = await clinic.client.get("/things")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?next=/things"


async def test_a_nurse_sees_her_own_practice_and_nothing_else(clinic):
    await clinic.sign_in()
    assert (await clinic.client.get("/things")).text == "Maria"
    await clinic.sign_in("chris.nurse@example.org")
    assert (await clinic.client.get("/things")).text == "Oto"


async def test_after_a_restart_of_the_database_no_page_is_an_error(clinic, stack):
    await clinic.sign_in()
    at_once = [clinic.client.get("/things") for _ in range(6)]
    assert {answer.text for answer in await asyncio.gather(*at_once)} == {
        "Maria"
    }  # several connections are open
    await asyncio.to_thread(stack.kill, "postgres")
    await asyncio.to_thread(stack.restart, "postgres")
    assert [(await clinic.client.get("/things")).text for _ in range(6)] == ["Maria"] * 6


async def test_an_unknown_person_and_a_wrong_password_get_the_same_answer(clinic):
    unknown = await clinic.sign_in("nobody@example.org")
    wrong = await clinic.sign_in(password="wrong")
    assert (unknown.status_code, wrong.status_code) == (401, 401)
    assert unknown.text.replace("nobody@", "ana.nurse@") == wrong.text


async def test_guessing_is_slowed_down_even_with_the_right_password_at_last(clinic):
    for _ in range(6):
        await clinic.sign_in(password="wrong")
    assert "Too many attempts" in (await clinic.sign_in()).text
    clinic.clock.now += timedelta(minutes=16)
    assert (await clinic.sign_in()).status_code == 303


async def test_a_cookie_copied_before_signing_out_is_worth_nothing_after(clinic):
    await clinic.sign_in()
    cookie = clinic.client.cookies["lamplight"]
    await clinic.client.post("/sign-out", data={"csrf": await clinic.csrf()}, headers=FROM_HERE)
    clinic.client.cookies.set("lamplight", cookie)
    assert (await clinic.client.get("/things")).status_code == 303


@pytest.mark.parametrize(
    ("pause", "answer"),
    [(timedelta(minutes=14), 200), (timedelta(minutes=16), 303)],
    ids=["a short pause keeps the session", "fifteen idle minutes end it"],
)
async def test_idle_sessions_end(clinic, pause, answer):
    await clinic.sign_in()
    clinic.clock.now += pause
    assert (await clinic.client.get("/things")).status_code == answer


async def test_no_session_outlives_twelve_hours(clinic):
    await clinic.sign_in()
    for _ in range(12 * 6 + 1):
        clinic.clock.now += timedelta(minutes=10)
        last = await clinic.client.get("/things")
    assert last.status_code == 303


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 200), ({"lamplight-by-itself": "1"}, 303), ({"accept": "text/event-stream"}, 303)],
    ids=["a person's requests keep it", "a list that refreshes itself does not", "a stream does not"],
)
async def test_what_a_page_asks_by_itself_keeps_nobody_signed_in(clinic, headers, status):
    await clinic.sign_in()
    for _ in range(4):
        clinic.clock.now += timedelta(minutes=4)
        await clinic.client.get("/things", headers=headers)
    assert (await clinic.client.get("/things")).status_code == status


async def test_a_touch_renews_and_says_nothing_else(clinic):
    await clinic.sign_in()
    for _ in range(4):
        clinic.clock.now += timedelta(minutes=10)
        answer = await clinic.client.get("/here")
        assert (answer.status_code, answer.content) == (204, b"")
    clinic.clock.now += timedelta(minutes=16)
    assert (await clinic.client.get("/here")).status_code == 303


async def test_signing_in_again_leads_back_to_the_same_part_of_the_list(clinic):
    answer = await clinic.client.get("/things?tab=technical&page=2")
    assert answer.headers["location"] == "/sign-in?next=/things%3Ftab%3Dtechnical%26page%3D2"
    asked = await clinic.client.get(answer.headers["location"])
    assert 'value="/things?tab=technical&amp;page=2"' in asked.text


async def test_guesses_made_at_once_count_each_other(clinic):
    answers = await asyncio.gather(*(clinic.sign_in(password=f"guess {n}") for n in range(20)))
    assert sum("Too many attempts" in answer.text for answer in answers) == 15
    assert sum("is not right" in answer.text for answer in answers) == 5


async def test_weighing_a_password_holds_no_connection(clinic, monkeypatch):
    weighing, go = threading.Event(), threading.Event()

    def slow(hashed, password):
        weighing.set()
        assert go.wait(10)
        return False

    monkeypatch.setattr(session, "_verify", slow)
    async with database.pool(Secret(clinic.web), size=1) as one:
        guess = asyncio.create_task(session.sign_in(one, "ana.nurse@example.org", "?", now=clinic.clock()))
        assert await asyncio.to_thread(weighing.wait, 10)
        async with asyncio.timeout(5), one.connection() as conn:
            await conn.execute("SELECT 1")
        go.set()
        assert await guess == (session.Outcome.REFUSED, "")


async def test_more_than_a_door_needs_is_refused_before_it_is_read(clinic):
    long = await clinic.sign_in(password="x" * 20_000)
    assert long.status_code == 413

    async def dribble():
        for _ in range(100):
            yield b"x" * 1000

    drip = await clinic.client.post(
        "/sign-in",
        content=dribble(),
        headers=FROM_HERE | {"content-type": "application/x-www-form-urlencoded"},
    )
    assert drip.status_code == 413


async def patient(clinic, practice=1):
    async with clinic.desk.practice(practice) as conn:
        return (await (await conn.execute("SELECT patient_id FROM who.patient")).fetchone())[0]


async def test_who_looked_at_whom_is_written_down_and_read_by_the_auditor(clinic):
    maria, oto = await patient(clinic), await patient(clinic, 2)
    await clinic.sign_in()
    assert (await clinic.client.get(f"/people/{maria}")).text == "Maria"
    await clinic.client.get("/things")
    assert (
        await clinic.client.get(f"/people/{oto}")
    ).status_code == 404  # another practice's: nothing was shown
    assert (await clinic.client.get("/reads")).status_code == 403
    await clinic.sign_in("ana.auditor@example.org")
    page = (await clinic.client.get("/reads")).text
    assert page.count("<tr><td>") == 1
    assert ">Maria</a>" in page and ">Ana</a>" in page
    assert "Nobody looked at anybody" in (await clinic.client.get(f"/reads?patient={oto}")).text
    await clinic.sign_in("chris.auditor@example.org")
    assert "Nobody looked at anybody" in (await clinic.client.get("/reads")).text


async def test_nobody_changes_what_was_written_down(clinic):
    maria = await patient(clinic)
    await clinic.sign_in()
    await clinic.client.get(f"/people/{maria}")
    for change in ("UPDATE audit.read SET staff_name = 'x'", "DELETE FROM audit.read"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with clinic.desk.practice(1) as conn:
                await conn.execute(change)


@pytest.mark.parametrize(
    ("headers", "token", "status"),
    [
        ({"origin": HERE}, True, 200),
        ({"sec-fetch-site": "same-origin"}, True, 200),
        ({"origin": HERE}, False, 403),
        ({"origin": "http://evil.example"}, True, 403),
        ({"sec-fetch-site": "cross-site", "origin": HERE}, True, 403),
        ({}, True, 403),
    ],
    ids=[
        "own origin",
        "own origin by fetch metadata",
        "no token",
        "foreign origin",
        "cross-site",
        "no origin at all",
    ],
)
async def test_a_change_needs_the_sessions_token_and_our_own_page(clinic, headers, token, status):
    await clinic.sign_in()
    data = {"csrf": await clinic.csrf()} if token else {}
    assert (await clinic.client.post("/things", data=data, headers=headers)).status_code == status


async def test_another_sessions_token_does_not_help(clinic):
    await clinic.sign_in("chris.nurse@example.org")
    foreign = await clinic.csrf()
    await clinic.sign_in()
    assert (await clinic.client.post("/things", data={"csrf": foreign}, headers=FROM_HERE)).status_code == 403


async def test_a_role_without_the_right_is_told_whose_task_it_is(clinic):
    await clinic.sign_in("ana.auditor@example.org")
    answer = await clinic.client.post("/things", data={"csrf": await clinic.csrf()}, headers=FROM_HERE)
    assert answer.status_code == 403
    assert "This is for nurse; you are signed in as auditor." in answer.text


async def test_sign_in_never_sends_the_browser_elsewhere(clinic):
    for back in ("//evil.example", "https://evil.example", "/\\evil.example"):
        answer = await clinic.client.post(
            "/sign-in",
            data={"email": "ana.nurse@example.org", "password": clinic.password, "back": back},
            headers=FROM_HERE,
        )
        assert answer.headers["location"] == "/"


async def test_every_answer_carries_the_security_headers(clinic):
    answer = await clinic.client.get("/sign-in")
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"


async def test_the_tenant_does_not_leak_through_the_pool(clinic):
    await clinic.sign_in()
    await clinic.client.get("/things")
    async with clinic.desk.pool.connection() as conn:
        row = await (await conn.execute("SELECT count(*) FROM who.patient")).fetchone()
    assert row[0] == 0, "a pooled connection still spoke for the last practice"


async def test_a_nul_anywhere_is_a_page_that_says_so_and_not_our_fault(clinic):
    form = await clinic.client.post("/sign-in", data={"email": "ana\x00", "password": "x"}, headers=FROM_HERE)
    address = await clinic.client.get("/things/a%00b")
    query = await clinic.client.get("/sign-in?next=%00")
    for answer in (form, address, query):
        assert (answer.status_code, "no text has" in answer.text) == (400, True)
        assert "content-security-policy" in answer.headers
