import struct
import zlib

import numpy as np
import pytest
from bad_images import run_length_bmp
from PIL import Image, ImageCms

from lineup.errors import ImageError
from lineup.images.formats import FORMATS, SUFFIXES
from lineup.images.reading import open_image

RED, BLUE, WHITE, BLACK = [255, 0, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0]
NOT_AN_IMAGE = (
    "expected an image; this file is not one that can be read; use one of JPEG, PNG, WEBP, GIF, BMP, TIFF, AVIF, PPM"
)
QUADRANTS = np.zeros((32, 48, 3), np.uint8)  # not symmetric under any rotation or mirroring
QUADRANTS[:16, :24], QUADRANTS[16:, :24], QUADRANTS[16:, 24:] = RED, BLUE, WHITE


def opened(tmp_path, image, name, **options):
    image.save(tmp_path / name, **options)
    decoded = open_image(tmp_path / name)
    assert decoded.mode == "RGB"
    return np.asarray(decoded).astype(int)  # (H, W, 3), 0 to 255


def written(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    return tmp_path / name


def refusal(path, **options):
    with pytest.raises(ImageError) as caught:
        open_image(path, **options)
    return str(caught.value)


def is_quadrants(decoded):
    return decoded.shape == (32, 48, 3) and np.abs(decoded - QUADRANTS).mean() < 5


def exif_of(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


# EXIF orientation → stored image; the comment is the visual position of row 0 and column 0.
STORED = {
    1: lambda upright: upright,  # top, left
    2: lambda upright: upright[:, ::-1],  # top, right
    3: lambda upright: upright[::-1, ::-1],  # bottom, right
    4: lambda upright: upright[::-1],  # bottom, left
    5: lambda upright: upright.transpose(1, 0, 2),  # left, top
    6: lambda upright: upright.transpose(1, 0, 2)[::-1],  # right, top
    7: lambda upright: upright.transpose(1, 0, 2)[::-1, ::-1],  # right, bottom
    8: lambda upright: upright.transpose(1, 0, 2)[:, ::-1],  # left, bottom
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif", "packed.tif", "a.avif"])
def test_exif_orientation_is_applied(tmp_path, orientation, name):
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](QUADRANTS)))
    how = {"compression": "tiff_lzw"} if name == "packed.tif" else {"quality": 95}  # these go through libtiff
    assert is_quadrants(opened(tmp_path, stored, name, exif=exif_of(orientation), **how))


@pytest.mark.parametrize("exif", [exif_of(0), exif_of(9), b"Exif\0\0garbage that is not TIFF"])
def test_invalid_exif_is_ignored(tmp_path, exif):
    assert is_quadrants(opened(tmp_path, Image.fromarray(QUADRANTS), "a.jpg", exif=exif))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_supported_suffix_is_decoded(tmp_path, suffix):
    assert is_quadrants(opened(tmp_path, Image.fromarray(QUADRANTS), f"a{suffix}"))


def test_16_bit_and_float_greyscale_is_scaled_not_clipped(tmp_path):
    grey = Image.fromarray(np.array([[0, 257, 0x8080, 0x8000, 65535]], np.uint16))
    for name in ("grey.png", "grey.tif"):
        assert opened(tmp_path, grey, name)[0, :, 0].tolist() == [0, 1, 128, 127, 255]
    floats = Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32))
    assert opened(tmp_path, floats, "floats.tif")[0, :, 0].tolist() == [0, 127, 255]


def test_alpha_channel_is_composited_over_white(tmp_path):
    image = Image.fromarray(np.array([[[*RED, 255], [*RED, 0], [*BLACK, 128]]], np.uint8))
    for name in ("a.png", "a.tif", "a.webp"):
        assert opened(tmp_path, image, name, lossless=True)[0].tolist() == [RED, WHITE, [127, 127, 127]]
    grey = Image.fromarray(np.array([[[40, 255], [40, 0]]], np.uint8), "LA")
    assert opened(tmp_path, grey, "grey.png")[0].tolist() == [[40, 40, 40], WHITE]


def test_transparent_colour_is_replaced_by_white(tmp_path):
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette(RED + BLUE)
    for name in ("a.png", "a.gif"):
        assert opened(tmp_path, palette, name, transparency=1)[0].tolist() == [RED, WHITE]
    colour = Image.fromarray(np.array([[RED, BLUE]], np.uint8))
    assert opened(tmp_path, colour, "colour.png", transparency=tuple(RED))[0].tolist() == [WHITE, BLUE]
    grey = Image.fromarray(np.array([[0, 0x8080]], np.uint16))
    assert opened(tmp_path, grey, "grey.png", transparency=0)[0].tolist() == [WHITE, [128, 128, 128]]


