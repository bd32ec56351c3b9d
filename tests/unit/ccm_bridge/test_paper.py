"""Tables on paper: every word is printed once, within its column, and heads stand on every page."""

import io

import pypdfium2
from hypothesis import given
from hypothesis import strategies as st

from ccm_bridge.paper import Paper, wrapped


def drawn(rows):
    """The text of each page of a table of three columns."""
    paper = Paper("foot")
    paper.add_page()
    paper.rows((20, 40, 120), ("When", "Who", "What"), rows)
    document = pypdfium2.PdfDocument(io.BytesIO(bytes(paper.output())))
    return [page.get_textpage().get_text_range() for page in document]


@given(st.text("abc i\n", max_size=200), st.integers(1, 30))
def test_lines_fit_the_room_and_keep_every_letter(words, room):
    lines = wrapped(words, room, len)
    assert all(len(line) <= room for line in lines)
    assert "".join(lines).replace(" ", "") == "".join(words.split())


def test_a_long_table_repeats_its_heads_and_tears_no_row():
    pages = drawn([(f"day {n}", "Ana", f"first{n} " + "words " * 60 + f"last{n}") for n in range(60)])
    assert len(pages) > 1
    assert all(page.count("What") == 1 for page in pages)
    for n in range(60):
        (here,) = [page for page in pages if f"first{n} " in page]
        assert f"last{n}" in here.replace("\r\n", " ").split()


def test_a_row_that_is_longer_than_a_page_goes_on_overleaf():
    pages = drawn([("day", "Ana", " ".join(f"word{n}" for n in range(3000)))])
    text = " ".join(pages)
    assert len(pages) > 1
    assert all(f"word{n}" in text for n in range(3000))


def test_a_table_without_rows_is_its_heads():
    (page,) = drawn([])
    assert "When" in page


def test_letters_of_names_are_in_the_face():
    (page,) = drawn([("—", "Núñez → Łukasz", "“swollen” ×2")])
    assert "Núñez → Łukasz" in page
