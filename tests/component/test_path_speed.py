"""A few seconds of the whole path, so that a change which makes it crawl is seen at once; `make bench` measures."""

import time

import pytest

from tests.bench import test_bench_path as bench

pytestmark = pytest.mark.stack

READINGS, FLOOR = 1_200, 50


def test_the_whole_path_does_not_crawl_and_loses_nothing(product, monkeypatch):
    monkeypatch.setattr(bench, "DEVICES", 240)
    monkeypatch.setattr(bench, "READINGS_EACH_ROUND", READINGS)
    monkeypatch.setattr(bench, "PATIENCE_S", 25)
    began = time.monotonic()
    one = bench.saturated(product, bench.Crowd(product), hop_by_hop=False)
    assert set(one["stored"].values()) == {READINGS}, one["stored"]
    assert (one["acked"], one["refused"]) == (READINGS, 0)
    assert one["rate"] > FLOOR
    assert time.monotonic() - began < 30
