"""A practice full of people for the risk screens: one for each bucket, through the real room into the real database."""

import random
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from deploy import database
from deploy.labels import Dispositions
from deploy.settings import Secret
from deploy.web.frame import Desk
from deploy.web.site import site
from risk.service import RiskRoom
from risk.web import router
from tests.component.alerts_clinic import Site, a_clinic
from tests.unit.risk.diary import a_reading

NOW = datetime(2026, 4, 1, 15, 0, tzinfo=UTC)
DAYS = 70


def cuff(level, *, spread=5.0, until=0.0, seed=0, days=DAYS, pulse=68.0, within=(60, 240)):
    """Two sittings a day up to `until` days ago; `level` is a function of the days that are left."""
    draw = random.Random(seed)
    for step in range(days * 2):
        left = days - step / 2 + until
        pressure = min(max(level(left) + draw.gauss(0, spread), within[0]), within[1])
        yield left, {
            "systolic": round(pressure), "diastolic": round(0.55 * pressure + draw.gauss(0, 3)), "pulse": round(pulse + draw.gauss(0, 4)),
        }  # fmt: skip


def stick(level, *, seed=0, days=DAYS, meal=None):
    """Three a day; with a `meal`, that of every other evening is told to be after it and so much higher."""
    draw = random.Random(seed)
    for step in range(days * 3):
        left, fed = days - step / 3, meal is not None and step % 6 == 0
        said = {} if meal is None else {"context": "after_meal" if fed else "before_meal"}
        yield (
            left,
            {"glucose": float(max(45, round(level(left) + (meal or 0) * fed + draw.gauss(0, 18)))), **said},
        )


PEOPLE = {
    "rosa": ("Rosa Rising", lambda: cuff(lambda left: 128 + max(0, 14 - left) * 1.7, seed=1)),
    "fred": ("Fred Falling", lambda: cuff(lambda left: 142 - max(0, 15 - left) * 2.2, seed=2)),
    "lena": ("Lena Low", lambda: stick(lambda left: 130 if left > 3 else 82, seed=3)),
    "otto": ("Otto Over", lambda: cuff(lambda left: 168 if left < 1 else 124, seed=4)),
    "nora": ("Nora Nodata", lambda: cuff(lambda left: 131, seed=5, until=11)),
    "vera": ("Vera Variable", lambda: cuff(lambda left: 129, seed=6, spread=17, within=(104, 157))),
    "stan": ("Stan Stable", lambda: cuff(lambda left: 127, seed=7)),
    "anna": ("Anna Acquainted", lambda: cuff(lambda left: 133, seed=8, days=4)),
    "gina": ("Gina Glucose", lambda: stick(lambda left: 136, seed=9, meal=55)),
}


def readings(patient, told):
    """As the devices sent them; the last one came a few hours ago."""
    for left, values in told:
        at = NOW - timedelta(days=left) + timedelta(hours=8)
        if at <= NOW:
            yield a_reading(0, patient=patient, effective_at=at, received_at=at + timedelta(minutes=1),
                            event_id=uuid4(), utc_offset_minutes=-240, **values)  # fmt: skip


@asynccontextmanager
async def a_ward(fresh_database, people=PEOPLE):
    """The site with everybody measured; `ward.patients` by first name. Practice 2 sees none of it."""
    clinic = await a_clinic(fresh_database)
    made = {key: list(told()) for key, (_, told) in people.items()}
    for key, (name, _) in people.items():
        await clinic.new_patient(key, name)
    room = RiskRoom()
    everything = [one for key, told in made.items() for one in readings(clinic.patients[key], told)]
    everything.sort(key=lambda reading: reading.received_at)
    scored = []
    for start in range(0, len(everything), 300):
        async with clinic.pipeline() as conn:
            scored += await room.handle(conn, everything[start : start + 300], now=NOW)
    async with database.pool(Secret(clinic.web_dsn), size=6) as pool:
        yield Ward(clinic, pool, scored)


class Ward(Site):
    """The risk screens behind the product's own frame, on a clock the test owns."""

    def __init__(self, clinic, pool, scored):
        self.clinic, self.pool, self.now, self.scored = clinic, pool, NOW, scored
        self.desk = Desk(pool=pool, clock=lambda: self.now, rooms=("risk",), links=(), secure=False)
        self.app = site(self.desk, [router(self.desk, Dispositions())], static=("risk", "ccm_bridge"))
