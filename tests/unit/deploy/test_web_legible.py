"""A NUL in an address or a form is told to the person, and reaches no handler and no database."""

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse
from hypothesis import given
from hypothesis import strategies as st

from deploy.web.legible import NULS, WORDS, Legible

FORM = {"content-type": "application/x-www-form-urlencoded"}


def a_site() -> FastAPI:
    app = FastAPI()
    app.state.reached = 0

    async def page(_request, status, words):
        return PlainTextResponse(words, status_code=status)

    app.add_middleware(Legible, page=page)

    @app.get("/things/{name}")
    async def thing(name: str, like: str = ""):
        app.state.reached += 1
        return PlainTextResponse(name + like)

    @app.post("/things")
    async def said(request: Request):
        form = await request.form()
        app.state.reached += 1
        return PlainTextResponse(str(form.get("reason")))

    @app.post("/json")
    async def told(request: Request):
        told = await request.json()
        app.state.reached += 1
        return PlainTextResponse(str(told))

    return app


async def ask(app, method, path, **more):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://lamp") as client:
        return await client.request(method, path, **more)


REFUSED = [
    pytest.param("GET", "/things/a%00b", {}, id="in the path"),
    pytest.param("GET", "/things/a?like=x%00", {}, id="in the query"),
    pytest.param("POST", "/things", {"data": {"reason": "a\x00b"}}, id="in a form"),
    pytest.param("POST", "/things", {"content": b"reason=a\x00b", "headers": FORM}, id="raw in a form"),
    pytest.param("POST", "/things", {"files": {"reason": ("f", b"a\x00b")}}, id="in a form of many parts"),
    pytest.param("POST", "/json", {"json": {"reason": "a\x00b"}}, id="in JSON"),
]


@pytest.mark.parametrize(("method", "path", "more"), REFUSED)
async def test_a_nul_is_a_clear_400_and_goes_no_further(method, path, more):
    app = a_site()
    answer = await ask(app, method, path, **more)
    assert answer.status_code == 400
    assert WORDS in answer.text
    assert app.state.reached == 0


async def test_a_percent_sign_and_two_noughts_that_somebody_typed_are_text():
    app = a_site()
    for said in ("100%00", "%00", "%2500", "\\u0000"):
        assert (await ask(app, "POST", "/things", data={"reason": said})).text == said
    assert (await ask(app, "GET", "/things/a", params={"like": "%00"})).text == "a%00"


@given(st.sampled_from(NULS), st.integers(1, 5), st.binary(max_size=8).filter(lambda b: b"\x00" not in b))
async def test_a_nul_cut_in_two_by_the_network_is_still_found(nul, cut, before):
    app = a_site()
    body = b"reason=" + before.hex().encode() + nul

    async def pieces():
        at = max(1, len(body) - cut)
        yield body[:at]
        yield body[at:]

    assert (await ask(app, "POST", "/things", content=pieces(), headers=FORM)).status_code == 400
    assert app.state.reached == 0