COLOURS = [
    ("1", 1, "a.png", WHITE),
    ("1", 0, "a.tif", BLACK),
    ("L", 77, "a.jpg", [77, 77, 77]),
    ("L", 77, "a.bmp", [77, 77, 77]),
    ("CMYK", (0, 255, 255, 0), "a.jpg", RED),
    ("CMYK", (0, 0, 0, 255), "a.tif", BLACK),
    ("LA", (77, 255), "a.png", [77, 77, 77]),
    ("LA", (77, 255), "a.tif", [77, 77, 77]),
]


@pytest.mark.parametrize(("mode", "color", "name", "expected"), COLOURS)
def test_every_colour_mode_is_converted_to_rgb(tmp_path, mode, color, name, expected):
    decoded = opened(tmp_path, Image.new(mode, (8, 8), color), name)
    assert np.abs(decoded - expected).max() <= 2


@pytest.mark.parametrize("name", ["moving.gif", "moving.webp", "moving.png", "pages.tif", "phone.jpg"])
def test_only_the_first_frame_is_decoded(tmp_path, name):
    frames = [Image.new("RGB", (6, 4), color) for color in ("red", "blue", "green")]
    kind = {"format": "MPO"} if name == "phone.jpg" else {"lossless": True}  # phones put a second image into a JPEG
    decoded = opened(tmp_path, frames[0], name, save_all=True, append_images=frames[1:], **kind)
    assert np.abs(decoded - RED).max() <= 2


@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
@pytest.mark.parametrize("kind", FORMATS)
def test_truncated_file_is_rejected(tmp_path, kind, share):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "holiday", format=kind)
    whole = (tmp_path / "holiday").read_bytes()
    message = refusal(written(tmp_path, "holiday", whole[: int(len(whole) * share)]))
    assert message.startswith("holiday: expected a whole image; it is damaged or cut off (")
    assert message.endswith("); save or send it again")
    assert str(tmp_path) not in message


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 4096, b"Dear John,\n", b"wide open", b"\xff\xd8\xff", b"Please look at this"]
)
def test_non_image_file_is_rejected_with_the_known_formats(tmp_path, data):
    assert refusal(written(tmp_path, "letter.jpg", data)) == f"letter.jpg: {NOT_AN_IMAGE}"


PROFILES = {
    "good": ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),  # applying it would change the colours
    "broken": b"no profile at all" * 20,
    "cut off": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()[:200],
}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif", "a.avif"])
def test_colour_profiles_are_ignored(tmp_path, name, profile):
    plain = opened(tmp_path, Image.fromarray(QUADRANTS), name)
    profiled = opened(tmp_path, Image.fromarray(QUADRANTS), name, icc_profile=PROFILES[profile])
    assert (profiled == plain).all()
    with Image.open(tmp_path / name) as image:
        assert image.info["icc_profile"] == PROFILES[profile]


def test_png_with_a_corrupt_colour_profile_is_decoded(tmp_path):
    Image.fromarray(QUADRANTS).save(tmp_path / "a.png", icc_profile=PROFILES["good"])
    content = bytearray((tmp_path / "a.png").read_bytes())
    start = content.index(b"iCCP")
    end = start + 4 + int.from_bytes(content[start - 4 : start])
    content[start + 30 : end] = b"\xee" * (end - start - 30)
    content[end : end + 4] = struct.pack(">I", zlib.crc32(content[start:end]))
    assert is_quadrants(np.asarray(open_image(written(tmp_path, "b.png", content))).astype(int))


def test_file_over_max_mb_is_rejected(tmp_path):
    path = written(tmp_path, "film.mov", bytes(2_000_001))
    assert refusal(path, max_mb=2) == "film.mov: expected at most 2 MB; got 2.0; make it smaller and try again"
    assert refusal(path, max_mb=3) == refusal(path) == f"film.mov: {NOT_AN_IMAGE}"
    Image.fromarray(QUADRANTS).save(tmp_path / "a.png")
    assert open_image(tmp_path / "a.png", max_mb=1).size == (48, 32)


