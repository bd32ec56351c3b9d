"""Coverage-guided fuzzing of every decoder: `python -m tests.contract.fuzz_decoders --seconds 60`.

Needs the optional group `fuzz` (atheris). The seconds are shared among the families; each runs in a process of its own
with a memory limit, starts from the conformance pack, and mutates bytes as well as the nodes of JSON documents. Prints
executions, coverage, peak memory and crashes, and ends with 1 if there was a crash.
"""

import argparse
import importlib.util
import json
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PACK = Path(__file__).parent / "devices"
MEMORY_MB = 512
NASTY = [
    None,
    True,
    0,
    -1,
    1e308,
    10**39,
    "",
    "HI",
    "128.00",
    "1721382524000",
    "2026-02-30T07:41:09",
    [],
    {},
    [[]],
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--family", action="append", help="only this one; may be repeated")
    parser.add_argument("--inside", metavar="FAMILY", help=argparse.SUPPRESS)
    known, rest = parser.parse_known_args()
    if known.inside:
        return inside(known.inside, rest)
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed: it comes with the optional group `fuzz`")
        return 2
    families = known.family or sorted(file.stem for file in PACK.glob("*.json"))
    total = crashes = 0
    print(f"{'family':<30}{'executions':>12}{'edges':>8}{'peak MB':>9}{'crashes':>9}")
    for family in families:
        ran, edges, peak, crashed, output = one(family, max(1, known.seconds // len(families)))
        total, crashes = total + ran, crashes + crashed
        print(f"{family:<30}{ran:>12,}{edges:>8}{peak:>9}{crashed:>9}", flush=True)
        if crashed:
            print(output[-4000:])
    print(f"{'all':<30}{total:>12,}{'':>8}{'':>9}{crashes:>9}")
    return 1 if crashes else 0


def one(family: str, seconds: int) -> tuple[int, int, int, int, str]:
    """Fuzz one family in a child process."""
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds(family)):
            (Path(corpus) / f"seed-{number}").write_bytes(seed)
        command = [
            sys.executable, "-m", "tests.contract.fuzz_decoders", "--inside", family, corpus,
            f"-max_total_time={seconds}", f"-rss_limit_mb={MEMORY_MB}", "-timeout=5", "-max_len=4096",
            "-print_final_stats=1", f"-artifact_prefix={corpus}/",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    found = {name: int(value) for name, value in re.findall(r"stat::(\w+):\s+(\d+)", output)}
    edges = [int(count) for count in re.findall(r"cov: (\d+)", output)]
    return (
        found.get("number_of_executed_units", 0),
        max(edges, default=0),
        found.get("peak_rss_mb", 0),
        0 if done.returncode == 0 else 1,
        output,
    )


def seeds(family: str) -> list[bytes]:
    vectors = json.loads((PACK / f"{family}.json").read_text())["vectors"]
    found = []
    for vector in vectors:
        if "hex" in vector:
            found.append(bytes.fromhex(vector["hex"]) + bytes.fromhex(vector.get("context", "")))
        elif "json" in vector:
            found.append(json.dumps(vector["json"]).encode())
        else:
            found.append(vector["text"].encode())
    return [seed for seed in found if len(seed) <= 4096]


def inside(family: str, arguments: list[str]) -> int:
    import atheris

    with atheris.instrument_imports(include=["ingest"]):
        from ingest import devices, quality
        from ingest.devices import ble_glucose
        from ingest.devices.measurement import Measurement

    decode = devices.FAMILIES[family]

    def attempt(raw: bytes) -> None:
        answers = decode(raw)
        assert answers
        if family == "ble-glucose":
            answers += ble_glucose.decode(raw[:17], raw[17:])
        for said in answers:
            if isinstance(said, Measurement):
                quality.judge(said)

    def mutate(raw: bytes, most: int, seed: int) -> bytes:
        dice = random.Random(seed)
        if dice.random() < 0.5:
            try:
                return json.dumps(swapped(json.loads(raw), dice)).encode()[:most]
            except (ValueError, RecursionError):
                pass
        return atheris.Mutate(raw, most)

    atheris.Setup([sys.argv[0], *arguments], attempt, custom_mutator=mutate)
    atheris.Fuzz()
    return 0


def swapped(node: object, dice: random.Random) -> object:
    """The document with one node exchanged for something nasty, or gone."""
    if not isinstance(node, dict | list) or not node or dice.random() < 0.15:
        return dice.choice(NASTY)
    keys = list(node) if isinstance(node, dict) else list(range(len(node)))
    key = dice.choice(keys)
    copy = dict(node) if isinstance(node, dict) else list(node)
    if dice.random() < 0.1:
        del copy[key]
    else:
        copy[key] = swapped(node[key], dice)
    return copy


if __name__ == "__main__":
    raise SystemExit(main())
