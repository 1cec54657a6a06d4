"""The comparison table: as HTML, CSV and JSON, and that external text is escaped."""

import csv
import io
import json
from urllib.parse import unquote

from rendering import HOSTILE, HOSTILE_ANSWER, Tags, classification

from lineup.analysis.comparison import row
from lineup.errors import BackboneError
from lineup.page import comparison_table
from lineup.registry import published
from lineup.results import BackboneStatus, LatencyStats, Prediction

KNOWN = {"parameters": 11_689_512, "download_bytes": 46_800_000, "license": "apache-2.0"}
PUBLISHED = {"imagenet_top1": 71.504, "gmacs": 1.82}
FIRST = row(
    BackboneStatus("a", "timm", "ready", **KNOWN, figures=PUBLISHED), LatencyStats(3, 25.12, 20.0), classification()
)
AWKWARD = 'jay, "the\nblue" one; ü 猫 # & % +'
ROWS = [
    FIRST,
    row(BackboneStatus("b", "timm", "unavailable"), None, BackboneError("", "", "b: it is broken; fix it")),
    row(BackboneStatus(HOSTILE, "timm", "ready"), LatencyStats(1, 2.0, 2.0), HOSTILE_ANSWER),
    row(
        BackboneStatus(AWKWARD, "timm", "ready"), None, classification(predictions=(Prediction(0, None, AWKWARD, 0.5),))
    ),
]


def cells(html: str) -> list[list[tuple[str | None, str]]]:
    """Return the value and the text of each cell, row by row."""
    rows = html.partition("<tbody>")[2].partition("</tbody>")[0].split("</tr>")[:-1]
    parts = [[Tags(f"{cell}</td>") for cell in row.replace("</th>", "</td>").split("</td>")[:-1]] for row in rows]
    return [[(part.elements[-1][1]["data-value"], part.text.removesuffix("\n")) for part in row] for row in parts]


def links(html: str) -> dict[str, str]:
    return {attributes["download"]: attributes["href"] for tag, attributes in Tags(html).elements if tag == "a"}


def downloaded(name: str) -> str:
    return unquote(links(comparison_table.table(ROWS))[name].partition(",")[2], errors="strict")


def test_caption_names_the_sources_of_figures_and_times():
    text = Tags(comparison_table.table([FIRST])).text
    source = f"{published.SOURCE}, and for its own weights by torchvision."
    assert f"{source} Times are forward passes on this machine." in text


def test_cell_has_a_sort_value_and_a_display_text():
    (cell_values,) = cells(comparison_table.table([FIRST]))
    assert dict(zip(comparison_table.COLUMNS, cell_values, strict=True)) == {
        "backbone": ("a", "a"),
        "label": ("jay", "jay"),
        "probability": ("0.9", "90.0%"),
        "last_ms": ("25.12", "25.1"),
        "median_ms": ("20.0", "20.0"),
        "runs": ("3", "3"),
        "parameters": ("11689512", "11.7 M"),
        "input_size": ("256 × 224", "256 × 224"),
        **dict.fromkeys(published.FIGURES, ("", "")),
        "imagenet_top1": ("71.504", "71.504"),
        "gmacs": ("1.82", "1.82"),
        "license": ("apache-2.0", "apache-2.0"),
        "download_bytes": ("46800000", "46.8 MB"),
    }


def test_every_column_has_a_heading():
    heads = comparison_table.table([FIRST]).partition("<thead>")[2].partition("</thead>")[0]
    assert Tags(heads).text.splitlines() == [heading for heading, _ in comparison_table.COLUMNS.values()]


def test_unknown_value_is_an_empty_cell():
    name, *others = cells(comparison_table.table(ROWS))[1]
    assert name == ("b", "b")
    assert set(others) == {("", "")}


def test_external_text_is_escaped():
    html = comparison_table.table(ROWS)
    assert "img" not in [tag for tag, _ in Tags(html).elements]
    assert cells(html)[2][:2] == [(HOSTILE, HOSTILE), (HOSTILE, HOSTILE)]


def test_table_names_the_source_of_its_figures():
    assert published.SOURCE in Tags(comparison_table.table([FIRST])).text


def test_note_on_figures_is_shown_once_below_the_table():
    notes = {"a": "of <another> file", "b": "", "c": "of <another> file", "d": "half"}
    rows = [row(BackboneStatus(name, "timm", "ready", figures_note=note), None) for name, note in notes.items()]
    lines = Tags(comparison_table.table(rows)).text.splitlines()
    assert lines[-2:] == ["a, c: of <another> file.", "d: half."]
    assert [row.figures_note for row in rows] == ["of <another> file", None, "of <another> file", "half"]
    assert "another" not in Tags(comparison_table.table([FIRST])).text


def test_csv_round_trips_the_rows():
    text = downloaded("comparison.csv")
    assert text.startswith("\ufeffbackbone,")  # by the byte order mark Excel knows UTF-8
    parsed = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline="")))
    assert parsed == [
        {key: "" if value is None else str(value) for key, value in row.to_json().items()} for row in ROWS
    ]


def test_names_and_labels_are_no_formulas_in_the_csv():
    formula = "=cmd|' /C calc'!A0"
    answer = classification(predictions=(Prediction(0, None, formula, 0.5),))
    html = comparison_table.table([row(BackboneStatus("@SUM(1)", "timm", "ready"), None, answer)])
    kinds = {name: unquote(link.partition(",")[2]) for name, link in links(html).items()}
    (cells,) = csv.DictReader(io.StringIO(kinds["comparison.csv"].removeprefix("\ufeff"), newline=""))
    assert (cells["backbone"], cells["label"], cells["probability"]) == ("'@SUM(1)", f"'{formula}", "0.5")
    (values,) = json.loads(kinds["comparison.json"])
    assert (values["backbone"], values["label"]) == ("@SUM(1)", formula)


def test_json_round_trips_the_rows():
    assert json.loads(downloaded("comparison.json")) == [row.to_json() for row in ROWS]


def test_downloads_are_data_uris_escaped_for_the_attribute():
    for name, kind in {"comparison.csv": "text/csv", "comparison.json": "application/json"}.items():
        link = links(comparison_table.table(ROWS))[name]
        assert link.startswith(f"data:{kind};charset=utf-8,")
        assert set(link.partition(",")[2]).isdisjoint("\"'<>&# \n")
        assert f'href="{link}"' in comparison_table.table(ROWS)
