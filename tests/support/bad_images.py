"""Generates damaged image files, files with forged headers and decompression bombs, deterministically by seed.

python tests/support/bad_images.py bad_files 2000 0 opens 2000 files of seed 0 and prints a JSON report;
large_images, small_bombs and long_exif do the same with those files.
"""

import functools
import io
import json
import random
import resource
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT)] if str(ROOT) not in sys.path else []

import wide_images

from lineup.errors import ImageError
from lineup.images.formats import SUFFIXES
from lineup.images.reading import open_image

SIZE = (64, 48)
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


# --- valid images, which the others are derived from ---


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@functools.cache
def good_files() -> list[tuple[str, bytes]]:
    """Return small valid images, ``(suffix, content)``, of every format and most encodings."""
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 4), np.uint8)
    rgba = Image.fromarray(noise).resize(SIZE, Image.Resampling.BICUBIC)
    rgb, grey = rgba.convert("RGB"), rgba.convert("L")
    palette, wide = rgb.quantize(32), Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    more, exif = [rgb.rotate(90 * turn) for turn in (1, 2)], Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"
    moving = {"save_all": True, "append_images": more, "duration": 50}
    return [
        (".jpg", saved(rgb, "JPEG", exif=exif, icc_profile=b"a profile" * 20)),
        (".jpg", saved(rgb, "JPEG", progressive=True)),
        (".jpg", saved(rgb.convert("CMYK"), "JPEG", restart_marker_rows=1)),
        (".jpeg", saved(rgb, "MPO", save_all=True, append_images=more)),
        (".png", saved(rgba, "PNG", exif=exif, icc_profile=b"a profile" * 20)),
        (".png", saved(palette, "PNG", transparency=3)),
        (".png", saved(wide, "PNG")),
        (".png", saved(rgb, "PNG", disposal=1, **moving)),
        (".webp", saved(rgb, "WEBP", method=0)),
        (".webp", saved(rgba, "WEBP", lossless=True, method=0, exif=exif)),
        (".webp", saved(rgb, "WEBP", method=0, **moving)),
        (".gif", saved(palette, "GIF", transparency=3, comment=b"made for a test")),
        (".gif", saved(rgb, "GIF", disposal=2, **moving)),
        (".bmp", saved(rgb, "BMP")),
        (".bmp", saved(palette, "BMP")),
        (".bmp", run_length_bmp(*SIZE)),
        (".tif", saved(rgb, "TIFF", exif=exif, icc_profile=b"a profile" * 20)),
        (".tif", saved(rgba, "TIFF", compression="tiff_lzw")),
        (".tif", saved(wide, "TIFF", compression="tiff_adobe_deflate")),
        (".tif", saved(rgb, "TIFF", compression="jpeg")),
        (".tif", saved(grey.convert("1"), "TIFF", compression="group4")),
        (".tiff", saved(rgb.convert("CMYK"), "TIFF", compression="packbits", big_tiff=True)),
        (".tiff", tiled_tiff((32, 32))),
        (".tif", wide_images.tiff(np.asarray(rgb).astype(np.uint16) * 16, compression=8, predictor=2, tile=(32, 16))),
        (".tif", wide_images.tiff(np.asarray(rgba) / np.float32(255), order=">", planar=True, extra=[2])),
        (".png", wide_images.png(np.asarray(rgba).astype(np.uint16) * 16, {b"sBIT": bytes([12] * 4)})),
        (".ppm", saved(rgb, "PPM")),
        (".pgm", b"P5 # grey\n64 48 4095\n" + (np.asarray(grey).astype(np.uint16) * 16).astype(">u2").tobytes()),
        (".pbm", b"P1 64 48\n" + b"01" * 32 * 48),
        (".avif", saved(rgb, "AVIF", speed=10, exif=exif)),
        (".avif", saved(rgba, "AVIF", speed=10)),
        (".avif", saved(rgb, "AVIF", speed=10, **moving)),
    ]


