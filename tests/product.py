"""The whole product for a test: its own servers, its own services under their keepers, its own people."""

import asyncio
import os
import signal
import time
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import msgspec
import psycopg

from deploy import database
from deploy.native.services import SERVICES, Fleet
from deploy.native.stack import ROOT, Stack
from deploy.settings import Secret
from deploy.web import session
from ingest import wire
from ingest.mqtt import Broker, dial

PASSWORD = "correct horse battery staple"
HASH = session.hash_password(PASSWORD)


class Product:
    """Servers and services in one folder; `kill("risk")` is kill -9 of the service, its keeper brings it back."""

    def __init__(self, folder: Path, *, services=SERVICES, postgres_settings=None):
        self.stack = Stack(folder, postgres_settings=postgres_settings)
        self.fleet = Fleet(self.stack.processes, self.stack.ports, ROOT, services)

    def start(self):
        self.stack.start()
        database.migrate(Secret(self.stack.dsn("lamplight_owner")))
        self.port = self.stack.ports.choose("web")
        self.url = f"http://127.0.0.1:{self.port}"
        self.hooks = f"http://127.0.0.1:{self.stack.ports.choose('webhooks')}"
        self.told = {
            **self.stack.environment(),
            "LAMPLIGHT_WEBHOOKS_PORT": self.hooks.rpartition(":")[2],
            "LAMPLIGHT_WEB_PORT": str(self.port),
            "LAMPLIGHT_PUBLIC_URL": self.url,
            "LAMPLIGHT_DEMO_FILE": str(self.stack.folder / "demo.json"),
        }
        self.fleet.start(self.told, lambda _: None)
        return self

    def stop(self):
        self.fleet.stop([service.name for service in self.fleet.services])
        self.stack.stop()

    # Faults ----------------------------------------------------------------------------------------------------------

    def pid(self, service: str) -> int | None:
        """The service itself, below its keeper."""
        keeper = self.stack.processes.alive(service)
        if keeper is None:
            return None
        children = Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children").read_text().split()
        return int(children[0]) if children else None

    def kill(self, service: str) -> bool:
        """kill -9; False if it was not there to be killed."""
        pid = self.pid(service)
        if pid is None:
            return False
        os.kill(pid, signal.SIGKILL)
        return True

    def ready(self, service: str) -> bool:
        return self.fleet.ready(service)

    def wait_ready(self, *services: str, within=60):
        end = time.monotonic() + within
        while not all(self.ready(service) for service in services):
            assert time.monotonic() < end, (
                f"not ready in {within} s: {[s for s in services if not self.ready(s)]}"
            )
            time.sleep(0.1)

    # The database as the services see it ------------------------------------------------------------------------------

    def rows(self, query: str, *values):
        with psycopg.connect(self.stack.dsn("lamplight_pipeline"), autocommit=True) as conn:
            return conn.execute(query, values or None).fetchall()

    def one(self, query: str, *values):
        return self.rows(query, *values)[0][0]

    def until(self, query: str, *values, is_true=bool, within=60):
        """Wait until the first column of the first row is what is wanted; returns it."""
        end = time.monotonic() + within
        while True:
            rows = self.rows(query, *values)
            if rows and is_true(rows[0][0]):
                return rows[0][0]
            assert time.monotonic() < end, f"did not happen in {within} s: {query} gives {rows[:3]}"
            time.sleep(0.1)

    # People ------------------------------------------------------------------------------------------------------------

    def practice(self, number: int, zone="America/New_York"):
        self._do(
            "INSERT INTO who.practice VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            number,
            f"Practice {number}",
            zone,
        )
        return number

    def person(self, practice: int, name: str, role: str, credential: str | None = "RN") -> str:
        """Returns the e-mail to sign in with; the password is PASSWORD."""
        email = f"{name.lower()}.{uuid4().hex[:6]}@example.org"
        self._do(
            """INSERT INTO who.staff (staff_id, practice_id, email, name, role, credential, password_hash)
               VALUES (%s, %s, %s, %s, %s, %s, %s)""",
            uuid4(), practice, email, name, role, credential, HASH,
        )  # fmt: skip
        return email

    def patient(self, practice: int, name: str, *, device: str | None = None, mrn: str | None = None) -> UUID:
        patient_id = uuid4()
        self._do(
            "INSERT INTO who.patient VALUES (%s, %s, %s, %s, %s, 'America/New_York')",
            patient_id, practice, mrn or f"M-{uuid4().hex[:8]}", name, date(1951, 4, 12),
        )  # fmt: skip
        if device:
            self._do(
                "INSERT INTO ingest.device (device_id, practice_id, family) VALUES (%s, %s, 'canonical')",
                device,
                practice,
            )
            self._do(
                "INSERT INTO ingest.device_assignment VALUES (%s, %s, %s, '[2020-01-01,)')",
                device,
                practice,
                patient_id,
            )
        return patient_id

    def gateway(self, practice: int, gateway_id: str, *, playback=False):
        self._do(
            "INSERT INTO ingest.gateway (gateway_id, practice_id, playback) VALUES (%s, %s, %s)",
            gateway_id,
            practice,
            playback,
        )
        return self.stack.issue(gateway_id)

    def _do(self, query: str, *values):
        with psycopg.connect(self.stack.dsn("lamplight_pipeline"), autocommit=True) as conn:
            conn.execute(query, values)

    # Doors -------------------------------------------------------------------------------------------------------------

    def broker(self, credential) -> Broker:
        host, _, port = self.stack.mqtt.rpartition(":")
        return Broker(
            host=host,
            port=int(port),
            client_id=credential.name,
            ca=credential.ca,
            cert=credential.cert,
            key=credential.key,
        )

    async def publish(self, credential, *messages: dict, within=30):
        """Publish canonical messages and wait until ingest has answered each one; returns the answers by id."""
        waiting = {message.setdefault("id", str(uuid4())): message for message in messages}
        answers = {}
        async with (
            asyncio.timeout(within),
            dial(self.broker(credential), topics=[wire.answers(credential.name)]) as line,
        ):
            for message in messages:
                line.tell(wire.readings(credential.name), msgspec.json.encode(message))
            while waiting:
                batch = await line.take(100)
                for heard in batch.messages:
                    answer = msgspec.json.decode(heard.payload, type=wire.Answer)
                    for done in answer.acked:
                        waiting.pop(str(done), None)
                        answers[str(done)] = None
                    for no in answer.refused:
                        waiting.pop(str(no.id), None)
                        answers[str(no.id)] = no
                batch.acknowledge()
        return answers

    @contextmanager
    def signed_in(self, email: str):
        """A browser without JavaScript: cookies, redirects, and the page's own CSRF token with every form."""
        with httpx.Client(
            base_url=self.url, follow_redirects=True, headers={"origin": self.url}, timeout=30
        ) as client:
            answer = client.post("/sign-in", data={"email": email, "password": PASSWORD})
            assert answer.status_code == 200, answer.text
            client.csrf = _csrf(answer.text)
            yield client


def _csrf(page: str) -> str:
    return page.partition('name="csrf-token" content="')[2].partition('"')[0]


def utc_now():
    return datetime.now(UTC)
