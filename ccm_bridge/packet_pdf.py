"""The audit packet on paper: what was supported, why, by whose minutes, and the proof; from the packet's own data."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from fpdf.enums import XPos, YPos

from ccm_bridge.billing.words import counted
from ccm_bridge.enrolment import PAYERS
from ccm_bridge.ledger import ACTIVITIES
from ccm_bridge.paper import INK, MUTED, Paper
from ccm_bridge.tasks import move_words

FOUND = {
    "MET": "met",
    "WARN": "look",
    "EXCLUDE": "not counted",
    "HOLD": "a person decides",
    "BLOCK": "no",
}


POOLS = {
    "CCM_STAFF": "CCM by staff",
    "CCM_PERSONAL": "CCM by the practitioner",
    "PCM_STAFF": "PCM by staff",
    "PCM_PERSONAL": "PCM by the practitioner",
}
"""What the month's counted minutes are called."""


def pdf(plain: Mapping[str, Any], *, codes: Mapping[str, str]) -> bytes:
    """The packet's pages. `codes` gives our own words for each code: the official descriptors are not ours to print."""
    about, patient = plain["packet"], plain["patient"]
    zone = ZoneInfo(about["zone"])
    foot = f"{about['practice']}   ·   {patient['mrn']}   ·   {about['month']}   ·   sha256 {plain['sha256']}"
    paper = Paper(foot)
    paper.set_title(f"Audit packet {about['month']}")
    paper.set_creator("Lamplight")
    paper.set_creation_date(datetime.fromisoformat(about["made_at"]))
    paper.add_page()

    paper.set_font("sans", "B", 17)
    paper.set_text_color(*INK)
    paper.cell(0, 9, "Audit packet", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    paper.say(
        f"{patient['name']}, born {patient['born']}, record {patient['mrn']}   ·   care management in {about['month']}",
        size=10,
    )
    paper.say(
        f"{about['practice']}. Made {_at(about['made_at'], zone)} ({about['zone']}) by {about['made_by']}; the month is "
        f"{about['status']}. The same packet exists as JSON; its SHA-256 stands at the foot of each page.",
        muted=True,
    )
    _supported(paper, plain, codes)
    _ground(paper, plain, zone)
    _minutes(paper, plain, zone)
    _devices(paper, plain, zone)
    _work(paper, plain, zone)
    _letters(paper, plain, zone)
    _signed(paper, plain, zone)
    _trace(paper, plain)
    _proof(paper, plain)
    return bytes(paper.output())


def _supported(paper: Paper, plain: Mapping[str, Any], codes: Mapping[str, str]) -> None:
    decision = plain["locked"]["decision"] if plain["locked"] else plain["decision"]
    paper.head("What the month supports")
    if not decision["lines"]:
        paper.say("No code is supported.")
    else:
        paper.rows(
            (16, 74, 12, 26, 18, 18, 18),
            ("Code", "In our words", "Units", "Date of service", "Allowed", "Medicare", "Patient"),
            [
                (
                    line["code"],
                    codes.get(line["code"], ""),
                    str(line["units"]),
                    line["date_of_service"] or "–",
                    *(
                        str(line[name]) if line[name] is not None else "–"
                        for name in ("allowed", "medicare", "patient")
                    ),
                )
                for line in decision["lines"]
            ],
        )
    held = ", ".join(f"{code} ×{units}" for code, units in decision["held"].items())
    paper.say(
        f"Rules {decision['rule_set'] or 'unknown'}, prices {decision['price_set'] or 'unknown'} (national, unadjusted, "
        f"non-facility). {'Held for a person to decide: ' + held + '. ' if held else ''}"
        f"{'Something is not known yet. ' if decision['hold'] else ''}Original Medicare only; not legal or coding advice.",
        size=7,
        muted=True,
    )


def _ground(paper: Paper, plain: Mapping[str, Any], zone: ZoneInfo) -> None:
    enrolled, plan = plain["enrolment"], plain["care_plan"]
    paper.head("What it rests on")
    rows = []
    if enrolled:
        listed = "; ".join(
            f"{c['name']} {c['icd10']} ({c['chronic_months']} months)" for c in enrolled["conditions"]
        )
        rows += [
            ("Programmes", ", ".join(enrolled["programs"])),
            ("Conditions", listed),
            (
                "Significant risk",
                _three(enrolled["significant_risk_documented"], "stated by the practitioner"),
            ),
            ("Initiating visit", enrolled["initiating_visit"] or ""),
            ("Payer", f"{_payer(enrolled['payer'])} ({enrolled['payer_checked_on'] or 'no date'})"),
            ("Practitioner", enrolled["practitioner_name"] or ""),
        ]
    for consent in plain["consents"]:
        said = "accepted" if consent["accepted"] else "declined"
        ends = f"; revoked {_at(consent['revoked_at'], zone)}" if consent["revoked_at"] else ""
        rows.append(
            (
                f"Consent {consent['program']}",
                (
                    f"{said} {_at(consent['given_at'], zone)}, {consent['method']}, in {consent['language']}, by "
                    f"{consent['given_by']}; explained by {consent['explained_by_name']}: "
                    f"{', '.join(word.replace('_', ' ') for word in consent['explained'])}{ends}"
                ),
            )
        )
    if plan:
        signed = (
            f"signed by {plan['signed_by_name']} {_at(plan['signed_at'], zone)}"
            if plan["signed_at"]
            else "not signed"
        )
        rows.append(
            ("Care plan", f"version {plan['version']}, drafted by {plan['drafted_by_name']}; {signed}")
        )
        rows += [
            ("", f"{p['name']} ({p['icd10']}): {p['outcome']}; goal {p['goal']}")
            for p in plan["content"]["problems"]
        ]
    rows += [
        (
            "Copy of the plan",
            f"version {copy['version']} to {copy['given_to']}, {copy['how']}, {_at(copy['given_at'], zone)}",
        )
        for copy in plain["care_plan_copies"]
    ]
    rows += [
        (
            one["kind"].replace("_", " ").capitalize(),
            " ".join(
                part
                for part in (one["code"], one["from_at"] and f"from {_at(one['from_at'], zone)}", one["note"])
                if part
            )
            + f" ({one['recorded_by_name']}, {_at(one['recorded_at'], zone)})",
        )
        for one in plain["circumstances"]
    ]
    paper.pairs(rows)


def _minutes(paper: Paper, plain: Mapping[str, Any], zone: ZoneInfo) -> None:
    paper.head("Minutes, counted and not")
    counted = ", ".join(
        f"{minutes} min {POOLS.get(name, name)}"
        for name, minutes in plain["decision"]["counted_minutes"].items()
        if minutes
    )
    paper.say(
        f"Counted after the rules: {counted or 'none'}. Seconds are summed for the month and floored once."
    )
    paper.ln(1)
    paper.rows(
        (27, 13, 14, 30, 66, 34),
        ("When", "Time", "For", "By", "Work, in the person's own words", "Counts"),
        [
            (
                f"{_at(e['start'], zone)}\nto {_at(e['end'], zone)[-5:]}",
                _clock(e),
                e["program"],
                f"{e['staff_name']}, {e['credential']}\n{'timer' if e['source'] == 'timer' else 'by hand, attested'}",
                (
                    f"{ACTIVITIES.get(e['activity'], e['activity'])}; {e['contact'].replace('_', ' ')}"
                    f"{' with ' + e['contact_with'] if e['contact_with'] else ''}{', live' if e['interactive'] else ''}. "
                    f"{e['note']}{' Outcome: ' + e['outcome'] if e['outcome'] else ''}"
                ),
                _counts(e),
            )
            for e in sorted(plain["entries"], key=lambda e: (e["start"], e["seq"]))
        ],
    )


def _counts(entry: Mapping[str, Any]) -> str:
    if entry["void"]:
        return f"void: {entry['void']['reason']}"
    out = [f"{one['seconds'] // 60} min {one['says']} ({one['rule']})" for one in entry["excluded"]]
    return "; ".join((out or ["counts"]) + [f"{one['says']} ({one['rule']})" for one in entry["remarks"]])


def _devices(paper: Paper, plain: Mapping[str, Any], zone: ZoneInfo) -> None:
    if not plain["device_windows"] and not plain["readings"]:
        return
    paper.head("Device days")
    for window in plain["device_windows"]:
        paper.say(f"{window['start']} to {window['end']}: readings on {window['days']} of 30 days.")
    if plain["readings"]:
        paper.ln(1)
        paper.rows(
            (30, 46, 38, 22, 48),
            ("Measured", "Value", "Device, gateway", "Received", "SHA-256 of the bytes"),
            [
                (
                    _at(r["effective_at"], zone),
                    r["value"],
                    f"{r['device_id']}, {r['gateway_id']}",
                    _at(r["received_at"], zone)[5:],
                    r["raw_sha256"][:24],
                )
                for r in plain["readings"]
            ],
        )
        paper.say("The bytes themselves are in the JSON packet (raw_hex).", size=7, muted=True)


def _work(paper: Paper, plain: Mapping[str, Any], zone: ZoneInfo) -> None:
    if not plain["tasks"] and not plain["episode_moves"]:
        return
    paper.head("Work and where it came from")
    by_episode: dict[str, list[Mapping[str, Any]]] = {}
    for move in plain["episode_moves"]:
        by_episode.setdefault(move["episode_id"], []).append(move)
    for task in plain["tasks"]:
        paper.say(
            f"{task['title']} ({task['state']}): {task['reason']}{' Outcome: ' + task['outcome'] if task['outcome'] else ''}"
        )
        _moves(paper, by_episode.pop(task["episode_id"] or "", ()), zone)
    for moves in by_episode.values():
        paper.say(f"An alert settled in a call, without a task: {moves[0]['reason']}")
        _moves(paper, moves, zone)


def _moves(paper: Paper, moves: Iterable[Mapping[str, Any]], zone: ZoneInfo) -> None:
    for move in moves:
        paper.say(
            f"    {_at(move['at'], zone)}  {move_words(move['move'])}, {move['severity']}: {move['reason']} "
            f"[{counted(len(move['readings']), 'reading')}, caused by {move['caused_by'][:8]}]",
            size=7,
            muted=True,
        )


def _letters(paper: Paper, plain: Mapping[str, Any], zone: ZoneInfo) -> None:
    """What the patient, and whom the patient allowed to be told, were given to read."""
    if not plain["letters"]:
        return
    paper.head("Letters given")
    for one in plain["letters"]:
        allowed = f", allowed {one['permission']}" if one["permission"] else ""
        paper.say(
            f"To {one['given_to']}, {one['how']}, {_at(one['given_at'], zone)} by {one['recorded_by_name']}{allowed}. "
            f"Reading level: grade {one['grade']}."
        )
        paper.say(one["words"], size=7, muted=True)


def _signed(paper: Paper, plain: Mapping[str, Any], zone: ZoneInfo) -> None:
    paper.head("Review and signature")
    if not plain["reviews"]:
        paper.say("Nobody has reviewed this month yet.")
    paper.pairs(
        (
            review["step"].capitalize(),
            f"{review['by_name']}, {_at(review['at'], zone)}{': ' + review['note'] if review['note'] else ''}",
        )
        for review in plain["reviews"]
    )


def _trace(paper: Paper, plain: Mapping[str, Any]) -> None:
    decision = plain["locked"]["decision"] if plain["locked"] else plain["decision"]
    paper.head("How it was decided")
    paper.rows(
        (13, 22, 76, 73),
        ("Rule", "Found", "Says", "Source"),
        [
            (
                step["rule"],
                FOUND.get(step["outcome"], step["outcome"]),
                step["says"] + (f" Where the text leaves room: {step['default']}" if step["default"] else ""),
                step["source"] + (f" (since {step['effective']})" if step["effective"] else ""),
            )
            for step in decision["trace"]
        ],
    )


def _proof(paper: Paper, plain: Mapping[str, Any]) -> None:
    proof = plain["chain"]
    paper.head("Proof of the ledger")
    rows = ", ".join(
        f"{count} {name.replace('_', ' ')} rows" for name, count in proof["rows_verified"].items()
    )
    verdict = "every one fits" if not proof["findings"] else "; ".join(proof["findings"])
    paper.say(f"When this packet was made, the practice's chains were hashed anew: {rows}: {verdict}.")
    anchor = proof["newest_anchor"]
    paper.say(
        f"Newest signed anchor: {anchor['day']}, key {anchor['key_id']}."
        if anchor
        else "No anchor has been signed yet.",
        muted=True,
    )
    paper.ln(1)
    for entry in plain["entries"]:
        paper.set_font("mono", size=6)
        paper.set_text_color(*MUTED)
        paper.cell(0, 3.2, f"{entry['seq']:>6}  {entry['hash']}", new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def _payer(payer: str | None) -> str:
    return PAYERS.get(payer, payer) if payer else "not checked"


def _at(text: str, zone: ZoneInfo) -> str:
    return datetime.fromisoformat(text).astimezone(zone).strftime("%Y-%m-%d %H:%M")


def _clock(entry: Mapping[str, Any]) -> str:
    seconds = int(
        (datetime.fromisoformat(entry["end"]) - datetime.fromisoformat(entry["start"])).total_seconds()
    )
    return f"{seconds // 60}:{seconds % 60:02d}"


def _three(value: bool | None, yes: str) -> str:  # noqa: FBT001 - the three-valued truth itself
    return {True: yes, False: "no", None: "nobody has said"}[value]
