import contextlib
import io
import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
from bad_images import bad_files, good_files, small_bombs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, UnidentifiedImageError

from lineup.errors import ImageError
from lineup.images.formats import FORMATS
from lineup.images.image_bytes import ImageBytes
from lineup.images.reading import open_image

SCRIPT = Path(__file__).parents[1] / "support" / "bad_images.py"
FILES = 4000
pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning:PIL.TiffImagePlugin"
)  # pytest resets the filter of lineup.images.guards


def report(*arguments):
    """Open files in a subprocess, to measure its memory and survive a crash."""
    command = [sys.executable, "-W", "default", SCRIPT, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    outcome = json.loads(result.stdout)
    assert outcome["failures"] == []
    assert outcome["good_afterwards"]
    return outcome, result.stderr


def opened(path):
    """Return the image, or the error message."""
    try:
        return open_image(path)
    except ImageError as error:
        return str(error)


def test_bytes_are_read_as_the_file_with_them_is(tmp_path):
    for name, content in good_files():
        (tmp_path / name).write_bytes(content)
        assert opened(ImageBytes(content, name)) == opened(tmp_path / name), name
    for name, content in [*itertools.islice(bad_files(300, 7), 300), *small_bombs()]:
        (tmp_path / name).write_bytes(content)
        found, expected = opened(ImageBytes(content, name)), opened(tmp_path / name)
        # not the pixels: of a damaged TIFF, libtiff leaves some as the memory was
        assert getattr(found, "size", found) == getattr(expected, "size", expected), name


def test_damaged_files_are_decoded_or_rejected_with_a_message():
    outcome, log = report("bad_files", FILES, 0)
    assert outcome["count"] == FILES
    assert FILES / 4 < outcome["refused"] < FILES  # the damage is neither harmless nor always fatal
    assert outcome["slowest_s"][0] <= 2, outcome["slowest_s"]
    assert outcome["growth_mb"] <= 300
    assert "Warning" not in log  # of Pillow; libtiff's own messages cannot be suppressed


def test_images_of_41_to_400_megapixels_are_rejected_by_header():
    outcome, log = report("large_images")
    assert outcome["refused"] == outcome["count"] > 50
    assert outcome["slowest_s"][0] <= 0.3, outcome["slowest_s"]  # they take about a millisecond
    assert outcome["growth_mb"] <= 50
    assert log == ""


def test_decompression_bombs_are_rejected():
    outcome, _ = report("small_bombs")
    assert outcome["refused"] == outcome["count"] > 8
    assert outcome["slowest_s"][0] <= 5, outcome["slowest_s"]
    assert outcome["growth_mb"] <= 50


def test_exif_bombs_are_ignored():
    outcome, _ = report("long_exif")
    assert outcome["refused"] == 0 < outcome["count"]
    assert outcome["slowest_s"][0] <= 2, outcome["slowest_s"]
    assert outcome["growth_mb"] <= 50


def test_bad_files_are_deterministic_and_cover_every_format():
    made = list(bad_files(600, 1))
    assert made == list(bad_files(600, 1))
    assert made != list(bad_files(600, 2))
    assert len({name for name, _ in made}) == 600
    formats = set()
    for _, content in good_files():
        with contextlib.suppress(UnidentifiedImageError):  # a TIFF that only lineup.images.tiff reads
            formats.add(Image.open(io.BytesIO(content)).format)
    assert formats == {*FORMATS, "MPO"}


@pytest.mark.parametrize("which", range(len(good_files())))
def test_truncated_file_is_rejected_or_decodes_completely(tmp_path, which):
    """A truncated file decodes if only its trailer or a second frame is missing."""
    suffix, content = good_files()[which]
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(content)
    whole = open_image(path).tobytes()
    for length in (*range(0, len(content), len(content) // 50), *range(len(content) - 25, len(content))):
        path.write_bytes(content[:length])
        outcome = opened(path)
        assert isinstance(outcome, str) or outcome.tobytes() == whole, length


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
def test_edited_bytes_give_an_image_or_an_image_error(tmp_path, which, edits, end):
    suffix, content = good_files()[which]
    for place, dropped, added in edits:
        at = int(place * len(content))
        content = content[:at] + added + content[at + dropped :]
    path = tmp_path / f"changed{suffix}"
    path.write_bytes(content[: round(end * len(content))])
    outcome = opened(path)
    if isinstance(outcome, str):
        assert outcome.startswith(f"changed{suffix}: expected ")
    else:
        assert outcome.mode == "RGB"
        assert 0 < outcome.width * outcome.height <= 40e6
