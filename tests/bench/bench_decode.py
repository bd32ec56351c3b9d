"""What one decode costs: microseconds per message for every family, beside the standard library's bare json.loads.

`python -m tests.bench.bench_decode` prints the table.
"""

import json
from pathlib import Path
from time import process_time
from timeit import repeat

from ingest import devices

PACK = Path(__file__).parents[1] / "contract" / "devices"
CANONICAL = (
    b'{"id":"0b0e7a2c-7f0f-4d59-9a4e-1f2e9f3f8a11","device":"cuff-7","seq":41,"kind":"bp",'
    b'"measured_at":"2026-03-02T07:41:09","gateway_time":"2026-03-02T12:41:30Z","systolic":152,"diastolic":94,'
    b'"map":113,"pulse":78,"unit":"mm[Hg]","flags":["movement"]}'
)
SMALLEST = b'{"device":"cuff-7","kind":"bp","systolic":152,"diastolic":94}'


def microseconds(work, rounds: int = 3000) -> float:
    """Processor time, the best of five: the other four measured the machine."""
    return min(repeat(work, timer=process_time, number=rounds, repeat=5)) / rounds * 1e6


def first_message(family: str) -> bytes:
    vector = json.loads((PACK / f"{family}.json").read_text())["vectors"][0]
    return bytes.fromhex(vector["hex"]) if "hex" in vector else json.dumps(vector["json"]).encode()


def main() -> None:
    print(f"{'message':<32}{'bytes':>7}{'us':>8}{'x json.loads':>14}")
    cases = [
        ("canonical, every field", "canonical", CANONICAL),
        ("canonical, smallest", "canonical", SMALLEST),
    ]
    cases += [(name, name, first_message(name)) for name in devices.FAMILIES if name != "canonical"]
    for label, family, raw in cases:
        bare = microseconds(lambda raw=raw: json.loads(raw)) if raw[:1] in b"{[" else None
        ours = microseconds(lambda family=family, raw=raw: devices.decode(family, raw))
        ratio = f"{ours / bare:.1f}" if bare else "-"
        print(f"{label:<32}{len(raw):>7}{ours:>8.1f}{ratio:>14}")


if __name__ == "__main__":
    main()
