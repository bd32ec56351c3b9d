"""Operations: with every rule on, how many alerts would real people's diaries make, and about what."""

import csv
import gzip
from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pytest

from risk.events import Tier
from risk.replay import Episodes, NoReading, reading_of, replay
from risk.scoring import Model
from risk.store import packaged_model
from tests.evaluation.conftest import DATA, ROOT

pytestmark = [pytest.mark.evaluation, pytest.mark.timeout(3600)]
MONTH = 30.4 * 86400


def fingersticks():
    with gzip.open(DATA / "fingersticks.csv.gz", "rt", newline="") as source:
        for line, row in enumerate(csv.DictReader(source), start=2):
            value = row["glucose_mgdl"] or row["raw_value"]
            yield reading_of(
                {
                    "patient_id": row["patient_id"],
                    "effective_at": row["ts"],
                    "kind": "glucose",
                    "glucose_mgdl": value,
                    "context": row["context"],
                },
                line=line,
            )


def cuffs():
    for file in sorted((ROOT / "ingest" / "gateway" / "diaries").glob("welltory-*.csv")):
        seen = set()
        with file.open(newline="") as source:
            for line, row in enumerate(csv.DictReader(source), start=2):
                at = datetime.fromisoformat(row["ts"])
                shadow = (at.date(), row["systolic"], row["diastolic"], at.minute, at.second)
                flag = "echo" if shadow in seen else ""  # the same reading a whole number of hours later
                seen.add(shadow)
                told = {
                    "patient_id": file.stem,
                    "effective_at": row["ts"],
                    "systolic": row["systolic"],
                    "diastolic": row["diastolic"],
                    "flag": flag,
                }
                yield reading_of(told, line=line)


def watched(readings):
    """Alerts with their tiers by person, and the months each was watched."""
    kept = sorted((r for r in readings if not isinstance(r, NoReading)), key=lambda r: r.effective_at)
    episodes, alerts, span, seen = Episodes(), {}, {}, Counter()
    for one in replay(kept, model=packaged_model()):
        if one.findings and episodes.opens(one):
            assert all(finding.reason.endswith((".", "!")) and finding.rule for finding in one.findings)
            alerts.setdefault(one.patient_id, []).append(one)
        first, _ = span.get(one.patient_id, (one.effective_at, None))
        span[one.patient_id] = (first, one.effective_at)
        seen[one.patient_id] += 1
    watched = {person: max((b - a).total_seconds() / MONTH, 7 / 30.4) for person, (a, b) in span.items()}
    return alerts, watched, seen


def rate(alerts, months, people, *, tiers=tuple(Tier)):
    told = sum(1 for person in people for one in alerts.get(person, ()) if one.tier in tiers)
    return told / sum(months[person] for person in people)


def test_alerts_of_real_diaries(report):
    rows, everything = [], [0.0, 0.0]
    for name, readings in (("fingersticks", list(fingersticks())), ("home pressure", list(cuffs()))):
        alerts, months, seen = watched(readings)
        people = sorted(months)
        pages = rate(alerts, months, people, tiers=(Tier.HIGH, Tier.CRITICAL))
        about = Counter(
            finding.concern.value for told in alerts.values() for one in told for finding in one.findings[:1]
        )
        everything = [everything[0] + sum(map(len, alerts.values())), everything[1] + sum(months.values())]
        rows.append(
            f"| {name} | {len(people)} | {sum(months.values()):.0f} | {rate(alerts, months, people):.2f} | {pages:.2f} | "
            f"{len(alerts) / len(people):.0%} | {', '.join(f'{c} {n}' for c, n in about.most_common())} |"
        )
        if name == "fingersticks":
            a_day = {person: seen[person] / months[person] / 30.4 for person in people}
            cuts = np.quantile(list(a_day.values()), (1 / 3, 2 / 3))
            paper = {r.patient_id for r in readings if not isinstance(r, NoReading)}
            on_the_hour = Counter(
                r.patient_id
                for r in readings
                if not isinstance(r, NoReading) and r.effective_at.astimezone(UTC).minute == 0
            )
            paper = {person for person in people if on_the_hour[person] > 0.9 * seen[person]}
            for part, members in (
                (f"fewer than {cuts[0]:.1f} readings a day", [p for p in people if a_day[p] < cuts[0]]),
                ("between", [p for p in people if cuts[0] <= a_day[p] < cuts[1]]),
                (f"{cuts[1]:.1f} and more", [p for p in people if a_day[p] >= cuts[1]]),
                ("paper log (nine in ten on the full hour)", [p for p in people if p in paper]),
                ("meter", [p for p in people if p not in paper]),
            ):
                if members:
                    rows.append(
                        f"| — {part} | {len(members)} | {sum(months[p] for p in members):.0f} | {rate(alerts, months, members):.2f} | "
                        f"{rate(alerts, months, members, tiers=(Tier.HIGH, Tier.CRITICAL)):.2f} | | |"
                    )
    whole = everything[0] / everything[1]
    assert whole <= 3.0
    assert Model().version
    report.say(
        "operations",
        "## Alerts per patient-month, every rule on",
        "",
        "An alert is an episode that opens or worsens; one episode per person and concern, closed by a week without a finding. Missing-data alerts",
        f"come from another room and are not counted here. Over everybody: **{whole:.2f}** per patient-month (a Dutch programme had 14.6, of which 3.1 were handled by",
        "a person). Every alert carries its sentence and its rule.",
        "",
        "| whose | people | months | alerts per patient-month | of these high or critical | people alerted | about |",
        "|---|---|---|---|---|---|---|",
        *rows,
    )
