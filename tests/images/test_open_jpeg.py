import io

import numpy as np
import pytest
from PIL import Image

from lineup.errors import ImageError
from lineup.images.reading import open_image

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 10, 3), np.uint8)).resize((160, 128))
ENCODINGS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "4:4:4": {"subsampling": 0},
    "grey": {"mode": "L"},
    "CMYK": {"mode": "CMYK"},
    "thumbnail": {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0\xff\xd8\xff\xda\0\x08\1\1\0\0\x3f\0\xff\xd9"},
}


def jpeg(mode="RGB", **options):
    buffer = io.BytesIO()
    NOISE.convert(mode).save(buffer, "JPEG", quality=90, **options)
    return buffer.getvalue()


def opened(tmp_path, content, **options):
    """Return the pixels of a file, or None if it is rejected as damaged."""
    (tmp_path / "a.jpg").write_bytes(content)
    try:
        return np.asarray(open_image(tmp_path / "a.jpg", **options)).astype(int)
    except ImageError:
        return None


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("min_side_px", [0, 60])
def test_jpeg_without_its_end_marker_is_read(tmp_path, encoding, min_side_px):
    content = jpeg(**ENCODINGS[encoding])
    whole = opened(tmp_path, content, min_side_px=min_side_px)
    for cut in (content[:-2], content[:-1], content[:-2] + bytes(100), content[:-2] + b"\xff"):
        assert (opened(tmp_path, cut, min_side_px=min_side_px) == whole).all()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_jpeg_with_bytes_after_its_end_is_read(tmp_path, encoding):
    content = jpeg(**ENCODINGS[encoding])
    assert (opened(tmp_path, content + b"the next file") == opened(tmp_path, content)).all()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_jpeg_that_lacks_pixels_is_rejected(tmp_path, encoding):
    content = jpeg(**ENCODINGS[encoding])
    whole = opened(tmp_path, content)
    for length in (*range(len(content) - 40, len(content) - 4), *range(30, len(content), len(content) // 30)):
        decoded = opened(tmp_path, content[:length])
        assert decoded is None or (decoded == whole).all(), length
    assert opened(tmp_path, content[:-40]) is None


def test_progressive_jpeg_without_its_last_scans_is_rejected(tmp_path):
    content = jpeg(progressive=True)
    scans = [at for at in range(len(content)) if content[at : at + 2] == b"\xff\xda"]
    assert len(scans) > 5
    for scan in scans[1:]:
        table = content.rindex(b"\xff\xc4", 0, scan) if content.rfind(b"\xff\xc4", scans[0], scan) > 0 else scan
        assert opened(tmp_path, content[:scan]) is None
        assert opened(tmp_path, content[:table]) is None or table < scans[0]


def test_jpeg_of_another_kind_is_named(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xf7\0\x0b\x08" + bytes(100))
    with pytest.raises(ImageError, match="it is a JPEG-LS image"):
        open_image(tmp_path / "a.jpg")
