import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from bad_images import bad_files, good_files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lineup.errors import ImageError
from lineup.images.formats import FORMATS
from lineup.images.reading import open_image

SCRIPT = Path(__file__).parents[1] / "support" / "bad_images.py"
FILES = 4000
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL.TiffImagePlugin")  # pytest undoes our own filter


def report(*arguments):
    """Open files in a process of its own: its memory is nobody else's, and it may die."""
    command = [sys.executable, "-W", "default", SCRIPT, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["failures"] == []
    assert found["good_afterwards"]
    return found, done.stderr


def opened(path):
    """Return the image, or why there is none."""
    try:
        return open_image(path)
    except ImageError as error:
        return str(error)


def test_of_thousands_of_bad_files_each_is_refused_in_words_or_is_a_image():
    found, told = report("bad_files", FILES, 0)
    assert found["count"] == FILES
    assert FILES / 4 < found["refused"] < FILES  # neither harmless nor plain nonsense
    assert found["slowest_s"][0] <= 2, found["slowest_s"]
    assert found["growth_mb"] <= 300
    assert "Warning" not in told  # of Pillow's; what libtiff says cannot be kept from the log


def test_images_of_41_to_400_megapixels_are_refused_from_their_headers():
    found, told = report("large_images")
    assert found["refused"] == found["count"] > 50
    assert found["slowest_s"][0] <= 0.3, found["slowest_s"]  # they take about a millisecond
    assert found["growth_mb"] <= 50
    assert told == ""


def test_small_files_that_would_fill_the_memory_or_take_minutes_are_refused():
    found, _ = report("small_bombs")
    assert found["refused"] == found["count"] > 8
    assert found["slowest_s"][0] <= 5, found["slowest_s"]
    assert found["growth_mb"] <= 50


def test_exif_that_would_fill_the_memory_or_take_minutes_is_ignored():
    found, _ = report("long_exif")
    assert found["refused"] == 0 < found["count"]
    assert found["slowest_s"][0] <= 2, found["slowest_s"]
    assert found["growth_mb"] <= 50


def test_the_same_seed_makes_the_same_files_of_every_format():
    made = list(bad_files(600, 1))
    assert made == list(bad_files(600, 1))
    assert made != list(bad_files(600, 2))
    assert len({name for name, _ in made}) == 600
    assert {Image.open(io.BytesIO(content)).format for _, content in good_files()} == {*FORMATS, "MPO"}


@pytest.mark.parametrize("which", range(len(good_files())))
def test_a_file_that_is_cut_off_anywhere_is_refused_or_has_all_its_pixels(tmp_path, which):
    """Of some, a trailer is missing, or a second frame."""
    suffix, content = good_files()[which]
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(content)
    whole = open_image(path).tobytes()
    for length in (*range(0, len(content), len(content) // 50), *range(len(content) - 25, len(content))):
        path.write_bytes(content[:length])
        found = opened(path)
        assert isinstance(found, str) or found.tobytes() == whole, length


PLACES = st.floats(0, 1, exclude_max=True)
EDITS = st.lists(st.tuples(PLACES, st.integers(0, 8), st.binary(max_size=8)), min_size=1, max_size=4)


@settings(
    max_examples=500,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(which=st.integers(0, len(good_files()) - 1), edits=EDITS, end=st.one_of(st.just(1.0), PLACES))
def test_whatever_bytes_are_changed_a_image_or_one_kind_of_error_comes_out(tmp_path, which, edits, end):
    suffix, content = good_files()[which]
    for place, dropped, added in edits:
        at = int(place * len(content))
        content = content[:at] + added + content[at + dropped :]
    path = tmp_path / f"changed{suffix}"
    path.write_bytes(content[: round(end * len(content))])
    found = opened(path)
    if isinstance(found, str):
        assert found.startswith(f"changed{suffix}: expected ")
    else:
        assert found.mode == "RGB"
        assert 0 < found.width * found.height <= 40e6
