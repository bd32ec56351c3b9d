"""Real Kafka, Mosquitto and TimescaleDB for the tests: started once per run when first asked for, gone at its end."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from deploy import database
from deploy.native import undertaker
from deploy.native.install import MissingError
from deploy.native.stack import Stack
from deploy.settings import Secret

TEMPLATE = "migrated"


@dataclass(frozen=True, kw_only=True)
class FreshDatabase:
    """A database of one test's own: its name, and how each role connects to it."""

    name: str
    owner: str
    pipeline: str
    web: str
    superuser: str


@pytest.fixture(scope="session")
def stack():
    """The three servers in a temporary folder on free ports; a component that cannot be had is a failure."""
    folder = Path(tempfile.mkdtemp(prefix="lamplight-test-"))
    folder.chmod(0o755)
    with undertaker.watched(folder):
        # TimescaleDB's scheduler has no jobs here, and would make every DROP DATABASE wait a second for it.
        stack = Stack(folder, postgres_settings={"timescaledb.max_background_workers": "0"})
        try:
            stack.start()
        except MissingError as missing:
            pytest.fail("the real components are needed:\n  " + "\n  ".join(missing.lines), pytrace=False)
        yield stack
        for name in stack.processes.names():  # thrown away, so not asked
            stack.kill(name)


@pytest.fixture(scope="session")
def template_database(stack):
    """A migrated database that is only ever copied."""
    stack.create_database(TEMPLATE)
    database.migrate(Secret(stack.dsn("lamplight_owner", TEMPLATE)))
    stack.seal(TEMPLATE)
    return TEMPLATE


@pytest.fixture
def fresh_database(stack, template_database):
    """A migrated, empty database of the test's own."""
    name = f"test_{uuid4().hex[:12]}"
    stack.create_database(name, template=template_database)
    yield FreshDatabase(
        name=name,
        owner=stack.dsn("lamplight_owner", name),
        pipeline=stack.dsn("lamplight_pipeline", name),
        web=stack.dsn("lamplight_web", name),
        superuser=stack.dsn("postgres", name),
    )
    stack.drop_database(name)


@pytest.fixture
def fresh_name():
    """Makes names nobody else uses: topics, groups, gateways."""
    return lambda what: f"{what}-{uuid4().hex[:10]}"


@pytest.fixture(scope="session")
def product():
    """The whole product, services and all, on servers of its own: for journeys and browsers."""
    from tests.product import Product

    folder = Path(tempfile.mkdtemp(prefix="lamplight-product-"))
    folder.chmod(0o755)
    with undertaker.watched(folder):
        whole = Product(folder).start()
        yield whole
        whole.stop()
