"""Commands that look into the database find the house that `lamplight up` made in this folder."""

import pytest
import typer

from deploy.cli import here
from ingest.cli import app as ingest


def groups() -> list[tuple[str, typer.Typer]]:
    return [(str(group.name), group.typer_instance or typer.Typer()) for group in ingest.registered_groups]


@pytest.mark.parametrize(("name", "group"), groups(), ids=[name for name, _ in groups()])
def test_every_group_of_ingest_commands_looks_for_the_house(name: str, group: typer.Typer) -> None:
    assert group.registered_callback is not None, (
        f"lamplight ingest {name} asks for a DSN beside a running house"
    )
    assert group.registered_callback.callback is here
