"""Prometheus metrics: one module names them all, with a closed set of labels. Never a patient, device or user.

Counted once per batch: counting each event would cost more than scoring it.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime

from prometheus_client import Counter, Gauge, Histogram

from alerts.burden import Burden
from alerts.concerns import Queue
from alerts.episode import State
from alerts.events import Severity
from alerts.report_store import Stand
from ingest.fleet_service import Counts
from ingest.replay import Left
from ingest.sorting import Tally

LATENCY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

EVENTS = Counter("lamplight_room_events", "Events by what became of them.", ["room", "outcome"])
BATCH_SECONDS = Histogram(
    "lamplight_room_batch_seconds", "One batch: fence to commit.", ["room"], buckets=LATENCY
)
FENCED = Counter(
    "lamplight_room_fenced", "Commits refused because another process had claimed the partition.", ["room"]
)
LAG = Gauge(
    "lamplight_room_lag_records", "Records of the last served partition still waiting in Kafka.", ["room"]
)
RELAYED = Counter("lamplight_relay_events", "Outbox events published.", ["room"])

RECEIVED = Counter("lamplight_ingest_received", "MQTT messages received from gateways.")
ACCEPTED = Counter("lamplight_ingest_accepted", "Readings acknowledged by Kafka.")
REFUSED = Counter("lamplight_ingest_refused", "Messages set aside with a reason.", ["reason"])
LATE = Counter("lamplight_ingest_late", "Readings received more than an hour after they were measured.")
UNKEPT = Counter(
    "lamplight_ingest_larger_than_kafka_takes",
    "Facts above the topic's own limit of size: not kept and not acknowledged.",
)
DUPLICATES = Counter("lamplight_ingest_duplicates", "Facts that arrived again and were recognised.")
ECHOES = Counter("lamplight_ingest_echoes", "Whole-hour copies of a reading, flagged and not scored.")
SET_ASIDE = Gauge("lamplight_ingest_set_aside", "What lies set aside and nobody has settled.", ["what"])
LANE_AGE = Gauge(
    "lamplight_ingest_lane_age_seconds", "Age of the oldest reading whose owner nobody has named."
)
SUSPECT_CLOCK = Counter("lamplight_ingest_suspect_clock", "Readings whose instant could not be trusted.")
ACK_SECONDS = Histogram("lamplight_ingest_ack_seconds", "Receipt to application ack.", buckets=LATENCY)
LINE_DROPPED = Counter("lamplight_ingest_line_dropped", "MQTT connections lost.")
SESSION_LOST = Counter(
    "lamplight_ingest_session_lost", "Reconnects at which the broker had forgotten our session."
)

BROKER_DROPPED = Gauge(
    "lamplight_broker_dropped", "What the MQTT broker dropped since it started, by its own count.", ["what"]
)
GATEWAYS = Gauge("lamplight_gateways", "Gateways by how they are.", ["state"])
GATEWAY_OUTBOXES = Gauge("lamplight_gateway_outbox_readings", "Readings waiting in all gateways' outboxes.")
GATEWAY_COMMANDS = Gauge(
    "lamplight_gateway_commands_unanswered", "Commands told more than an hour ago and not answered."
)

WEBHOOK_POSTS = Counter(
    "lamplight_webhook_posts", "Posts of vendors' clouds by what became of them.", ["vendor", "outcome"]
)
WEBHOOK_FETCH_AGE = Gauge(
    "lamplight_webhook_fetch_age_seconds", "How long the oldest announced and not yet fetched data waits."
)

REQUESTS = Counter("lamplight_web_requests", "Requests by method and class of status.", ["method", "status"])
REQUEST_SECONDS = Histogram(
    "lamplight_web_request_seconds", "Server time of a request.", ["method"], buckets=LATENCY
)
SIGN_INS = Counter("lamplight_web_sign_ins", "Attempts to sign in.", ["outcome"])


QUEUE_OPEN = Gauge("lamplight_queue_open", "Open episodes.", ["queue", "severity", "state"])
QUEUE_OVERDUE = Gauge(
    "lamplight_queue_overdue", "Episodes that wait although somebody should have come.", ["queue", "severity"]
)
BURDEN_RATE = Gauge(
    "lamplight_burden_per_patient_month",
    "Clinical calls in thirty days per patient-month: all, and those that a person handled.",
    ["which"],
)
BURDEN_AGAIN = Gauge(
    "lamplight_burden_again", "Calls of thirty days that came back within 72 hours of closing."
)
BURDEN_CALLS = Gauge(
    "lamplight_burden_calls",
    "Clinical calls of thirty days, by what became of them.",
    ["severity", "outcome"],
)
BURDEN_SECONDS = Gauge(
    "lamplight_burden_seconds",
    "Until somebody came, and until it was settled, over thirty days.",
    ["severity", "until", "quantile"],
)
BURDEN_CONCERN = Gauge("lamplight_burden_concern_calls", "Calls of thirty days by concern.", ["concern"])


ANCHORED = Gauge(
    "lamplight_ledger_anchored_timestamp_seconds",
    "When every practice's ledger was last seen to be signed for the day.",
)


class RoomMeter:
    """The pump's and the relay's counters of one room."""

    def __init__(self, room: str) -> None:
        self._outcomes = {name: EVENTS.labels(room, name) for name in ("served", "skipped", "parked")}
        self._seconds, self._fenced = BATCH_SECONDS.labels(room), FENCED.labels(room)
        self._lag, self._relayed = LAG.labels(room), RELAYED.labels(room)

    def served(self, *, events: int, skipped: int, parked: int, seconds: float) -> None:
        self._outcomes["served"].inc(events)
        self._outcomes["skipped"].inc(skipped)
        self._outcomes["parked"].inc(parked)
        self._seconds.observe(seconds)

    def fenced(self) -> None:
        self._fenced.inc()

    def lag(self, records: int) -> None:
        self._lag.set(records)

    def relayed(self, events: int) -> None:
        self._relayed.inc(events)


class BurdenMeter:
    """What the queue costs; every label is one of the room's own closed sets."""

    def burden(self, stands: Sequence[Stand], burden: Burden, concerns: Mapping[str, int]) -> None:
        found = {(stand.queue, stand.severity, stand.state): stand for stand in stands}
        for queue in Queue:
            for severity in Severity:
                late = 0
                for state in State:
                    if state is not State.CLOSED:
                        stand = found.get((queue, severity, state))
                        QUEUE_OPEN.labels(queue, severity, state).set(stand.open if stand else 0)
                        late += stand.overdue if stand else 0
                QUEUE_OVERDUE.labels(queue, severity).set(late)
        BURDEN_RATE.labels("calls").set(burden.per_month if burden.per_month is not None else math.nan)
        BURDEN_RATE.labels("handled").set(
            burden.seen_per_month if burden.seen_per_month is not None else math.nan
        )
        BURDEN_AGAIN.set(burden.again)
        for share in burden.by_severity:
            outcomes = ("calls", "came", "in_time", "settled", "useful")
            for outcome in outcomes:
                BURDEN_CALLS.labels(share.name, outcome).set(getattr(share, outcome))
            for until, spread in (("came", share.to_come), ("settled", share.to_settle)):
                for place, quantile in enumerate(("0.5", "0.9")):
                    seconds = 60 * spread[place] if spread else math.nan
                    BURDEN_SECONDS.labels(share.name, until, quantile).set(seconds)
        for concern, calls in concerns.items():
            BURDEN_CONCERN.labels(concern).set(calls)


