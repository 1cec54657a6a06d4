import io
import warnings

import numpy as np
import pytest
from PIL import Image

from lineup.errors import ImageError
from lineup.images.reading import check_header, open_image

RGB = np.random.default_rng(0).integers(0, 256, (9, 13, 3), np.uint8)
RGB[0, 0] = 255
GREY = RGB[..., :1]
BITS = GREY > 127


def text(values):
    return b" ".join(b"%d" % value for value in values.ravel())


def wide(values, limit):
    return np.round(values * (limit / 255)).astype(">u2")


PAM = b"P7\nWIDTH 13\nHEIGHT 9\nDEPTH %d\nMAXVAL %d\nTUPLTYPE %s\nENDHDR\n"
OPAQUE = np.full_like(GREY, 255)
FILES = {
    "P1": (b"P1\n# plain\n13 9\n" + text(~BITS + 2 - 2), BITS * 255),
    "P1 without spaces": (b"P1 13 9\n" + text(~BITS + 0).replace(b" ", b""), BITS * 255),
    "P2": (b"P2 13 9 15\n" + text(GREY // 17), GREY // 17 * 17),
    "P2 wide": (b"P2 13 9 4095\n" + text(wide(GREY, 4095)), GREY),
    "P3": (b"P3\n13 9 # comment\n255\n# another\n" + text(RGB), RGB),
    "P4": (b"P4\n13 9\n" + np.packbits(~BITS[..., 0], axis=1).tobytes(), BITS * 255),
    "P5": (b"P5\n13\n9\n255\n" + GREY.tobytes(), GREY),
    "P5 of 1": (b"P5 13 9 1\n" + (GREY > 127).astype(np.uint8).tobytes(), BITS * 255),
    "P5 wide": (b"P5 13 9 1023\n" + wide(GREY, 1023).tobytes(), GREY),
    "P5 wider than its content": (b"P5 13 9 65535\n" + wide(GREY, 4095).tobytes(), GREY),
    "P6": (b"P6 13 9 255\n" + RGB.tobytes(), RGB),
    "P6 wide": (b"P6\n#\n13 9\n16383\n" + wide(RGB, 16383).tobytes(), RGB),
    "P6 of 16 bits": (b"P6 13 9 65535\n" + wide(RGB, 65535).tobytes(), RGB),
    "P7": (PAM % (3, 255, b"RGB") + RGB.tobytes(), RGB),
    "P7 with alpha": (PAM % (4, 255, b"RGB_ALPHA") + np.dstack([RGB, OPAQUE]).tobytes(), RGB),
    "P7 wide": (PAM % (1, 4095, b"GRAYSCALE") + wide(GREY, 4095).tobytes(), GREY),
    "Pf": (b"Pf\n13 9\n-1.0\n" + (GREY[::-1] / 255).astype("<f4").tobytes(), GREY),
    "PF": (b"PF\n13 9\n1.0\n" + (RGB[::-1] / 255).astype(">f4").tobytes(), RGB),
}


@pytest.mark.parametrize("name", FILES)
def test_netpbm_image_is_read(tmp_path, name):
    content, expected = FILES[name]
    (tmp_path / "a").write_bytes(content)
    check_header(tmp_path / "a")
    decoded = np.asarray(open_image(tmp_path / "a")).astype(int)
    assert decoded.shape == (9, 13, 3)
    assert np.abs(decoded - expected).max() <= 1


@pytest.mark.parametrize("name", FILES)
def test_netpbm_image_that_is_cut_off_is_rejected(tmp_path, name):
    content = FILES[name][0]
    with warnings.catch_warnings(action="ignore"):
        for length in (*range(2, 20), content.rindex(b" ") if name[1] in "23" else len(content) - 1):
            (tmp_path / "a.ppm").write_bytes(content[:length])
            with pytest.raises(ImageError, match=r"a\.ppm: expected "):
                open_image(tmp_path / "a.ppm")


def test_files_of_pillow_are_read_alike(tmp_path):
    for mode in ("1", "L", "RGB"):
        image, buffer = Image.fromarray(RGB).convert(mode), io.BytesIO()
        image.save(buffer, "PPM")
        (tmp_path / "a").write_bytes(buffer.getvalue())
        assert open_image(tmp_path / "a").tobytes() == image.convert("RGB").tobytes()


@pytest.mark.parametrize("header", [b"P5 0 9 255\n", b"P6 9 9 0\n", b"P5 9 9 70000\n", b"P5 9 -9 255\n", b"P6 9\n"])
def test_invalid_header_is_rejected(tmp_path, header):
    (tmp_path / "a").write_bytes(header + bytes(1000))
    with pytest.raises(ImageError):
        open_image(tmp_path / "a")


def test_values_above_the_largest_are_rejected(tmp_path):
    (tmp_path / "a").write_bytes(b"P5 2 2 100\n\x01\x02\x03\x65")
    with pytest.raises(ImageError, match="values above its largest one"):
        open_image(tmp_path / "a")


def test_size_of_a_netpbm_image_is_limited(tmp_path):
    (tmp_path / "a").write_bytes(b"P6 6400 6400 255\n")
    with pytest.raises(ImageError, match=r"at most 40 megapixels; got 41\.0"):
        open_image(tmp_path / "a")
