"""The way into Kafka against a producer in the hand: everything or again, on the partition every producer would choose."""

import asyncio
import contextlib

import pytest
from aiokafka.errors import KafkaTimeoutError, MessageSizeTooLargeError, NotLeaderForPartitionError
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from ingest import stream
from ingest.stream import Record, Stream, hashed


@given(st.binary(min_size=1, max_size=64), st.integers(1, 128))
def test_we_choose_the_partition_that_every_default_producer_chooses(key, count):
    assert hashed(key) % count == DefaultPartitioner()(key, list(range(count)), list(range(count)))


class HandProducer:
    """Keeps what it is given; fails as often as told, some of it after it was kept. No batch is larger than `takes`."""

    def __init__(self, kept, *, partitions=4, room=3, fails=0, error=KafkaTimeoutError, takes=10_000):
        self.kept, self.partitions, self.room, self.fails, self.error = kept, partitions, room, fails, error
        self.takes = takes

    async def partitions_for(self, topic):
        return set(range(self.partitions))

    def create_batch(self):
        producer = self

        class Batch(list):
            def append(self, *, timestamp, key, value):
                if len(self) == producer.room:
                    return None
                super().append((key, value))
                return object()

        return Batch()

    async def send_batch(self, batch, topic, *, partition):
        told = asyncio.get_running_loop().create_future()
        if sum(len(value) for _, value in batch) > self.takes:
            told.set_exception(MessageSizeTooLargeError())
            return told
        self.kept += [
            (topic, partition, key, value) for key, value in batch
        ]  # kept, whatever is said about it
        if self.fails:
            self.fails -= 1
            told.set_exception(self.error())
        else:
            told.set_result(None)
        return told


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(stream, "LEAST_WAIT_S", 0.001)


def opening(*producers):
    waiting, closed = list(producers), []

    @contextlib.asynccontextmanager
    async def make():
        producer = waiting.pop(0)
        if isinstance(producer, Exception):
            raise producer
        yield producer
        closed.append(producer)

    return make, closed


RECORDS = [Record("readings", b"patient-%d" % (n % 5), b"%d" % n) for n in range(40)]


async def test_a_batch_is_in_kafka_in_the_order_of_each_key():
    kept = []
    make, closed = opening(HandProducer(kept))
    out = Stream(make)
    await out.append(RECORDS)
    await out.close()
    for key in {record.key for record in RECORDS}:
        assert [value for _, _, k, value in kept if k == key] == [r.value for r in RECORDS if r.key == key]
        assert len({partition for _, partition, k, _ in kept if k == key}) == 1
    assert len(closed) == 1


@pytest.mark.parametrize("error", [KafkaTimeoutError, NotLeaderForPartitionError, OSError])
async def test_after_an_error_a_new_producer_sends_the_whole_batch_again(quick, error):
    kept = []
    make, closed = opening(HandProducer(kept, fails=1, error=error), OSError("no broker"), HandProducer(kept))
    out = Stream(make)
    await out.append(RECORDS)
    await out.close()
    assert {value for _, _, _, value in kept[-len(RECORDS) :]} == {record.value for record in RECORDS}
    assert len(closed) == 2


async def test_an_empty_batch_needs_no_producer():
    make, _ = opening()
    await Stream(make).append([])


async def test_a_fault_of_ours_is_not_retried_for_ever():
    make, _ = opening(HandProducer([], fails=1, error=TypeError))
    with pytest.raises(TypeError):
        await Stream(make).append(RECORDS)


@given(st.lists(st.integers(1, 30), max_size=12))
def test_what_kafka_is_too_small_for_comes_back_and_everything_else_is_kept_in_order(sizes):
    records = [Record("readings", b"patient", b"%02d" % n + b"x" * size) for n, size in enumerate(sizes)]
    kept = []

    @contextlib.asynccontextmanager
    async def make():
        yield HandProducer(kept, room=5, takes=22)

    async def append():
        out = Stream(make)
        unkept = list(await out.append(records))
        await out.close()
        return unkept

    assert asyncio.run(append()) == [one for one in records if len(one.value) > 22]
    last = list(dict.fromkeys(reversed([value for *_, value in kept])))[::-1]
    assert last == [one.value for one in records if len(one.value) <= 22]
