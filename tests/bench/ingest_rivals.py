"""Three ways to empty the broker's queue into Kafka, each in a process of its own: nothing, a plain forwarder, ingest.

`python -m tests.bench.ingest_rivals noop|forward|ingest COUNT` prints one JSON line: seconds from the first message
to the last acknowledgement, processor seconds of this process, and its memory.
"""

import asyncio
import contextlib
import json
import os
import queue
import resource
import sys
import time
from datetime import UTC, datetime

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError
from paho.mqtt import client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from deploy import bus, database
from deploy.main import BRIDGE
from deploy.settings import read
from ingest import wire
from ingest.events import READINGS
from ingest.mqtt import Broker, dial
from ingest.service import run
from ingest.store import Registry
from ingest.stream import Stream

FORWARD_BATCH = 500
FORWARDED = "bench.forwarded"


class Watch:
    """From the first message to the last acknowledgement."""

    def __init__(self, count):
        self.left, self.began, self.cpu = count, 0.0, 0.0

    def saw(self):
        if not self.began:
            self.began, self.cpu = time.perf_counter(), time.process_time()

    def done(self, count):
        self.left -= count
        return self.left <= 0

    def tell(self):
        print(
            json.dumps(
                {
                    "seconds": time.perf_counter() - self.began,
                    "cpu": time.process_time() - self.cpu,
                    "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                }
            ),
            flush=True,
        )


def plain(settings, on_message):
    """paho as its documentation shows it, with manual acknowledgements."""
    client = paho.Client(
        paho.CallbackAPIVersion.VERSION2, client_id=BRIDGE, protocol=paho.MQTTv5, manual_ack=True
    )
    client.tls_set(str(settings.mqtt_ca), str(settings.mqtt_cert), str(settings.mqtt_key))
    client.on_message = on_message
    client.on_connect = lambda c, *_: c.subscribe(wire.EVERYTHING, qos=1)
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 0xFFFFFFFF
    properties.ReceiveMaximum = 1_000
    host, _, port = settings.mqtt.rpartition(":")
    client.connect(host, int(port), 30, clean_start=False, properties=properties)
    return client


def noop(settings, watch):
    def on_message(client, _userdata, message):
        watch.saw()
        client.ack(message.mid, message.qos)
        if watch.done(1):
            client.disconnect()

    plain(settings, on_message).loop_forever()
    watch.tell()


async def ensure(settings):
    """A topic like that of the readings: nobody else may be fed what the forwarder forwards."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    with contextlib.suppress(TopicAlreadyExistsError):
        await admin.create_topics(
            [NewTopic(FORWARDED, settings.partitions, 1, topic_configs=bus.TOPICS[READINGS])]
        )
    await admin.close()


async def forward(settings, watch):
    """Everything to Kafka as it is, no decoding, no registry, no answer; keys as ingest's, so the same partitions work."""
    heard = queue.SimpleQueue()
    news = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_message(_client, _userdata, message):
        heard.put(message)
        loop.call_soon_threadsafe(news.set)

    client = plain(settings, on_message)
    client.loop_start()
    await ensure(settings)
    async with bus.producer(settings.kafka) as producer:
        finished = False
        while not finished:
            await news.wait()
            news.clear()
            while not heard.empty() and not finished:
                watch.saw()
                batch = [heard.get() for _ in range(min(FORWARD_BATCH, heard.qsize()))]
                await asyncio.gather(
                    *[await producer.send(FORWARDED, m.payload, key=m.payload[11:47]) for m in batch]
                )
                for message in batch:
                    client.ack(message.mid, message.qos)
                finished = watch.done(len(batch))
    watch.tell()
    client.disconnect()
    client.loop_stop()


async def ours(settings, watch):
    """The live path as it runs in the product."""
    stopping = asyncio.Event()

    class Meter:
        def batch(self, tally):
            if tally.refused:
                print(dict(tally.refused), file=sys.stderr)
            if watch.done(tally.received):
                watch.tell()
                stopping.set()

        def line_dropped(self): ...

        def session_lost(self): ...

        def broker_dropped(self, messages): ...

    host, _, port = settings.mqtt.rpartition(":")
    broker = Broker(
        host=host,
        port=int(port),
        client_id=BRIDGE,
        ca=settings.mqtt_ca,
        cert=settings.mqtt_cert,
        key=settings.mqtt_key,
    )

    def clock():
        watch.saw()
        return datetime.now(UTC)

    async with database.pool(settings.database) as pool:
        stream = Stream(lambda: bus.producer(settings.kafka))
        await run(
            lambda: dial(broker, topics=[wire.EVERYTHING]),
            Registry(pool),
            stream,
            name=BRIDGE,
            clock=clock,
            meter=Meter(),
            stopping=stopping,
            ready=asyncio.Event(),
        )
        await stream.close()


def main():
    who, count = sys.argv[1], int(sys.argv[2])
    settings, watch = read(os.environ), Watch(count)
    if who == "noop":
        noop(settings, watch)
    else:
        asyncio.run({"forward": forward, "ingest": ours}[who](settings, watch))


if __name__ == "__main__":
    main()
