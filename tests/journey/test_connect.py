"""docs/connect.md as a newcomer meets it: every block is run as written, and every reading arrives."""

import os
import re
import shutil
import subprocess

import pytest

from deploy.native.stack import ROOT

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

BLOCKS = re.findall(
    r"^```sh( mosquitto)?\n(.*?)^```$", (ROOT / "docs" / "connect.md").read_text(), re.MULTILINE | re.DOTALL
)


def test_every_command_of_the_page_runs_as_written_and_every_reading_arrives(product, tmp_path):
    practice = product.practice(1)
    patient = product.patient(practice, "Connie", device="cuff-1", mrn="R-1001")
    other = product.patient(practice, "Rosa", mrn="R-1002")
    product.gateway(practice, "gw-1")
    for name in (".venv", "lamplight", "deploy", "ingest", "risk", "alerts", "ccm_bridge"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".lamplight").symlink_to(product.stack.folder)
    setup, *rest = [text for _, text in BLOCKS]
    told = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(tmp_path),
        # a house beside the code needs none of these
        **{
            f"LAMPLIGHT_{name}": product.told[f"LAMPLIGHT_{name}"]
            for name in ("DATABASE", "VENDOR_KEY", "REFUSAL_KEY")
        },
    }
    expected, refused = {148, 151, 149, 147, 146, 145}, 0
    for (needs, _), text in zip(BLOCKS[1:], rest, strict=True):
        if needs and shutil.which("mosquitto_pub") is None:
            continue  # a client of the page's choice, not a part of ours
        done = subprocess.run(
            ["bash", "-euc", setup + text], cwd=tmp_path, env=told, capture_output=True, text=True, timeout=90
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        refused += sum(map(int, re.findall(r"acknowledged, (\d+) refused", done.stderr)))
        product.until("SELECT count(*) FROM ingest.refusal", is_true=lambda kept, told=refused: kept >= told)
        if needs:
            expected |= {int(value) for value in re.findall(r'"systolic":(\d+)', text)}
        if "mosquitto_rr" in text:
            assert '"acked":["5a1e5b1c-1f0e-4d6e-9d3c-2f1a7c0b9d01"]' in done.stdout, done.stderr
    product.until(
        "SELECT array_agg(DISTINCT systolic::int) FROM ingest.reading WHERE patient_id = %s",
        patient,
        is_true=lambda found: set(found or ()) == expected,
    )
    product.until(
        "SELECT array_agg(systolic::int) FROM ingest.reading WHERE patient_id = %s",
        other,
        is_true=lambda found: found == [144],
    )
    product.until(
        "SELECT array_agg(state ORDER BY received_at) FROM ingest.refusal",
        is_true=lambda found: found == ["released", "resolved"],
    )
