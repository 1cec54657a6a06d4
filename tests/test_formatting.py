"""CSV for spreadsheets: no cell is a formula, and all else is unchanged."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineup.formatting import csv_text, short_duration

FORMULAS = ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "=cmd|' /C calc'!A0", '=HYPERLINK("http://a.b","c")', "-1.5e", "-", "+"]
HIDDEN = [
    " =1",
    "\t=1",
    "\r=1",
    "\n=1",
    "\u00a0=1",
    "\ufeff=1",
    "\u200b=1",
    "\0=1",
    " \t +1+1",
    "＝1",
    "﹢1+1",
    "－a",
    "−a",
]
AS_THEY_ARE = [
    "jay",
    "",
    "a=b",
    "1-2",
    "'=1",
    "sémantique; ü 猫",
    "-1.5",
    "+3",
    "-2e-05",
    'the "blue" one',
    "a\r\nb",
    "_@",
]
CELLS = st.one_of(
    st.none(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.tuples(
        st.sampled_from([" ", "\t", "\r", "\n", "\u00a0", ""]), st.sampled_from("=+-@"), st.text("a1+(;\"',\n")
    ).map("".join),
)


def parsed(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline="")))


@pytest.mark.parametrize("text", FORMULAS + HIDDEN)
def test_text_that_begins_as_a_formula_gets_an_apostrophe(text):
    assert parsed(csv_text([{"a": "b", "label": text}]))[1] == ["b", "'" + text]


@pytest.mark.parametrize("text", AS_THEY_ARE)
def test_other_text_is_unchanged_in_csv(text):
    assert parsed(csv_text([{"a": "b", "label": text}]))[1] == ["b", text]


def test_numbers_stay_numbers_in_csv():
    values = {"a": -1.5, "b": -3, "c": 0.25, "d": True, "e": None}
    assert csv_text([values]) == "\ufeffa,b,c,d,e\r\n-1.5,-3,0.25,True,\r\n"


def test_headings_of_csv_are_no_formulas():
    assert csv_text([{"=a": 1}]) == "\ufeff'=a\r\n1\r\n"


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5))
def test_any_cells_round_trip_through_csv_without_a_formula(rows):
    text = csv_text([{"first": first, "second": second} for first, second in rows])
    assert text.encode().startswith(b"\xef\xbb\xbf")
    header, *read = parsed(text)
    assert header == ["first", "second"]
    for cells, values in zip(read, rows, strict=True):
        for cell, value in zip(cells, values, strict=True):
            text = "" if value is None else str(value)
            assert cell in (text, "'" + text)
            if isinstance(value, str) and cell.strip()[:1] in tuple("=+-@"):
                float(cell)  # no formula: a number


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "1 s"), (99.4, "99 s"), (150, "2 min"), (3599, "1 h 0 min"), (7500, "2 h 5 min")]
)
def test_durations_are_rounded(seconds, text):
    assert short_duration(seconds) == text