def test_os_errors_do_not_reveal_the_folder(tmp_path):
    (tmp_path / "album.jpg").mkdir()
    assert "(Is a directory)" in refusal(tmp_path / "album.jpg")
    assert str(tmp_path) not in refusal(tmp_path / "album.jpg") + refusal(tmp_path / "album.jpg" / "none.jpg")


def test_missing_file_is_reported_without_its_folder(tmp_path):
    message = "none.png: expected an image; there is no such file; check the path"
    assert refusal(tmp_path / "none.png") == refusal(str(tmp_path / "none.png")) == message


@pytest.mark.parametrize(
    ("side", "got"),
    [
        (6400, "41.0 (6400 × 6400 pixels)"),
        (13300, "176.9 (13300 × 13300 pixels)"),
        (40000, "1600.0 (40000 × 40000 pixels)"),
    ],
)
def test_image_over_max_megapixels_is_rejected_by_header(tmp_path, side, got):
    Image.new("1", (1, 1)).save(tmp_path / "a.png")
    header = bytearray((tmp_path / "a.png").read_bytes())  # without pixel data, so that decoding it would fail
    header[16:24] = struct.pack(">II", side, side)
    header[29:33] = struct.pack(">I", zlib.crc32(header[12:29]))
    message = f"poster.png: expected at most 40 megapixels; got {got}; make it smaller and try again"
    assert refusal(written(tmp_path, "poster.png", header)) == message


def test_max_megapixels_is_inclusive(tmp_path):
    Image.new("1", (1000, 1000)).save(tmp_path / "a.png")
    Image.new("1", (1000, 1010)).save(tmp_path / "b.png")
    assert open_image(tmp_path / "a.png", max_megapixels=1).size == (1000, 1000)
    assert refusal(tmp_path / "b.png", max_megapixels=1).startswith(
        "b.png: expected at most 1 megapixels; got 1.0 (1000 ×"
    )


def test_orientation_is_applied_despite_a_corrupt_exif_tag(tmp_path):
    import struct

    turned = struct.pack("<HHIHH", 0x112, 3, 1, 6, 0)
    broken = struct.pack("<HHI4s", 0x128, 1, 1, b"\2\0\0\0")
    exif = b"Exif\0\0II*\0\x08\0\0\0\2\0" + turned + broken + b"\0" * 4
    Image.new("RGB", (16, 8)).save(tmp_path / "e.jpg", exif=exif)
    assert open_image(tmp_path / "e.jpg").size == (8, 16)


def test_extreme_aspect_ratio_is_rejected(tmp_path):
    Image.new("RGB", (3000, 1)).save(tmp_path / "thread.png")
    message = "thread.png: expected sides of at most 20 to 1; got 3000 × 1 pixels; crop it"
    assert refusal(tmp_path / "thread.png") == message
    Image.new("RGB", (100, 5)).save(tmp_path / "strip.png")
    assert open_image(tmp_path / "strip.png").size == (100, 5)


@pytest.mark.parametrize("top", [1.0, 255.0, 65535.0, 1e6])
def test_float_and_32_bit_greyscale_is_scaled_to_inferred_white(tmp_path, top):
    half = np.full((4, 4), top / 2, dtype=np.float32)
    half[0, 0] = top
    Image.fromarray(half).save(tmp_path / "float.tiff")
    assert abs(open_image(tmp_path / "float.tiff").getpixel((2, 2))[0] - 127) <= 1
    if top >= 65535:
        Image.fromarray(half.astype(np.int32)).save(tmp_path / "wide.tiff")
        assert abs(open_image(tmp_path / "wide.tiff").getpixel((2, 2))[0] - 127) <= 1


# --- JPEG decoding at reduced size ---


@pytest.mark.parametrize(
    ("size", "min_side_px", "decoded_size"),
    [
        ((4000, 3000), 470, (1000, 750)),
        ((1024, 768), 470, (1024, 768)),
        ((1024, 768), 384, (512, 384)),
        ((3000, 4000), 512, (750, 1000)),
        ((640, 5000), 300, (320, 2500)),
        ((300, 300), 512, (300, 300)),
        ((4000, 3000), 0, (4000, 3000)),
    ],
)
def test_jpeg_is_reduced_no_further_than_min_side_px(tmp_path, size, min_side_px, decoded_size):
    path = tmp_path / "large.jpg"
    Image.effect_noise(size, 60).convert("RGB").save(path)
    decoded = open_image(path, min_side_px=min_side_px)
    assert decoded.size == decoded_size
    assert min(decoded.size) >= min(min_side_px, *size)


