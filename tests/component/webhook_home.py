"""A home whose cuff and meter every vendor's cloud has, and the webhooks service in this process."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
from datetime import timedelta

import httpx

from deploy import bus, database
from deploy.settings import Secret
from ingest.ihealth_cloud import IHealth
from ingest.seal import Seal
from ingest.service import Intake
from ingest.store import Registry
from ingest.stream import Stream
from ingest.webhook_service import Door, Lane, fetch
from ingest.webhook_store import Client, Webhooks
from ingest.webhook_web import app
from ingest.webhooks import VENDORS, Scheme, Source, Vendor
from tests.ingest_home import Counting, Home, utc_now

KEY = "a key that only the tests have"
SECRET = "sesame"


class Cast(Home):
    """The home of the other tests, with a source for each vendor whose cuff and meter Maria has."""

    def source(self, vendor):
        return f"cloud-{vendor}-{self.mark}"

    @property
    def sources(self):
        return [self.source(vendor) for vendor in Vendor]

    @contextlib.asynccontextmanager
    async def stored(self):
        async with database.pool(Secret(self.fresh.pipeline)) as pool:
            yield Webhooks(pool, Seal([KEY]))

    async def subscribe(self):
        keys = {"redirect_uri": "https://us.example", "sc": "s", "sv_bp": "b", "sv_glucose": "g"}
        ours = Client(client_id="us", client_secret="our secret", more=keys)
        async with self.stored() as stored:
            for vendor, rule in VENDORS.items():
                made = Source(
                    source_id=self.source(vendor),
                    vendor=vendor,
                    scheme=rule.scheme,
                    header=rule.header,
                    secrets=(SECRET,),
                )
                assert await stored.add(made, practice_id=1, client=ours)
        return self

    def call(self, vendor, body):
        """Where and with which proof this vendor posts this body."""
        name, headers = self.source(vendor), {"content-type": "application/json"}
        match VENDORS[vendor].scheme:
            case Scheme.HEADER:
                headers[VENDORS[vendor].header] = SECRET
            case Scheme.BASIC:
                headers["authorization"] = "Basic " + base64.b64encode(f"{name}:{SECRET}".encode()).decode()
            case Scheme.HMAC:
                signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
                headers[VENDORS[vendor].header] = f"sha256={signature}"
        key = f"?key={SECRET}" if VENDORS[vendor].scheme is Scheme.URL else ""
        return {"url": f"/hooks/{vendor}/{name}{key}", "content": body, "headers": headers}

    @contextlib.asynccontextmanager
    async def hooks(self, cloud=None):
        """The service in this process, without a socket."""
        meter, stopping = Counting(), asyncio.Event()
        async with database.pool(Secret(self.fresh.pipeline)) as pool:
            stream = Stream(lambda: bus.producer(self.stack.kafka))
            intake = Intake(Registry(pool), stream, clock=utc_now, meter=meter)
            lane = Lane(intake, clock=utc_now, meter=meter)
            stored = Webhooks(pool, Seal([KEY]))
            tasks = [asyncio.create_task(lane.run())]
            ages = Posts()
            if cloud is not None:
                vendor = Vendor.IHEALTH if isinstance(cloud, IHealth) else Vendor.WITHINGS
                fetching = fetch(stored, {vendor: cloud}, lane, clock=utc_now, meter=ages, stopping=stopping)
                tasks.append(asyncio.create_task(fetching))
            transport = httpx.ASGITransport(app=app(Door(stored, lane, clock=utc_now), ages))
            async with httpx.AsyncClient(transport=transport, base_url="http://hooks", timeout=30) as client:
                client.meter, client.posts = meter, ages
                try:
                    yield client
                finally:
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)
                    await stream.close()

    def told(self, port):
        return {
            "LAMPLIGHT_VENDOR_KEY": KEY,
            "LAMPLIGHT_WEBHOOKS_PORT": str(port),
        }


class Posts:
    def __init__(self):
        self.seen, self.age = [], 0.0

    def post(self, vendor, outcome):
        self.seen.append((str(vendor), outcome))

    def waiting_since(self, seconds):
        self.age = seconds


def bodies(home, minutes_ago=30):
    """One post of each vendor that posts readings, in its own words, all of the same moment: 131 to 136 over 80."""
    at = (utc_now() - timedelta(minutes=minutes_ago)).replace(microsecond=0)
    zulu, seconds = at.strftime("%Y-%m-%dT%H:%M:%SZ"), int(at.timestamp())
    cuff = home.cuff
    return {
        Vendor.TENOVI: [
            {"metric": "blood_pressure", "hwi_device_id": cuff, "value_1": "131.00", "value_2": "80.00", "timestamp": zulu},
            {"metric": "pulse", "hwi_device_id": cuff, "value_1": "70.00", "value_2": None, "timestamp": zulu},
        ],
        Vendor.SMART_METER: {
            "reading_id": 7, "imei": cuff, "reading_type": "blood_pressure", "date_recorded": zulu,
            "systolic_mmhg": 132, "diastolic_mmhg": 80, "pulse_bpm": 70,
        },
        Vendor.TELLI: {
            "readingType": "BloodPressure", "deviceId": cuff, "time": str(seconds * 1000),
            "data": {"systolic": 133, "diastolic": 80, "pulse": 70, "arrhythmia": 0},
        },
        Vendor.IHEALTH: {
            "BPDataList": [{
                "DataID": "d-1", "MDeviceMac": cuff, "HP": 134, "LP": 80, "HR": 70, "DataSource": "FromDevice",
                "MDate": seconds, "TimeZone": "+0000",
            }],
            "BPUnit": 0,
        },
        Vendor.VALIDIC: {
            "log_id": "l-1", "end_time": zulu, "utc_offset": 0, "source": {"device": {"id": cuff}},
            "metrics": [
                {"type": "systolic", "unit": "mmHg", "value": 135}, {"type": "diastolic", "unit": "mmHg", "value": 80},
            ],
        },
        Vendor.IMPILO: {
            "id": "i-1", "deviceIdentifier": cuff, "systolic": 136, "diastolic": 80, "systolicUnit": "mmHg",
            "readingTimestamp": zulu,
        },
    }  # fmt: skip


def as_bytes(body):
    return json.dumps(body).encode()


def fingersticks(home, count):
    at = utc_now() - timedelta(hours=5)
    for n in range(count):
        moment = int((at + timedelta(minutes=n, seconds=n)).timestamp() * 1000)
        body = {
            "readingType": "BloodGlucose",
            "deviceId": home.meter,
            "time": str(moment),
            "data": {"glucose": 90 + n},
        }
        yield home.call(Vendor.TELLI, as_bytes(body))
