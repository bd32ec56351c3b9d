"""A page that fails is still an answer of ours: counted, with every header, and without the message of the error."""

import asyncio

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, StreamingResponse

from deploy import metrics
from deploy.web.site import HEADERS, Headers


def failing() -> FastAPI:
    app = FastAPI()
    seen = []

    async def fault(_request, error):
        seen.append(type(error).__name__)
        return PlainTextResponse("our fault", status_code=500)

    app.add_middleware(Headers, fault=fault)
    app.state.seen = seen

    @app.get("/page")
    async def page():
        raise ValueError("Maria Delgado 190/120")

    @app.get("/stream")
    async def stream():
        async def parts():
            yield "first"
            raise ValueError("Maria Delgado 190/120")

        return StreamingResponse(parts())

    return app


def counted(method: str, status: str) -> float:
    return metrics.REQUESTS.labels(method, status)._value.get()


async def ask(app: FastAPI, method: str, path: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://lamp") as client:
        return await client.request(method, path)


async def test_a_page_that_fails_is_counted_and_carries_every_security_header():
    before = counted("GET", "5xx")
    answer = await ask(failing(), "GET", "/page")
    assert (answer.status_code, answer.text) == (500, "our fault")
    assert counted("GET", "5xx") == before + 1
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert answer.headers["cache-control"] == "no-store"


async def test_an_error_in_a_running_stream_ends_it_unfinished_and_is_not_raised_for_the_server_to_log():
    app, sent = failing(), []

    async def receive():
        await asyncio.Event().wait()  # the client says nothing more and stays

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/stream", "query_string": b"", "headers": []}
    await app(scope, receive, send)
    assert app.state.seen == ["ValueError"]
    assert [message["type"] for message in sent].count("http.response.start") == 1
    assert b"first" in [message.get("body") for message in sent]
    assert all(message.get("more_body", True) for message in sent), "told as complete though it was not"


@pytest.mark.parametrize("method", ["BREW", "X" * 40])
async def test_a_method_that_somebody_made_up_becomes_no_label(method):
    await ask(failing(), method, "/page")
    assert counted("other", "4xx") > 0
    assert method not in {
        sample.labels.get("method") for family in metrics.REQUESTS.collect() for sample in family.samples
    }