class LedgerMeter:
    """When the ledgers last stood signed."""

    def anchored(self, at: datetime) -> None:
        ANCHORED.set(at.timestamp())


class IngestMeter:
    """The live path's counters; reasons are the closed set of `ingest.devices.measurement.Reason` and identity's."""

    def batch(self, tally: Tally) -> None:
        RECEIVED.inc(tally.received)
        ACCEPTED.inc(tally.accepted)
        DUPLICATES.inc(tally.duplicates)
        LATE.inc(tally.late)
        SUSPECT_CLOCK.inc(tally.suspect_clock)
        UNKEPT.inc(tally.unkept)
        ECHOES.inc(tally.echoes)
        for reason, count in tally.refused.items():
            REFUSED.labels(reason).inc(count)
        ACK_SECONDS.observe(tally.ack_seconds)

    def set_aside(self, left: Left, now: datetime) -> None:
        SET_ASIDE.labels("refused").set(left.refused)
        SET_ASIDE.labels("owner-unknown").set(left.lane)
        LANE_AGE.set((now - left.lane_since).total_seconds() if left.lane_since is not None else 0)

    def line_dropped(self) -> None:
        LINE_DROPPED.inc()

    def session_lost(self) -> None:
        SESSION_LOST.inc()

    def broker_dropped(self, messages: int) -> None:
        """A series of its own only once the broker has spoken: a 0 of ours would look like news at each restart."""
        BROKER_DROPPED.labels("messages").set(messages)

    def fleet(self, counts: Counts) -> None:
        for state in ("online", "offline", "silent", "revoked", "filling", "expiring"):
            GATEWAYS.labels(state).set(getattr(counts, state))
        GATEWAY_OUTBOXES.set(counts.waiting)
        GATEWAY_COMMANDS.set(counts.unanswered)


class WebhookMeter:
    """What vendors' clouds post; both labels are closed sets (`ingest.webhooks.Vendor`, and those of `webhook_web`)."""

    def post(self, vendor: str, outcome: str) -> None:
        WEBHOOK_POSTS.labels(vendor, outcome).inc()

    def waiting_since(self, seconds: float) -> None:
        WEBHOOK_FETCH_AGE.set(seconds)
