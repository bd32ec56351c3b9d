"""The hash chain: any change to any value of any row is found, and one change is one finding near its place."""

from datetime import UTC, date, datetime
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccm_bridge.chain import Fault, Head, canonical, genesis, seal, verify

values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(),
    st.binary(max_size=40),
    st.dates(),
    st.datetimes(timezones=st.just(UTC)),
    st.uuids(),
    st.lists(st.uuids(), max_size=3),
)
rows = st.dictionaries(st.sampled_from(["a", "b", "note", "span", "who"]), values, min_size=2)


def chained(contents, practice=1):
    prev, made = genesis("t", practice), []
    for seq, content in enumerate(contents, start=1):
        row = {**content, "seq": seq, "prev_hash": prev}
        prev = seal(row)
        made.append({**row, "hash": prev})
    return made


@given(contents=st.lists(rows, max_size=8))
def test_an_untouched_chain_is_whole(contents):
    assert verify("t", 1, chained(contents)) == []


@settings(deadline=None)
@given(contents=st.lists(rows, min_size=1, max_size=6), data=st.data())
def test_any_change_to_any_value_is_found(contents, data):
    chain = chained(contents)
    place = data.draw(st.integers(0, len(chain) - 1))
    column = data.draw(st.sampled_from([c for c in chain[place] if c not in ("seq", "prev_hash", "hash")]))
    other = data.draw(values)
    before = chain[place][column]
    if canonical({"x": other}) == canonical({"x": before}):
        return
    chain[place] = {**chain[place], column: other}
    found = verify("t", 1, chain)
    assert [(f.seq, f.fault) for f in found] == [(place + 1, Fault.ALTERED)]


@given(contents=st.lists(rows, min_size=3, max_size=8), data=st.data())
def test_a_row_taken_out_anywhere_but_at_the_end_is_found(contents, data):
    chain = chained(contents)
    place = data.draw(st.integers(0, len(chain) - 2))
    del chain[place]
    faults = {f.fault for f in verify("t", 1, chain)}
    assert {Fault.MISSING, Fault.UNLINKED} <= faults


@given(contents=st.lists(rows, min_size=1, max_size=6))
def test_a_cut_tail_is_found_by_the_anchor_alone(contents):
    chain = chained(contents)
    anchor = Head(seq=chain[-1]["seq"], hash=chain[-1]["hash"])
    assert verify("t", 1, chain, anchor=anchor) == []
    assert verify("t", 1, chain[:-1]) == []
    (cut,) = verify("t", 1, chain[:-1], anchor=anchor)
    assert (cut.fault, cut.seq) == (Fault.CUT, len(chain) - 1)
    assert cut.sentence == f"the chain ends at number {len(chain) - 1}, the anchor saw number {len(chain)}"


def test_a_rebuilt_chain_is_found_by_the_anchor():
    anchor = Head(seq=2, hash=chained([{"n": 1}, {"n": 2}, {"n": 3}])[1]["hash"])
    rebuilt = chained([{"n": 1}, {"n": 9}, {"n": 3}])
    assert verify("t", 1, rebuilt) == []
    assert [f.fault for f in verify("t", 1, rebuilt, anchor=anchor)] == [Fault.CUT]


def test_a_chain_of_another_practice_or_table_does_not_fit():
    chain = chained([{"n": 1}])
    assert verify("t", 2, chain)
    assert verify("u", 1, chain)


def test_one_altered_row_gives_one_finding_however_many_follow():
    chain = chained([{"n": n} for n in range(100)])
    chain[40] = {**chain[40], "n": -1}
    assert len(verify("t", 1, chain)) == 1


SPELLINGS = [
    ("keys are sorted", {"b": 1, "a": 2}, b'{"a":2,"b":1}'),
    ("true is not one", {"a": True}, b'{"a":true}'),
    ("no accents are lost", {"a": "Núñez"}, '{"a":"Núñez"}'.encode()),
    (
        "instants are UTC",
        {"a": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)},
        b'{"a":"2026-01-02T03:04:05.000006Z"}',
    ),
    ("dates are dates", {"a": date(2026, 1, 2)}, b'{"a":"2026-01-02"}'),
    ("bytes are hexadecimal", {"a": b"\x01\xff"}, b'{"a":"01ff"}'),
    ("ids are text", {"a": UUID(int=5)}, b'{"a":"00000000-0000-0000-0000-000000000005"}'),
    ("nothing is null", {"a": None, "b": []}, b'{"a":null,"b":[]}'),
]


@pytest.mark.parametrize(("row", "bytes_"), [s[1:] for s in SPELLINGS], ids=[s[0] for s in SPELLINGS])
def test_a_row_has_one_spelling(row, bytes_):
    assert canonical(row) == bytes_


def test_a_fraction_is_refused_because_languages_spell_it_differently():
    with pytest.raises(TypeError, match="cannot hold float"):
        canonical({"a": 0.1})


@pytest.mark.parametrize("missing", ["seq", "prev_hash", "hash"])
def test_a_row_without_its_place_cannot_be_verified(missing):
    (row,) = chained([{"a": 1}])
    with pytest.raises(TypeError, match="cannot be verified"):
        verify("t", 1, [{**row, missing: None}])


def test_what_is_missing_or_repeated_is_counted():
    chain = chained([{"n": n} for n in range(6)])
    gap = [f.sentence for f in verify("t", 1, chain[:2] + chain[4:]) if f.fault is Fault.MISSING]
    again = [f.sentence for f in verify("t", 1, chain[:3] + chain[1:3]) if f.fault is Fault.REPEATED]
    assert gap == ["rows missing before number 5: 2"]
    assert again == ["number 2 comes after number 3"]


def test_two_rows_that_differ_only_in_where_text_ends_have_different_hashes():
    assert seal({"a": "xy", "b": ""}) != seal({"a": "x", "b": "y"})
    assert seal({"a": str(uuid4())}) != seal({"a": str(uuid4())})
