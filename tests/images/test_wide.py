"""Samples of more than 8 bits are read by their range, whatever the file that has them."""

import io

import numpy as np
import pytest
import wide_images
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lineup.errors import ImageError
from lineup.images.reading import check_header, open_image

RNG = np.random.default_rng(0)
PHOTO = np.asarray(
    Image.fromarray(RNG.integers(0, 256, (6, 8, 3), np.uint8)).resize((50, 38), Image.Resampling.BICUBIC)
).copy()
PHOTO[0, 0], PHOTO[0, 1] = 0, 255  # the whole range
GREY = PHOTO[..., :1]
DEPTHS = [8, 10, 11, 12, 14, 16]
CONTAINERS = {
    "png": wide_images.png,
    "tiff": wide_images.tiff,
    "big-endian": lambda values: wide_images.tiff(values, order=">", strip_rows=7),
    "deflated tiles": lambda values: wide_images.tiff(values, compression=8, predictor=2, tile=(16, 32)),
    "planar": lambda values: wide_images.tiff(values, planar=True, compression=8, predictor=2, order=">"),
    "BigTIFF": lambda values: wide_images.tiff(values, big=True, tile=(32, 16)),
}


def scaled(image, bits):
    """Scale 8 bits to more, as a sensor of so many bits would have seen the image."""
    return np.round(image * ((2**bits - 1) / 255)).astype(np.uint16)


def opened(tmp_path, content):
    """Return the pixels ``(H, W, 3)`` of a file, and the notes."""
    (tmp_path / "a").write_bytes(content)
    check_header(tmp_path / "a")
    image = open_image(tmp_path / "a")
    assert image.mode == "RGB"
    return np.asarray(image).astype(int), image.info["notes"]


def refusal(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ImageError) as caught:
        open_image(tmp_path / "a")
    return str(caught.value)


def assert_close(pixels, expected, tolerance=1):
    assert np.abs(pixels - expected).max() <= tolerance


@pytest.mark.parametrize("image", [GREY, PHOTO], ids=["grey", "rgb"])
@pytest.mark.parametrize("bits", [*DEPTHS, 9, 13, 15])
@pytest.mark.parametrize("container", CONTAINERS)
def test_fewer_bits_in_a_file_of_16_are_read_with_a_note(tmp_path, container, bits, image):
    pixels, notes = opened(tmp_path, CONTAINERS[container](scaled(image, bits)))
    assert_close(pixels, image)
    assert bool(notes) == (bits < 16)
    assert all(f"its values of {bits} bits in a file of 16 bits" in note for note in notes)


@pytest.mark.parametrize("bits", DEPTHS)
@pytest.mark.parametrize("container", ["png", "tiff"])
def test_alpha_of_wide_samples_is_composited_over_white(tmp_path, container, bits):
    alpha = np.full((*PHOTO.shape[:2], 1), 2**bits - 1, np.uint16)
    alpha[:, :9] = 0
    expected = PHOTO.copy()
    expected[:, :9] = 255
    for image, white in ((PHOTO, expected), (GREY, expected[..., :1])):
        values = np.dstack([scaled(image, bits), alpha])
        content = wide_images.png(values) if container == "png" else wide_images.tiff(values, extra=[2])
        assert_close(opened(tmp_path, content)[0], white)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_signed_samples_are_read_by_their_range(tmp_path, bits):
    centred = (scaled(PHOTO, bits).astype(int) - 2 ** (bits - 1)).astype(np.int16)
    pixels, notes = opened(tmp_path, wide_images.tiff(centred))
    assert_close(pixels, PHOTO)
    assert notes == (f"its values go from {centred.min()} to {centred.max()}: these are shown as black and white",)


