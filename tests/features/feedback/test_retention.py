"""What is not reviewed is deleted after a time, unless the clock is wrong."""

import os

import pytest
from feedback import START_S, Feedbacks

from lineup.features.feedback import records
from lineup.features.feedback.review import Review

DAY_S = 86_400.0


@pytest.fixture
def kept(tmp_path):
    """Return feedback that is kept for 30 days, with an image of now and one 20 days older."""
    kept = Feedbacks(tmp_path / "feedback", keep_days=30)
    for number, age_s in enumerate((0, 20 * DAY_S)):
        kept.clock.time_s = START_S - age_s
        receipt = kept.add(number, f"bird {number}")
        written = [kept.root / "unreviewed" / f"bird {number}" / f"{receipt.image}.jpg"]
        written += records.answers_files(kept.root / "unreviewed")[: number or None]
        for path in written:
            os.utime(path, (START_S - age_s,) * 2)
    kept.clock.time_s = START_S
    return kept


def labels(kept):
    return sorted(image.label for image in kept.review.pending())


def run_daily(kept, days):
    """Call `delete_old` each day, and return how many images were deleted."""
    count = 0
    for _ in range(days):
        kept.clock.time_s += DAY_S
        count += kept.review.delete_old()
    return count


def test_old_images_and_their_answers_are_deleted_the_others_stay(kept):
    assert run_daily(kept, 9) == 0
    assert labels(kept) == ["bird 0", "bird 1"]
    assert run_daily(kept, 3) == 1
    assert labels(kept) == ["bird 0"]
    assert len(records.answers_files(kept.root / "unreviewed")) == 1
    assert run_daily(kept, 30) == 1
    assert kept.files == []


def test_copy_is_told_what_was_deleted(kept):
    moves = []
    copy = {"apply": lambda self, more: moves.extend(more), "server_time": lambda self: None}
    kept.review = Review(kept.collection, type("Copy", (), copy)())
    run_daily(kept, 12)
    [move] = moves
    assert (move.decision, move.added, len(move.deleted)) == ("expired", "", 1)


def test_accepted_images_stay(kept):
    kept.review.accept([image.id for image in kept.review.pending()])
    run_daily(kept, 100)
    assert sum(name.startswith("accepted/bird") for name in kept.files) == 2
    assert kept.review.stats().n_answers == 2


@pytest.mark.parametrize(
    "jump_s", [10 * 365 * DAY_S, 8 * DAY_S, -20 * 365 * DAY_S, -1], ids=["years", "week", "past", "second"]
)
def test_clock_that_jumps_deletes_nothing(kept, jump_s):
    run_daily(kept, 2)
    kept.clock.time_s += jump_s
    for _ in range(3):
        kept.clock.time_s += 3600
        assert kept.review.delete_old() == 0
    assert labels(kept) == ["bird 0", "bird 1"]


def test_restart_with_a_wrong_clock_deletes_nothing(kept, tmp_path):
    run_daily(kept, 2)
    again = Feedbacks(tmp_path / "feedback", keep_days=30)
    again.clock.time_s = START_S + 10 * 365 * DAY_S
    assert again.review.delete_old() == 0
    assert labels(again) == ["bird 0", "bird 1"]


def test_damaged_mark_deletes_nothing(kept):
    run_daily(kept, 2)
    for text in ("", "null", "[1]", '["x", {}]', "[" * 9):
        (kept.root / "unreviewed" / ".clock.json").write_text(text)
        kept.clock.time_s = START_S + 200 * DAY_S
        assert kept.review.delete_old() == 0


def test_images_that_are_newer_than_the_clock_keep_all(kept):
    path = next((kept.root / "unreviewed").glob("bird 0/*.jpg"))
    os.utime(path, (START_S + 1000 * DAY_S,) * 2)
    assert run_daily(kept, 100) == 0
