"""The link that brings back what the page shows, written and read; anybody may write one by hand."""

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
def test_what_is_written_is_read_again(service, names, example):
    query = link.write(names, 7, chosen(service, example), service.example_path(example))
    found, wrong = read(service, query)
    assert (found, wrong) == ({"selected": names[0], "others": names[1:], "top_k": 7, "example": example}, [])


def test_a_link_is_one_that_people_can_read(service):
    query = link.write(["fake:b", "fake:c"], 5, chosen(service, 0), service.example_path(0))
    assert query == "?backbone=fake%3Ab&backbone=fake%3Ac&top_k=5&example=maze"


def test_a_image_of_ones_own_is_not_in_the_link(service, image):
    assert link.write(["fake:b"], 5, None, image) == "?backbone=fake%3Ab&top_k=5"
    assert (
        link.write(["fake:b"], 5, chosen(service, 0), image) == "?backbone=fake%3Ab&top_k=5"
    )  # it took an example's place
    assert link.write(["fake:b"], 5, chosen(service, 0), None) == "?backbone=fake%3Ab&top_k=5"


def test_a_copy_of_an_example_is_the_example(service, tmp_path):
    copy = shutil.copy(service.example_path(0), tmp_path / "uploaded.png")
    assert link.write([], 5, chosen(service, 0), copy) == "?top_k=5&example=maze"


def test_an_empty_query_asks_for_nothing(service):
    assert read(service, "") == ({}, [])
    assert read(service, "?__theme=dark&logs=container") == ({}, [])  # what others put there


def test_unknown_names_are_told_and_the_known_ones_are_taken(service):
    found, (wrong,) = read(service, "?backbone=resnet5O&backbone=fake:c&backbone=&backbone=fake:b&backbone=x")
    assert found == {"selected": "fake:c", "others": ["fake:b"]}
    assert wrong == "this line-up has no resnet5O, x"
    assert read(service, "?backbone=x") == ({}, ["this line-up has no x"])


def test_a_name_that_is_there_twice_counts_once(service):
    found, wrong = read(service, "?backbone=fake:c&backbone=fake:c")
    assert (found, wrong) == ({"selected": "fake:c", "others": []}, [])


def test_more_names_than_may_be_compared_are_cut_and_told(service):
    found, wrong = read(service, "?backbone=fake:c&backbone=fake:b&backbone=a%26top_k%3D9+%231+%2B+%C3%BC+%3Cb%3E%3F")
    assert found == {"selected": "fake:c", "others": ["fake:b"]}
    assert wrong == ["it names 3 backbones, and at most 2 are compared"]


@pytest.mark.parametrize("text", ["1", "20", "05"])
def test_a_top_k_is_any_number_that_the_page_can_show(service, text):
    assert read(service, f"?top_k={text}") == ({"top_k": int(text)}, [])


def test_a_line_up_that_shows_more_can_be_linked_to(make_service):
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
def test_another_top_k_is_told(service, text):
    found, (wrong,) = read(service, f"?top_k={text}")
    assert found == {}
    assert wrong.endswith("and not a number from 1 to 20")
    assert len(wrong) < 80


def test_an_example_that_is_not_there_is_told(service):
    found, (wrong,) = read(service, f"?example={'cat' * 1000}")
    assert found == {}
    assert wrong.startswith("there is no example 'catcat")
    assert len(wrong) < 200
