"""How a process lives: signals ask it to stop, what was opened is closed in reverse, under one deadline for all."""

import asyncio
import gc
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager

import structlog
import uvicorn
import uvloop
from prometheus_client import make_asgi_app
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from deploy.settings import Settings, SettingsError

log = structlog.get_logger()

STOP_WITHIN_S = 15.0

Service = Callable[[Settings, AsyncExitStack, "Life"], Awaitable[None]]


class Life:
    """What a running service shares with its surroundings: the wish to stop, and whether it is ready."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self.ready = asyncio.Event()


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: the process has one owner of signals, and that is `live`."""

    def install_signal_handlers(self) -> None: ...

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_http(app: object, *, host: str, port: int, stopping: asyncio.Event, name: str) -> None:
    """Serve an ASGI app until `stopping`; open streams get a few seconds to end."""
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=3,
        server_header=False,
        proxy_headers=False,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(), name=name)
    waiting = asyncio.create_task(stopping.wait(), name=f"{name}.stopping")
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    waiting.cancel()
    await serving
    if not stopping.is_set():
        raise RuntimeError(f"{name} could not listen on {host}:{port}")


def status_app(life: Life) -> Starlette:
    """`/metrics`, `/healthz` (the loop turns) and `/readyz` (the service can do its work)."""

    async def healthz(_: Request) -> PlainTextResponse:
        return PlainTextResponse("alive\n")

    async def readyz(_: Request) -> PlainTextResponse:
        if life.ready.is_set() and not life.stopping.is_set():
            return PlainTextResponse("ready\n")
        return PlainTextResponse("not ready\n", status_code=503)

    return Starlette(
        routes=[Route("/healthz", healthz), Route("/readyz", readyz), Mount("/metrics", make_asgi_app())]
    )


def live(service: Service, settings: Settings) -> None:
    """Run a service to its end: SIGTERM or SIGINT asks, the deadline insists, a failure exits with 1.

    A SettingsError of the service leaves as itself, not in the group of its tasks: its sentence is for who starts it.
    The loop is uvloop's: a lone reading costs wake-ups more than work, and its wake-ups are cheaper (docs/bench.md).
    """

    async def main() -> SettingsError | None:
        life, wrong = Life(), None
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, life.stopping.set)
        async with asyncio.TaskGroup() as group:
            if settings.status_port:
                group.create_task(
                    serve_http(
                        status_app(life),
                        host=settings.host,
                        port=settings.status_port,
                        stopping=life.stopping,
                        name="status",
                    )
                )
            deadline = group.create_task(_insist(life.stopping), name="deadline")
            settling = group.create_task(_settle(life.ready), name="settling")
            try:
                async with AsyncExitStack() as opened:
                    await service(settings, opened, life)
            except SettingsError as error:
                wrong = error
            finally:
                life.stopping.set()
            deadline.cancel()
            settling.cancel()
        return wrong

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if wrong := runner.run(main()):
            raise wrong


async def _settle(ready: asyncio.Event) -> None:
    """What a service loaded until it was ready lives as long as it does: no full collection walks it again.

    Half a million objects of the libraries took 70 ms of every thirtieth answer. And events refer to nothing that
    could form a circle: looking for circles every 700 allocations only takes time from the readings.
    """
    await ready.wait()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


async def _insist(stopping: asyncio.Event) -> None:
    """Once asked to stop, the whole process has STOP_WITHIN_S; what is not committed by then is simply done again."""
    await stopping.wait()
    await asyncio.sleep(STOP_WITHIN_S)
    log.error("lifecycle.overdue", seconds=STOP_WITHIN_S)
    os._exit(1)
