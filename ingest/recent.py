"""What each device said lately: enough to recognise a reading sent again and a measurement told twice."""

from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from ingest.quality import ECHO_HOURS, HOUR, Echo, Seen, echo_of

REACH = ECHO_HOURS * HOUR
MOST_PER_DEVICE = 96  # a meter read out at once; beyond it the archive is asked, at the price of all the rest


class _Memory:
    """One device's readings, by id and by what they say."""

    __slots__ = ("alike", "known", "since")

    def __init__(self, known: Iterable[Seen] = ()) -> None:
        self.known: dict[UUID, Seen] = {}
        self.alike: defaultdict[tuple[float | str | None, ...], list[Seen]] = defaultdict(list)
        self.since: datetime | None = (
            None  # everything archived from here on is known; None: nothing was asked
        )
        for seen in known:
            self.add(seen)

    def add(self, seen: Seen) -> None:
        if seen.reading_id not in self.known:
            self.known[seen.reading_id] = seen
            self.alike[seen.values].append(seen)


class Recent:
    """Bounded memory of accepted readings by device; what it lacks, the archive can tell it (`missing`, `learn`).

    Only what Kafka has may be told to it (`accept`): a reading it knows is not sent to Kafka again.
    """

    def __init__(self, *, devices: int = 5_000, readings: int = 50_000) -> None:
        self._most, self._most_readings = devices, readings
        self._devices: OrderedDict[str, _Memory] = OrderedDict()
        self._accepted: OrderedDict[UUID, None] = (
            OrderedDict()
        )  # of all devices: wider than any gateway's window

    def missing(self, device_id: str, at: datetime) -> bool:
        """Whether the archive must be asked before a reading at this instant can be judged."""
        memory = self._devices.get(device_id)
        return memory is None or memory.since is None or memory.since > at - REACH

    def learn(self, device_id: str, since: datetime, archived: Iterable[Seen]) -> None:
        """Everything the archive has of this device from `since` on."""
        memory = self._of(device_id)
        for seen in archived:
            memory.add(seen)
        memory.since = since if memory.since is None else min(memory.since, since)

    def has(self, device_id: str, reading_id: UUID) -> bool:
        """Whether Kafka already has exactly this reading."""
        memory = self._devices.get(device_id)
        return reading_id in self._accepted or (memory is not None and reading_id in memory.known)

    def echo(self, device_id: str, new: Seen, also: Iterable[Seen] = ()) -> Echo | None:
        """Whether this is an earlier measurement under another time; `also` are those of its own batch."""
        memory = self._devices.get(device_id)
        earlier = memory.alike.get(new.values, ()) if memory is not None else ()
        found = echo_of(new, (*earlier, *also))
        return found[1] if found is not None else None

    def accept(self, device_id: str, seen: Seen) -> None:
        """Kafka has it."""
        self._accepted[seen.reading_id] = None
        if len(self._accepted) > self._most_readings:
            self._accepted.popitem(last=False)
        memory = self._of(device_id)
        memory.add(seen)
        if len(memory.known) > MOST_PER_DEVICE:
            kept = sorted(memory.known.values(), key=lambda one: one.at)[MOST_PER_DEVICE // 2 :]
            since = memory.since
            memory = self._devices[device_id] = _Memory(kept)
            memory.since = None if since is None else max(since, kept[0].at)

    def _of(self, device_id: str) -> _Memory:
        memory = self._devices.get(device_id)
        if memory is None:
            memory = self._devices[device_id] = _Memory()
            if len(self._devices) > self._most:
                self._devices.popitem(last=False)
        else:
            self._devices.move_to_end(device_id)
        return memory