def run_length_bmp(width: int, height: int, rows: bytes | None = None) -> bytes:
    """Return a BMP of 8 bits per pixel whose rows are run-length encoded."""
    if rows is None:
        rows = b"".join(bytes((width, row)) + b"\0\0" for row in range(height)) + b"\0\1"
    palette = b"".join(bytes((value, 255 - value, value // 2, 0)) for value in range(256))
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(rows), 0, 0, 256, 0)
    start = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + header + palette + rows


def tiff(tags: list[tuple[int, int, list[int]]], data: bytes) -> bytes:
    """Return a TIFF of one directory with the given ``(tag, type, values)``; a value of -1 is the offset of `data`."""
    layouts = {1: "B", 3: "H", 4: "I"}
    after = 8 + 2 + 12 * len(tags) + 4
    long = [len(values) * struct.calcsize(layouts[kind]) for _, kind, values in tags]
    start = after + sum(length for length in long if length > 4)
    entries, values_elsewhere = b"", b""
    for tag, kind, values in tags:
        stored = struct.pack(f"<{len(values)}{layouts[kind]}", *(start if value == -1 else value for value in values))
        entries += struct.pack("<HHI", tag, kind, len(values))
        if len(stored) > 4:
            entries += struct.pack("<I", after + len(values_elsewhere))
            values_elsewhere += stored
        else:
            entries += stored.ljust(4, b"\0")
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + values_elsewhere + data


def tiled_tiff(*tiles: tuple[int, int], kind: int = 4) -> bytes:
    """Return a grey TIFF of `SIZE` with one deflated tile; each further tile size adds a pair of duplicate tags."""
    (width, length), stored = tiles[0], zlib.compress(b"\x55" * (tiles[0][0] * tiles[0][1]), 9)
    number = -(-SIZE[0] // width) * -(-SIZE[1] // length)
    tags = [(256, 4, [SIZE[0]]), (257, 4, [SIZE[1]]), (258, 3, [8]), (259, 3, [8]), (262, 3, [1]), (277, 3, [1])]
    tags += [(322, kind, [width]) for width, _ in tiles] + [(323, kind, [length]) for _, length in tiles]
    return tiff([*tags, (324, 4, [-1] * number), (325, 4, [len(stored)] * number)], stored)


# --- damaged files ---


def bad_files(count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yield ``(name, content)`` of `count` files: each damage applied to each valid image, in turn."""
    rng = random.Random(seed)
    good = good_files()
    for number in range(count):
        suffix, content = good[number % len(good)]
        damage = DAMAGES[number // len(good) % len(DAMAGES)]
        damaged = damage(rng, content)
        if suffix == ".png" and rng.random() < 0.7:
            damaged = with_checksums(damaged)  # else a checksum mismatch ends decoding early
        if rng.random() < 0.1:
            suffix = rng.choice(SUFFIXES)
        yield f"{number:07}-{damage.__name__}{suffix}", damaged


def cut(rng: random.Random, content: bytes) -> bytes:
    return content[: _offset(rng, content)]


def flipped(rng: random.Random, content: bytes) -> bytes:
    damaged = bytearray(content)
    for _ in range(rng.choice((1, 2, 8, 64))):
        damaged[_offset(rng, content)] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def lying(rng: random.Random, content: bytes) -> bytes:
    """Overwrite an integer, as if forging a size, length, count or offset."""
    damaged = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 3))):
        width, at = rng.choice((1, 2, 3, 4, 8)), _offset(rng, content)
        top = 256**width - 1
        forged = rng.choice(
            (0, 1, top, top - 1, top // 2, top // 2 + 1, rng.randint(0, top), rng.randint(0, 9999) & top)
        )
        damaged[at : at + width] = forged.to_bytes(width, rng.choice(("little", "big")))
    return bytes(damaged[: len(content)])


def blanked(rng: random.Random, content: bytes) -> bytes:
    start, end = sorted((_offset(rng, content), _offset(rng, content)))
    return content[:start] + rng.choice((b"\0", b"\xff")) * (end - start) + content[end:]


def shortened(rng: random.Random, content: bytes) -> bytes:
    start = _offset(rng, content)
    return content[:start] + content[start + rng.choice((1, 2, 4, 50)) :]


def repeated(rng: random.Random, content: bytes) -> bytes:
    start, end = sorted((_offset(rng, content), _offset(rng, content)))
    return content[:start] + content[start:end] * rng.choice((2, 3, 20)) + content[end:]


def lengthened(rng: random.Random, content: bytes) -> bytes:
    junk = rng.randbytes(rng.choice((1, 100, 5000)))
    at = rng.choice((len(content), _offset(rng, content)))
    return content[:at] + junk + content[at:]


def mixed(rng: random.Random, content: bytes) -> bytes:
    """Concatenate the start of one file and the end of another."""
    other = rng.choice(good_files())[1]
    return content[: _offset(rng, content)] + other[_offset(rng, other) :]


def mislabelled(rng: random.Random, content: bytes) -> bytes:
    """Replace the content with a file of another type, whole or truncated, under the same suffix."""
    other = rng.choice(good_files())[1]
    return rng.choice((other, other[: _offset(rng, other)], b"<svg/>", b"%PDF-1.7", rng.randbytes(300), b""))


DAMAGES = (cut, flipped, lying, blanked, lying, shortened, repeated, lengthened, lying, mixed, mislabelled)


def _offset(rng: random.Random, content: bytes) -> int:
    """Return a random offset; half of the time near the start, where the headers are."""
    return rng.randrange(min(len(content), rng.choice((32, 256, len(content), len(content)))))


def with_checksums(content: bytes) -> bytes:
    """Return a PNG with valid chunk checksums, up to the first invalid chunk length."""
    if not content.startswith(PNG_MAGIC):
        return content
    fixed, at = bytearray(content), len(PNG_MAGIC)
    while at + 12 <= len(fixed):
        end = at + 8 + int.from_bytes(fixed[at : at + 4])
        if end + 4 > len(fixed):
            break
        fixed[end : end + 4] = zlib.crc32(fixed[at + 4 : end]).to_bytes(4)
        at = end + 4
    return bytes(fixed)


# --- decompression bombs: small files that would exhaust memory or take minutes ---


def bombs() -> Iterator[tuple[str, bytes]]:
    """Yield ``(name, content)`` of files that must be rejected immediately; most are well-formed."""
    yield from large_images()
    yield from small_bombs()


def large_images() -> Iterator[tuple[str, bytes]]:
    """Yield files of every format whose headers declare 41 to 400 megapixels."""
    for width, height in ((6400, 6410), (10_000, 10_000), (14_000, 14_280), (20_000, 20_000)):
        size = f"{width * height / 1e6:.0f}"
        yield f"header-{size}.png", png(width, height)
        yield f"two-headers-{size}.png", png(width, height, before=[png_header(*SIZE)])
        yield f"animated-{size}.png", animated_png(width, height)
        yield f"screen-{size}.gif", gif((width, height), SIZE)
        yield f"frame-{size}.gif", gif(SIZE, (width, height))
        yield f"header-{size}.bmp", _patched(".bmp", 18, "<ii", width, height)
        yield f"run-length-{size}.bmp", run_length_bmp(width, height, b"\0\1")
        yield f"header-{size}.tif", tiff([*_grey_tags(width, height), (273, 4, [8])], b"")
        yield f"tile-{size}.tif", tiled_tiff_that_promises(width, height)
        yield f"progressive-{size}.jpg", jpeg_of(width, height, progressive=True)
        yield f"header-{size}.jpg", jpeg_of(width, height)  # rejected only without min_side_px
        yield f"box-{size}.avif", avif_of(width, height)
        if width < 2**14:
            yield f"simple-{size}.webp", _patched_webp(b"VP8 ", 26, struct.pack("<HH", width, height))
            sides = (width - 1) | (height - 1) << 14
            yield f"lossless-{size}.webp", _patched_webp(b"VP8L", 21, struct.pack("<I", sides))
        sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        yield f"extended-{size}.webp", _patched_webp(b"VP8X", 24, sides)
        yield f"moving-{size}.webp", _patched_webp(b"ANIM", 24, sides)
    whole = zlib.compress(bytes(((10_000 + 7) // 8 + 1) * 10_000), 9)
    yield "whole-100.png", png(10_000, 10_000, depth=1, color=0, data=whole)


def small_bombs() -> Iterator[tuple[str, bytes]]:
    """Yield files that declare a small size, with forged or far too many parts."""
    yield "tags-that-overlap.tif", overlapping_tags(3000, 300_000)
    yield "tags-that-repeat.tif", tiled_tiff((4096, 4096), SIZE)
    yield "tags-that-repeat-the-other-way.tif", tiled_tiff(SIZE, (4096, 4096))
    yield "strips.tif", tiff([*_grey_tags(*SIZE), (273, 1, [8] * 300_000), (278, 3, [1])], bytes(SIZE[0] * SIZE[1]))
    yield "scans.jpg", jpeg_of(6000, 6000, progressive=True, scans=2000)
    yield "comments.gif", gif(SIZE, SIZE, extensions=b"!\xfe" + b"\xff".ljust(256, b"c") * 10_000 + b"\0")
    profile = png_chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(1_000_000), 9))
    yield "profiles.png", png(*SIZE, before=[profile] * 4000)
    yield "chunks.png", png(*SIZE, before=[png_chunk(b"abCd", b"")] * 200_000)
    yield "junk.jpg", good_files()[0][1][:2] + b"\xff" * 2_000_000
    yield "pixels.ppm", b"P6 6400 6410 255\n"
    yield "plain-pixels.pgm", b"P2 6400 6410 255\n" + b"1 " * 1000
    yield "thousands-of-bands.tif", tiff([*_grey_tags(6000, 6000)[:-1], (277, 3, [5000]), (273, 4, [8])], b"")
    bands = [
        *_grey_tags(6000, 6000),
        (262, 3, [2]),
        (258, 3, [64] * 3),
        (277, 3, [3]),
        (339, 3, [3] * 3),
        (273, 4, [8]),
    ]
    yield "wide-pixels.tif", tiff(list({tag[0]: tag for tag in bands}.values()), b"")
    tags = [(317, 3, [2]), (322, 4, [30_000]), (323, 4, [30_000]), (324, 4, [-1]), (325, 4, [1000])]
    tags = [(258, 3, [16]), (259, 3, [8]), *tags]
    tags = {tag[0]: tag for tag in (*_grey_tags(*SIZE), *tags)}
    yield "wide-tile.tif", tiff(list(tags.values()), zlib.compress(bytes(1_000_000)))
    yield "long-runs.bmp", run_length_bmp(6000, 6000, b"\1\1\0\0" * 6000 + b"\0\1")


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int, depth: int = 8, color: int = 6) -> bytes:
    return png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))


def png(
    width: int, height: int, before: Sequence[bytes] = (), depth: int = 8, color: int = 6, data: bytes | None = None
) -> bytes:
    stored = zlib.compress(bytes(1000)) if data is None else data
    header = png_header(width, height, depth, color)
    return PNG_MAGIC + b"".join(before) + header + png_chunk(b"IDAT", stored) + png_chunk(b"IEND", b"")


def animated_png(width: int, height: int) -> bytes:
    """Return a PNG whose first frame has a disposal, for which Pillow allocates memory on open."""
    frame = struct.pack(">IIIIIHHBB", 0, width, height, 0, 0, 1, 1, 1, 0)
    animation = png_chunk(b"acTL", struct.pack(">II", 2, 0)) + png_chunk(b"fcTL", frame)
    content = png(width, height)
    return content[:33] + animation + content[33:]


def gif(screen: tuple[int, int], frame: tuple[int, int], extensions: bytes = b"") -> bytes:
    """Return a GIF whose first frame is disposed to a non-zero background colour."""
    head = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 1, 0) + b"\0\0\0\xff\0\0"
    image = b"," + struct.pack("<4HB", 0, 0, *frame, 0) + b"\2\2\x44\1\0;"
    return head + extensions + b"!\xf9\4\x08\0\0\0\0" + image


def jpeg_of(width: int, height: int, progressive: bool = False, scans: int = 0) -> bytes:
    """Return a JPEG with a forged size in its frame header; its last scan is repeated `scans` times."""
    content = saved(Image.new("L", SIZE, 77), "JPEG", progressive=progressive)
    at = content.index(b"\xff\xc2" if progressive else b"\xff\xc0") + 5
    content = content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + last * scans + b"\xff\xd9"


def avif_of(width: int, height: int) -> bytes:
    content = saved(Image.new("RGB", SIZE), "AVIF", speed=10)
    at = content.index(b"ispe") + 8
    return content[:at] + struct.pack(">II", width, height) + content[at + 8 :]


def overlapping_tags(count: int, length: int) -> bytes:
    """Return a TIFF, also usable as EXIF, whose tags all reference the same bytes."""
    after = 8 + 2 + 12 * count + 4
    entries = b"".join(struct.pack("<HHII", 20_000 + tag, 7, length, after) for tag in range(count))
    return b"II*\0" + struct.pack("<IH", 8, count) + entries + bytes(4) + bytes(length)


def tiled_tiff_that_promises(width: int, length: int) -> bytes:
    tags = [*_grey_tags(*SIZE), (322, 4, [width]), (323, 4, [length]), (324, 4, [-1]), (325, 4, [1000])]
    return tiff([(259, 3, [8]) if tag[0] == 259 else tag for tag in tags], zlib.compress(bytes(1_000_000)))


def long_exif() -> Iterator[tuple[str, bytes]]:
    """Yield valid images whose EXIF takes gigabytes or minutes to parse."""
    for what, exif in (("overlaps", overlapping_tags(20_000, 300_000)), ("repeats", b"Exif\0\0" * 200_000)):
        yield f"{what}.jpg", jpeg_with_exif(exif)
        for kind in ("PNG", "WEBP", "AVIF")[
            : 2 if what == "repeats" else 3
        ]:  # the EXIF of an AVIF must start with a TIFF header
            yield f"{what}.{kind.lower()}", saved(Image.new("RGB", SIZE), kind, exif=b"Exif\0\0" + exif)


def jpeg_with_exif(exif: bytes) -> bytes:
    """Return a JPEG with EXIF of any length, split into as many segments as needed."""
    content = saved(Image.new("RGB", SIZE), "JPEG")
    parts = [b"Exif\0\0" + exif[at : at + 65_000] for at in range(0, len(exif), 65_000)]
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part for part in parts)
    return content[:2] + segments + content[2:]


def _grey_tags(width: int, height: int) -> list[tuple[int, int, list[int]]]:
    return [(256, 4, [width]), (257, 4, [height]), (258, 3, [8]), (259, 3, [1]), (262, 3, [1]), (277, 3, [1])]


def _with(
    tags: list[tuple[int, int, list[int]]], others: list[tuple[int, int, list[int]]]
) -> list[tuple[int, int, list[int]]]:
    """Return tags of which others replace those of the same number."""
    return list({tag[0]: tag for tag in [*tags, *others]}.values())


def _patched(suffix: str, at: int, layout: str, *values: int) -> bytes:
    content = next(content for end, content in good_files() if end == suffix)
    patch = struct.pack(layout, *values)
    return content[:at] + patch + content[at + len(patch) :]


def _patched_webp(kind: bytes, at: int, patch: bytes) -> bytes:
    image = Image.new("RGBA" if kind == b"VP8X" else "RGB", SIZE, (9, 9, 9, 9)[: 4 if kind == b"VP8X" else 3])
    more = {"save_all": True, "append_images": [Image.new("RGB", SIZE, "red")]} if kind == b"ANIM" else {}
    content = saved(image, "WEBP", lossless=kind == b"VP8L", method=0, **more)
    assert kind in content[:60], kind
    return content[:at] + patch + content[at + len(patch) :]


# --- report ---


def report(files: Iterable[tuple[str, bytes]]) -> dict[str, Any]:
    """Open files one after the other, and return the outcome.

    Seconds are CPU time, so that other load does not count; megabytes are peak resident memory.
    """
    count, refused, failures, slowest = 0, 0, [], (0.0, "")
    with tempfile.TemporaryDirectory() as folder:
        good = Path(folder) / "good.png"
        good.write_bytes(next(content for suffix, content in good_files() if suffix == ".png"))
        before, start_mb = open_image(good).tobytes(), _peak_mb()
        for name, content in files:
            count += 1
            path = Path(folder) / name
            path.write_bytes(content)
            started = time.process_time()
            try:
                image = open_image(path)
                if image.mode != "RGB" or not 0 < image.width * image.height <= 40e6:
                    failures.append(f"{name}: {image}")
            except ImageError as error:
                refused += 1
                if not str(error).startswith(f"{name}: expected"):
                    failures.append(f"{name}: {error}")
            except Exception as error:
                failures.append(f"{name}: {error!r}")
            slowest = max(slowest, (time.process_time() - started, name))
            path.unlink()
        return {
            "count": count,
            "refused": refused,
            "failures": failures,
            "slowest_s": slowest,
            "growth_mb": _peak_mb() - start_mb,
            "good_afterwards": open_image(good).tobytes() == before,
        }


def _peak_mb() -> float:
    status = Path("/proc/self/status")  # getrusage starts with the parent's peak
    if status.exists():
        return next(int(line.split()[1]) / 1e3 for line in status.read_text().splitlines() if line[:5] == "VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    print(json.dumps(report(globals()[sys.argv[1]](*map(int, sys.argv[2:])))))
