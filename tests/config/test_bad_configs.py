import random
import re
import time
from pathlib import Path

import pytest
from bad_configs import NOT_YAML, WRONG, fuzzed, refused

COUNT, SEED = 2_000, 20
ROOT = Path(__file__).parents[2]
INSERTED = "\t\"'[]{}:,- @`*&!%|>#?\u00a0“\0"


def matches(problem: str, message: str) -> bool:
    start, _, end = f"config.yaml:{message}".partition(" … ")
    return (problem == start) if not end else (problem.startswith(start) and problem.endswith(end))


@pytest.mark.parametrize(("text", "message"), NOT_YAML, ids=[repr(text[:40]) for text, _ in NOT_YAML])
def test_yaml_syntax_error_has_position_and_remedy(text, message):
    (problem,) = refused(text)
    assert matches(problem, message), problem


@pytest.mark.parametrize("case", WRONG, ids=[repr(text[:40]) for text, *_ in WRONG])
def test_invalid_config_reports_position_key_and_remedy(case):
    text, *messages = case
    problems = refused(text)
    assert len(problems) == len(messages), problems
    for problem, message in zip(problems, messages, strict=True):
        assert matches(problem, message), problem


def test_bad_configs_are_at_least_sixty_and_unique():
    assert len({text for text, *_ in NOT_YAML + WRONG}) == len(NOT_YAML + WRONG) >= 60


@pytest.mark.long  # `test_damaged_config_is_valid_or_rejected_with_positions` is of its kind
def test_fuzzed_config_is_valid_or_rejected_with_positions():
    outcomes = []
    for text in fuzzed(COUNT, SEED):
        started_s = time.thread_time()  # CPU time, independent of other load
        problems = refused(text)
        assert time.thread_time() - started_s < 1, text
        outcomes.append(bool(problems))
        for problem in problems:
            position = re.match(r"config\.yaml:(\d+):(\d+): \S", problem)
            assert position, (problem, text)
            assert int(position[1]) <= len(re.findall(r"\r\n|[\n\r\x85\u2028\u2029]", text)) + 1, (problem, text)
            assert problem.isprintable(), (problem, text)  # one line, without control or bidi characters
    assert 100 < outcomes.count(False) < COUNT / 2  # both outcomes are covered


def test_error_points_to_the_line_of_a_mutated_character():
    text, found = (ROOT / "config.yaml").read_text(encoding="utf-8"), 0
    text = text.replace("default:", "# default:")  # which also depends on the name in another line
    rng = random.Random(SEED)
    for _ in range(1000):
        index, char = rng.randrange(len(text)), rng.choice(INSERTED)
        rest = text[index + rng.choice((0, 1)) :]
        problems = refused(mutated := text[:index] + rng.choice((char, "")) + rest)
        mutated_line = text.count("\n", 0, index) + 1
        lines = [int(re.match(r"config\.yaml:(\d+):", problem)[1]) for problem in problems]
        assert not lines or min(abs(line - mutated_line) for line in lines) <= 1, (problems, mutated)
        found += bool(lines)
    assert found > 200


def test_thousands_of_brackets_are_rejected_fast():
    started_s = time.thread_time()
    for _ in range(10):  # a single one used to take most of a second
        assert refused("backbones: " + "[" * 2000)
    assert time.thread_time() - started_s < 1


def test_fuzzing_is_deterministic():
    assert list(fuzzed(50, 1)) == list(fuzzed(50, 1)) != list(fuzzed(50, 2))
