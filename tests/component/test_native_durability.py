"""Kafka and PostgreSQL as they run here keep what they acknowledged through a kill."""

import os
from uuid import uuid4

import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy.native.processes import NotReadyError
from deploy.native.watchman import tend

pytestmark = pytest.mark.stack

TOPIC = "readings.v1"


async def end_offset(bootstrap, partition):
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        return (await consumer.end_offsets([partition]))[partition]
    finally:
        await consumer.stop()


async def read(bootstrap, partition, start, count):
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([partition])
        consumer.seek(partition, start)
        return [(await consumer.getone()).value for _ in range(count)]
    finally:
        await consumer.stop()


async def test_kafka_keeps_every_acknowledged_record_through_a_kill(stack):
    partition = TopicPartition(TOPIC, 0)
    start = await end_offset(stack.kafka, partition)
    values = [f"{uuid4()}".encode() for _ in range(200)]
    producer = AIOKafkaProducer(bootstrap_servers=stack.kafka, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(TOPIC, value, partition=0)
    finally:
        stack.kill("kafka")
        stack.restart("kafka")
        await producer.stop()
    assert await read(stack.kafka, partition, start, len(values)) == values


async def test_the_topics_that_end_in_an_acknowledgement_are_flushed_per_message_and_kept(stack):
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka)
    await admin.start()
    try:
        for topic, flushed in (
            ("readings.v1", True),
            ("refused.v1", True),
            ("scores.v1", False),
            ("alerts.v1", False),
        ):
            answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
            said = {entry[0]: entry[1] for entry in answers[0].resources[0][4]}
            assert (said["flush.messages"] == "1") is flushed, topic
            assert said["retention.ms"] == "-1", topic
    finally:
        await admin.close()


def test_postgres_keeps_every_committed_row_through_a_kill(stack, fresh_database):
    with psycopg.connect(fresh_database.superuser, autocommit=True) as conn:
        conn.execute("CREATE TABLE kept (n int PRIMARY KEY)")
        for n in range(200):
            conn.execute("INSERT INTO kept VALUES (%s)", (n,))
        stack.kill("postgres")
    stack.restart("postgres")
    with psycopg.connect(fresh_database.superuser) as conn:
        assert [n for (n,) in conn.execute("SELECT n FROM kept ORDER BY n")] == list(range(200))


def test_postgres_starts_although_its_old_pid_belongs_to_a_stranger_now(stack):
    stack.kill("postgres")
    left = stack.folder / "postgres/data/postmaster.pid"
    lines = left.read_text().splitlines()
    left.write_text("\n".join([str(os.getppid()), *lines[1:]]) + "\n")
    stack.restart("postgres")
    assert stack.postgres.answers()


@pytest.mark.parametrize("role", ["lamplight_owner", "lamplight_pipeline", "lamplight_web"])
def test_no_role_of_ours_gets_round_row_level_security(stack, fresh_database, role):
    with psycopg.connect(fresh_database.superuser) as conn:
        ask = "SELECT rolsuper, rolbypassrls, rolcreaterole FROM pg_roles WHERE rolname = %s"
        assert conn.execute(ask, (role,)).fetchone() == (False, False, False)


def test_a_wrong_password_is_refused(stack):
    from psycopg.conninfo import make_conninfo

    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(make_conninfo(stack.dsn("lamplight_web"), password="guess"))


def test_the_database_acknowledges_nothing_it_could_forget(stack):
    with psycopg.connect(stack.dsn("lamplight_web")) as conn:
        for name in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
            assert conn.execute(f"SHOW {name}").fetchone() == ("on",)


@pytest.mark.parametrize("server", ["mosquitto", "kafka", "postgres"])
def test_a_server_that_was_killed_is_started_again_where_it_was(stack, server):
    said = []
    assert tend(stack, said.append) == ([], [])
    stack.kill(server)
    assert tend(stack, said.append) == ([server], [])
    assert stack.alive(server)
    assert said[0] == f"{server} ended; starting it again"


def test_a_broker_whose_memory_is_half_a_file_starts_without_it(stack):
    stack.kill("mosquitto")
    memory = stack.folder / "mosquitto" / "mosquitto.db"
    memory.unlink(missing_ok=True)
    memory.write_bytes(b"\0")  # what a save leaves that met a full disk
    stack.restart("mosquitto")
    assert stack.alive("mosquitto")
    assert memory.with_suffix(".broken").read_bytes() == b"\0"


class Broken:
    """A server that never starts."""

    ours = ("kafka", "postgres")

    def alive(self, name):
        return name == "postgres"

    def restart(self, name):
        raise NotReadyError(f"{name} was not ready within 60 s:")


def test_a_server_that_does_not_start_is_told_and_tried_again_later():
    said = []
    assert tend(Broken(), said.append) == ([], ["kafka"])
    assert said[-1] == "kafka does not start: kafka was not ready within 60 s:"