def test_orientation_is_applied_to_a_reduced_jpeg(tmp_path):
    image, exif = Image.new("RGB", (1600, 800), "red"), Image.Exif()
    image.paste("blue", (800, 0, 1600, 800))
    exif[0x0112] = 6  # rotate by 90°
    image.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    decoded = open_image(tmp_path / "turned.jpg", min_side_px=200)
    assert decoded.size == (200, 400)
    top, bottom = decoded.getpixel((100, 50)), decoded.getpixel((100, 350))
    assert top[0] > 240 > 15 > top[2]
    assert bottom[2] > 240 > 15 > bottom[0]


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_reduced_jpeg_keeps_its_colours(tmp_path, mode):
    image = Image.linear_gradient("L").resize((1600, 1600)).convert("RGB").convert(mode)
    image.save(tmp_path / "modes.jpg", quality=95)
    small, whole = (open_image(tmp_path / "modes.jpg", min_side_px=min_side_px) for min_side_px in (400, 0))
    difference = np.abs(np.asarray(small, float) - np.asarray(whole.resize(small.size, Image.Resampling.BOX), float))
    assert difference.max() < 4


@pytest.fixture(scope="module")
def poster(tmp_path_factory):
    """Return a folder with baseline.jpg and progressive.jpg, of 45 megapixels each."""
    folder, image = tmp_path_factory.mktemp("poster"), Image.linear_gradient("L").resize((9000, 5000))
    image.save(folder / "baseline.jpg")
    image.save(folder / "progressive.jpg", progressive=True)
    return folder


def test_max_megapixels_applies_to_the_reduced_size_of_a_jpeg(poster):
    path, got = poster / "baseline.jpg", "got 45.0 (9000 × 5000 pixels); make it smaller and try again"
    assert open_image(path, min_side_px=500).size == (1125, 625)
    assert open_image(path, max_megapixels=12, min_side_px=2000).size == (4500, 2500)
    too_large = f"baseline.jpg: expected at most {{}} megapixels; {got}"
    assert refusal(path, max_megapixels=11, min_side_px=2000) == too_large.format(11)
    assert refusal(path, min_side_px=4000) == too_large.format(40)  # needs full resolution
    assert refusal(path) == too_large.format(40)  # without min_side_px


def test_jpeg_over_200_megapixels_is_rejected(tmp_path, poster):
    content = (poster / "baseline.jpg").read_bytes()
    at = content.index(b"\xff\xc0") + 5
    for height, width in ((14_143, 14_143), (20_000, 60_000)):
        path = written(tmp_path, "wall.jpg", content[:at] + struct.pack(">HH", height, width) + content[at + 4 :])
        got = f"got {height * width / 1e6:.1f} ({width} × {height} pixels)"
        assert f"expected at most 200 megapixels; {got}" in refusal(path, min_side_px=100)


def test_multi_scan_jpeg_is_limited_by_its_full_size(tmp_path, poster):
    """libjpeg buffers all coefficients of such a file, even when decoding at reduced size."""
    limit = "expected at most 40 megapixels; got 45.0 (9000 × 5000 pixels)"
    assert limit in refusal(poster / "progressive.jpg", min_side_px=500)
    assert open_image(poster / "progressive.jpg", 50, 500).size == (1125, 625)
    Image.new("RGB", (64, 48)).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    frame, scan = content.index(b"\xff\xc0") + 5, content.index(b"\xff\xda")
    one_component = b"\xff\xda\0\x08\1\1\0\0\x3f\0"
    content = content[:frame] + struct.pack(">HH", 5000, 9000) + content[frame + 4 : scan] + one_component * 3
    assert limit in refusal(written(tmp_path, "b.jpg", content + b"\xff\xd9"), min_side_px=500)


@pytest.mark.parametrize("rows", [100, 3000])
def test_run_length_encoded_bmp_is_limited_to_4_megapixels(tmp_path, rows):
    path = written(tmp_path, "a.bmp", run_length_bmp(1400, rows, (b"\xff\7" * 5 + b"\x7d\7\0\0") * rows))
    if rows == 100:
        assert open_image(path).size == (1400, 100)
    else:
        assert "expected at most 4 megapixels; got 4.2 (1400 × 3000 pixels)" in refusal(path)
