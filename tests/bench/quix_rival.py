"""Quix Streams at the same job, as its documentation shows it. Run by the rivals' own environment; prints one JSON line.

`python -m tests.bench.quix_rival BROKER SOURCE TARGET GROUP COUNT at-least-once|exactly-once FOLDER`
"""

import json
import sys
import time
from datetime import datetime

from quixstreams import Application

from tests.bench.slope import step

broker, source, target, group, count, guarantee, folder = sys.argv[1:]
count = int(count)
app = Application(
    broker_address=broker,
    consumer_group=group,
    auto_offset_reset="earliest",
    processing_guarantee=guarantee,
    state_dir=folder,
    commit_interval=0.5,
    loglevel="ERROR",
    producer_extra_config={"linger.ms": 3, "acks": "all"},
)
began = []


def score(reading, state):
    if not began:
        began.append((time.perf_counter(), time.process_time()))
    at = datetime.fromisoformat(reading["effective_at"]).timestamp()
    kept, mean, slope = step(state.get("s"), at, reading["systolic"])
    state.set("s", kept)
    return {"reading": reading["event_id"], "patient": reading["patient_id"], "mean": mean, "slope": slope}


frame = app.dataframe(app.topic(source, value_deserializer="json", key_deserializer="str"))
frame = frame.apply(score, stateful=True).to_topic(
    app.topic(target, value_serializer="json", key_serializer="str")
)
app.run(count=count, timeout=60)  # returns when committed: state, output and offsets
wall, cpu = began[0]
print(
    json.dumps(
        {
            "seconds": time.perf_counter() - wall,
            "cpu": time.process_time() - cpu,
        }
    )
)