@pytest.mark.parametrize("bits", [8, 11, 12, 15])
def test_signed_samples_that_are_not_negative_begin_at_black(tmp_path, bits):
    values = scaled(PHOTO // 2 * 2 + 1, bits).astype(np.int16)  # no black
    assert_close(opened(tmp_path, wide_images.tiff(values, order=">"))[0], PHOTO, 2)


def test_a_black_level_slightly_below_zero_is_black(tmp_path):
    values = np.maximum(scaled(GREY, 12).astype(np.int16) - 20, -20)
    pixels, notes = opened(tmp_path, wide_images.tiff(values))
    assert_close(pixels, GREY, 2)
    assert "white is taken as 4095" in notes[0]


WHITE_TAGS = {"MaxSampleValue": 281, "SMaxSampleValue": 341}


@pytest.mark.parametrize("name", WHITE_TAGS)
def test_white_is_what_the_tags_of_a_tiff_say(tmp_path, name):
    dark = scaled(GREY // 4, 12)  # its values alone would make it a bright image of 10 bits
    pixels, notes = opened(tmp_path, wide_images.tiff(dark, more={WHITE_TAGS[name]: ("H", [4095])}))
    assert_close(pixels, GREY // 4)
    assert notes == (f"black is 0 and white 4095, as its {name} says",)
    pixels, notes = opened(tmp_path, wide_images.tiff(scaled(GREY, 12), more={WHITE_TAGS[name]: ("H", [65535])}))
    assert_close(pixels, GREY / 16, 1)
    assert notes == ()
    assert_close(opened(tmp_path, wide_images.tiff(scaled(GREY, 12), more={WHITE_TAGS[name]: ("H", [255])}))[0], GREY)


@pytest.mark.parametrize("image", [GREY, PHOTO], ids=["grey", "rgb"])
def test_white_is_what_sbit_of_a_png_says(tmp_path, image):
    def with_bits(values, bits):
        return opened(tmp_path, wide_images.png(values, {b"sBIT": bytes([bits] * values.shape[2])}))

    pixels, notes = with_bits(scaled(image // 4, 12), 12)
    assert_close(pixels, image // 4)
    assert notes == ("black is 0 and white 4095, as its sBIT says",)
    pixels, notes = with_bits(scaled(image, 12) << 4, 12)  # scaled to 16 bits, as the standard demands
    assert_close(pixels, image)
    assert notes == ()
    pixels, notes = with_bits(scaled(image // 2, 15), 15)
    assert_close(pixels, image // 2)
    pixels, notes = with_bits(scaled(image, 12), 16)
    assert_close(pixels, image / 16, 1)
    assert notes == ()


@pytest.mark.parametrize("bits", [2, 9, 10, 12, 14])
@pytest.mark.parametrize("how", [{}, {"order": ">"}, {"compression": 8}, {"tile": (16, 16)}, {"planar": True}])
def test_packed_samples_of_a_tiff_are_read(tmp_path, bits, how):
    values = scaled(PHOTO, bits)
    pixels, notes = opened(tmp_path, wide_images.tiff(values, bits=bits, **how))
    assert_close(pixels, np.round(values * (255 / (2**bits - 1))))
    assert notes == (
        (f"its values of {bits} bits go up to {values.max()}: white is taken as {2**bits - 1}",) * (bits > 8)
    )


def test_a_dark_image_of_8_bits_scaled_to_16_stays_dark(tmp_path):
    dark = GREY // 8
    for container in ("png", "tiff"):
        pixels, notes = opened(tmp_path, CONTAINERS[container](dark.astype(np.uint16) * 257))
        assert_close(pixels, dark, 0)
        assert notes == ()


@pytest.mark.parametrize("container", ["png", "tiff"])
def test_a_constant_image_is_not_stretched(tmp_path, container):
    for value, expected in ((0, 0), (65535, 255), (20, 20), (2048, 127.5)):
        pixels, _ = opened(tmp_path, CONTAINERS[container](np.full((30, 30, 3), value, np.uint16)))
        assert_close(pixels, expected)


def test_white_is_zero_is_inverted(tmp_path):
    for bits in (12, 16):
        content = wide_images.tiff(2**bits - 1 - scaled(GREY, bits), photometric=0)
        assert_close(opened(tmp_path, content)[0], GREY)


FLOATS = [(0, 1), (0, 255), (0, 4095), (0, 65535), (0, 1.3), (0, 0.001), (-1, 1), (280, 310)]
FLOAT_FILES = [
    {},
    {"order": ">", "planar": True},
    {"compression": 8, "predictor": 3},
    {"compression": 8, "predictor": 3, "tile": (16, 16), "order": ">"},
]


@pytest.mark.parametrize("how", FLOAT_FILES, ids=["plain", "planar", "predicted", "tiles"])
@pytest.mark.parametrize(("black", "white"), FLOATS)
def test_floats_are_read_by_their_range(tmp_path, black, white, how):
    for dtype in (np.float32, np.float64):
        values = (black + PHOTO / 255 * (white - black)).astype(dtype)
        pixels, notes = opened(tmp_path, wide_images.tiff(values, **how))
        assert_close(pixels, PHOTO)
        assert bool(notes) == ((black, white) != (0, 1))


def test_half_floats_are_read(tmp_path):
    for white in (1, 4095):
        assert_close(opened(tmp_path, wide_images.tiff((PHOTO / 255 * white).astype(np.float16)))[0], PHOTO)


@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf, -3.4028234663852886e38, -9999])
def test_pixels_without_data_are_white(tmp_path, missing):
    values, expected = (PHOTO / 255).astype(np.float32), PHOTO.copy()
    values[3:9, 5:20], expected[3:9, 5:20] = missing, 255
    tags = {42113: ("s", b"-9999\0")} if missing == -9999 else None  # GDAL's
    pixels, notes = opened(tmp_path, wide_images.tiff(values, more=tags))
    assert_close(pixels, expected)
    assert notes == ("pixels without a value are white",)


def test_an_image_without_any_data_is_rejected(tmp_path):
    message = refusal(tmp_path, wide_images.tiff(np.full((20, 20, 1), np.nan, np.float32)))
    assert message == "a: expected an image; none of its pixels has a value; save an image that has some"


def test_transparent_colour_of_a_wide_png_is_white(tmp_path):
    values, expected = scaled(PHOTO, 12), PHOTO.copy()
    values[3:9], expected[3:9] = (7, 8, 9), 255
    chunk = {b"tRNS": np.array([7, 8, 9], ">u2").tobytes()}
    assert_close(opened(tmp_path, wide_images.png(values, chunk))[0], expected)


def test_extra_bands_of_an_rgb_tiff_are_ignored_with_a_note(tmp_path):
    for dtype in (np.uint8, np.uint16):
        for planar in (False, True):
            bands = np.dstack([PHOTO, *[GREY] * 4]).astype(dtype) * (257 if dtype == np.uint16 else 1)
            content = wide_images.tiff(bands, photometric=2, extra=[0] * 4, planar=planar)
            pixels, notes = opened(tmp_path, content)
            assert_close(pixels, PHOTO)
            assert "of its 7 bands, the first three are red, green and blue" in notes[0]


def test_three_bands_without_colours_are_taken_as_rgb_with_a_note(tmp_path):
    for planar in (False, True):
        content = wide_images.tiff(scaled(PHOTO, 16), photometric=1, extra=[0, 0], planar=planar)
        pixels, notes = opened(tmp_path, content)
        assert_close(pixels, PHOTO)
        assert notes == ("its three bands are taken as red, green and blue",)


@pytest.mark.parametrize("bands", [2, 4, 7, 200])
def test_other_bands_without_colours_are_refused_as_what_they_are(tmp_path, bands):
    content = wide_images.tiff(np.zeros((30, 30, bands), np.uint16), photometric=1, extra=[0] * (bands - 1))
    message = refusal(tmp_path, content)
    assert f"it is a TIFF with {bands} bands, and does not say which are colours; choose three bands" in message


def test_a_tile_that_is_left_out_is_black(tmp_path):
    content = bytearray(wide_images.tiff(scaled(GREY, 16), tile=(32, 32), compression=8))
    at = content.index(b"\x45\x01\x04\0\x04\0\0\0") + 8  # TileByteCounts: 4 values of 32 bits
    at = int.from_bytes(content[at : at + 4], "little")
    content[at : at + 4] = bytes(4)
    pixels, _ = opened(tmp_path, bytes(content))
    assert pixels[:32, :32].max() == 0
    assert_close(pixels[:32, 32:], GREY[:32, 32:])


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "lzma"])
@pytest.mark.parametrize("predictor", [1, 2])
def test_tiff_compressions_are_read_as_pillow_does(tmp_path, compression, predictor):
    buffer, values = io.BytesIO(), scaled(GREY, 16)
    tags = {317: predictor} if compression != "packbits" else {}
    Image.fromarray(values[..., 0]).save(buffer, "TIFF", compression=compression, tiffinfo=tags)
    assert_close(opened(tmp_path, buffer.getvalue())[0], GREY, 1)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_orientation_of_a_wide_image_is_applied(tmp_path, orientation):
    pixels, _ = opened(tmp_path, wide_images.tiff(scaled(PHOTO, 12), more={274: ("H", [orientation])}))
    turns = {1: 0, 3: 2, 6: -1}[orientation]
    assert_close(pixels, np.rot90(PHOTO, turns))


def test_texts_of_a_file_are_not_taken_as_notes(tmp_path):
    from PIL.PngImagePlugin import PngInfo

    buffer, texts = io.BytesIO(), PngInfo()
    texts.add_text("notes", "a text of the file")
    Image.fromarray(PHOTO).save(buffer, "PNG", pnginfo=texts)
    assert opened(tmp_path, buffer.getvalue())[1] == ()


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(4, 40), st.integers(4, 40)),
    channels=st.sampled_from([1, 3]),
    bits=st.sampled_from(DEPTHS),
    how=st.fixed_dictionaries(
        {
            "order": st.sampled_from("<>"),
            "planar": st.booleans(),
            "tile": st.sampled_from([None, (16, 16), (32, 16)]),
            "compression": st.sampled_from([1, 8]),
            "predictor": st.sampled_from([1, 2]),
            "big": st.booleans(),
        }
    ),
)
def test_any_layout_of_a_tiff_gives_the_same_pixels(tmp_path, seed, size, channels, bits, how):
    image = np.random.default_rng(seed).integers(0, 256, (*size, channels), np.uint8)
    image[0, 0] = 255
    if how["big"]:
        how["order"] = "<"
    if how["compression"] == 1:
        how["predictor"] = 1
    assert_close(opened(tmp_path, wide_images.tiff(scaled(image, bits), **how))[0], image)
