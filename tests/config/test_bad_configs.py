import re
import time

import pytest
from bad_configs import HOW_TO_MEND, NOT_YAML, WRONG, fuzzed, refused

COUNT, SEED = 2_000, 20


@pytest.mark.parametrize(("text", "message"), NOT_YAML, ids=[repr(text[:40]) for text, _ in NOT_YAML])
def test_what_is_not_yaml_is_told_with_its_place_and_how_to_mend_it(text, message):
    assert refused(text) == (f"config.yaml:{message}{HOW_TO_MEND}",)


@pytest.mark.parametrize("case", WRONG, ids=[repr(text[:40]) for text, *_ in WRONG])
def test_a_bad_config_is_told_with_place_key_and_remedy(case):
    text, *messages = case
    problems = refused(text)
    assert len(problems) == len(messages), problems
    for problem, message in zip(problems, messages, strict=True):
        start, _, end = f"config.yaml:{message}".partition(" … ")
        assert (problem == start) if not end else (problem.startswith(start) and problem.endswith(end)), problem


def test_there_are_many_bad_configs():
    assert len({text for text, *_ in NOT_YAML + WRONG}) == len(NOT_YAML + WRONG) >= 60


def test_whatever_is_done_to_a_config_it_is_read_or_refused_with_places():
    outcomes = []
    for text in fuzzed(COUNT, SEED):
        started_s = time.thread_time()  # of this thread alone: the machine may be busy
        problems = refused(text)
        assert time.thread_time() - started_s < 1, text
        outcomes.append(bool(problems))
        for problem in problems:
            place = re.match(r"config\.yaml:(\d+):(\d+): \S", problem)
            assert place, (problem, text)
            assert int(place[1]) <= len(re.findall(r"\r\n|[\n\r\x85\u2028\u2029]", text)) + 1, (problem, text)
            assert problem.isprintable(), (problem, text)  # one line, and nothing that hides or turns letters
    assert 100 < outcomes.count(False) < COUNT / 2  # it tries both sides


def test_thousands_of_brackets_take_no_time():
    started_s = time.thread_time()
    for _ in range(10):  # one alone took the most of a second
        assert refused("backbones: " + "[" * 2000)
    assert time.thread_time() - started_s < 1


def test_the_same_seed_makes_the_same_configs():
    assert list(fuzzed(50, 1)) == list(fuzzed(50, 1)) != list(fuzzed(50, 2))
