"""The link to the state of the page: writing, parsing, and invalid queries."""

import shutil
from urllib.parse import parse_qs

import pytest
from drawing import draw

from lineup.page import link

pytestmark = pytest.mark.usefixtures("fakes")
HOSTILE = "a&top_k=9 #1 + ü <b>?"
CONFIG = f"""
backbones: [{{name: {HOSTILE!r}, backbone: 'fake:a'}}, 'fake:b', 'fake:c']
examples: [maze.png, 'two cups & a saucer.png']
limits: {{max_compared: 2}}
"""


@pytest.fixture
def service(make_service, tmp_path):
    for seed, name in enumerate(["maze.png", "two cups & a saucer.png"]):
        draw(tmp_path / name, seed)
    return make_service(CONFIG)


def chosen(service, index: int) -> tuple[str, str]:
    return service.examples[index].name, service.example_path(index)


def read(service, query: str):
    return link.read(service, parse_qs(query.removeprefix("?")))


@pytest.mark.parametrize("names", [[HOSTILE], ["fake:b"], ["fake:c", HOSTILE]])
@pytest.mark.parametrize("example", [0, 1])
def test_link_round_trips(service, names, example):
    query = link.write(names, 7, chosen(service, example), service.example_path(example))
    state, problems = read(service, query)
    assert (state, problems) == ({"selected": names[0], "others": names[1:], "top_k": 7, "example": example}, [])


def test_link_is_readable(service):
    query = link.write(["fake:b", "fake:c"], 5, chosen(service, 0), service.example_path(0))
    assert query == "?backbone=fake%3Ab&backbone=fake%3Ac&top_k=5&example=maze"


def test_uploaded_image_is_not_in_the_link(service, image):
    assert link.write(["fake:b"], 5, None, image) == "?backbone=fake%3Ab&top_k=5"
    assert link.write(["fake:b"], 5, chosen(service, 0), image) == "?backbone=fake%3Ab&top_k=5"  # replaced the example
    assert link.write(["fake:b"], 5, chosen(service, 0), None) == "?backbone=fake%3Ab&top_k=5"


def test_copy_of_an_example_counts_as_the_example(service, tmp_path):
    copy = shutil.copy(service.example_path(0), tmp_path / "uploaded.png")
    assert link.write([], 5, chosen(service, 0), copy) == "?top_k=5&example=maze"


def test_query_without_own_keys_is_empty(service):
    assert read(service, "") == ({}, [])
    assert read(service, "?__theme=dark&logs=container") == ({}, [])  # foreign keys


def test_unknown_names_are_reported_and_known_ones_kept(service):
    state, (problem,) = read(service, "?backbone=resnet5O&backbone=fake:c&backbone=&backbone=fake:b&backbone=x")
    assert state == {"selected": "fake:c", "others": ["fake:b"]}
    assert problem == "this line-up has no resnet5O, x"
    assert read(service, "?backbone=x") == ({}, ["this line-up has no x"])


def test_repeated_name_counts_once(service):
    state, problems = read(service, "?backbone=fake:c&backbone=fake:c")
    assert (state, problems) == ({"selected": "fake:c", "others": []}, [])


def test_names_beyond_max_compared_are_cut_and_reported(service):
    state, problems = read(
        service, "?backbone=fake:c&backbone=fake:b&backbone=a%26top_k%3D9+%231+%2B+%C3%BC+%3Cb%3E%3F"
    )
    assert state == {"selected": "fake:c", "others": ["fake:b"]}
    assert problems == ["it names 3 backbones, and at most 2 are compared"]


@pytest.mark.parametrize("text", ["1", "20", "05"])
def test_valid_top_k_is_accepted(service, text):
    assert read(service, f"?top_k={text}") == ({"top_k": int(text)}, [])


def test_top_k_limit_rises_with_the_config(make_service):
    assert read(make_service("backbones: ['fake:a']\ntop_k: 50"), "?top_k=50") == ({"top_k": 50}, [])


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "21",
        "-1",
        "%2B1",
        "2.5",
        "1e1",
        "x",
        "٣",
        "²",
        "٣3",
        "%203",
        "3%0A",
        "9" * 5000,
        "0" * 8 + "1" + "9" * 5000,
    ],
)
def test_invalid_top_k_is_reported(service, text):
    state, (problem,) = read(service, f"?top_k={text}")
    assert state == {}
    assert problem.endswith("not a number from 1 to 20")
    assert len(problem) < 80


def test_unknown_example_is_reported(service):
    state, (problem,) = read(service, f"?example={'cat' * 1000}")
    assert state == {}
    assert problem.startswith("there is no example 'catcat")
    assert len(problem) < 200
