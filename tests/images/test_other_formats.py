import struct

import numpy as np
import pytest
import wide_images
from PIL import Image

from lineup.errors import ImageError
from lineup.images.reading import check_header, open_image


def box(brand, compatible=b"mif1"):
    return struct.pack(">I", 24) + b"ftyp" + brand + bytes(4) + compatible + brand + b"\0\0\0\x08mdat"


GREY = np.zeros((20, 20, 1), np.uint8)
KINDS = [
    (box(b"heic"), "it is a HEIC image; save it as JPEG"),
    (box(b"heix"), "it is a HEIC image"),
    (box(b"mif1", b"heic"), "it is a HEIF image; save it as JPEG"),
    (box(b"crx "), "it is a camera raw file (Canon CR3); develop it in a photo editor"),
    (box(b"isom"), "it is a video; save one frame"),
    (box(b"qt  "), "it is a video"),
    (b"\xff\x0a" + bytes(50), "it is a JPEG XL image; save it as PNG or JPEG"),
    (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(50), "it is a JPEG XL image"),
    (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(50), "it is a JPEG 2000 image"),
    (bytes(128) + b"DICM" + bytes(50), "it is a DICOM file; save the slice to classify as PNG"),
    (b"II*\0\x10\0\0\0CR\x02\0" + bytes(500), "camera raw file"),
    (wide_images.tiff(GREY, more={50706: ("s", bytes([1, 4, 0, 0]))}), "it is a camera raw file; develop"),
    (
        wide_images.tiff(GREY, more={254: ("I", [1]), 330: ("I", [8]), 271: ("s", b"NIKON\0")}),
        "camera raw file of Nikon",
    ),
    (wide_images.tiff(GREY, photometric=32803), "it is a camera raw file"),
    (b"FUJIFILMCCD-RAW 0201", "it is a camera raw file (Fujifilm RAF)"),
    (b"IIU\0\x18\0\0\0", "it is a camera raw file (Panasonic RW2)"),
    (b"8BPS\0\1", "it is a Photoshop document; open it in an image editor"),
    (b"%PDF-1.7\n", "it is a PDF document; save the image in it"),
    (b"<svg xmlns='x'/>", "it is an SVG drawing"),
    (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- Inkscape -->\n<svg>', "it is an SVG drawing"),
    (b"\n<!DOCTYPE html><html>", "it is a web page; download the image itself"),
    (b"version https://git-lfs.github.com/spec/v1\n", "it is a pointer to a file in Git LFS; run git lfs pull"),
    (b"\x76\x2f\x31\x01\2\0\0\0", "it is an OpenEXR image"),
    (b"#?RADIANCE\n", "it is a Radiance HDR image"),
    (b"SIMPLE  =                    T", "it is a FITS file"),
    (struct.pack("<i", 348) + bytes(340) + b"n+1\0", "it is a NIfTI file"),
    (b"\x89HDF\r\n\x1a\n", "it is an HDF5 or NetCDF file"),
    (b"\x93NUMPY\1\0", "it is a NumPy array"),
    (b"PK\3\4" + bytes(26) + b"photo.jpg", "it is an archive; extract the image"),
    (b"PK\3\4" + bytes(26) + b"word/document.xml", "it is an office document"),
    (b"Rar!\x1a\7", "it is an archive"),
    (b"\x1f\x8b\x08\0", "it is an archive"),
    (b"\x1a\x45\xdf\xa3", "it is a video"),
    (b"RIFF\0\0\0\0AVI LIST", "it is a video"),
    (b"\0\0\1\0\1\0\x10\x10\0\0\1\0\x20\0", "it is an icon"),
    (b"qoif\0\0", "it is a QOI image"),
    (b"MM\0+\0\x08\0\0" + bytes(8), "big-endian BigTIFF; save it as a little-endian"),
]


@pytest.mark.parametrize(("content", "expected"), KINDS, ids=[expected[:40] for _, expected in KINDS])
def test_other_format_is_named_with_a_way_out(tmp_path, content, expected):
    (tmp_path / "holiday.jpg").write_bytes(content)
    for read in (open_image, check_header):
        with pytest.raises(ImageError) as caught:
            read(tmp_path / "holiday.jpg")
        message = str(caught.value)
        assert message.startswith("holiday.jpg: expected an image; it is a")
        assert expected in message
        assert "use one of" not in message


UNREADABLE = [
    (
        wide_images.tiff(GREY.astype(np.uint16), more={259: ("H", [34712])}),
        "1 band of 16 bits, grey, compression JPEG 2000",
    ),
    (
        wide_images.tiff(np.zeros((9, 9, 3), np.uint8), more={259: ("H", [50001])}),
        "3 bands of 8 bits, RGB, compression WebP",
    ),
    (wide_images.tiff(GREY.astype(np.float32), more={339: ("H", [6])}), "1 band of 32 bits, complex, grey"),
    (wide_images.tiff(np.zeros((9, 9, 3), np.uint8), photometric=6), "3 bands of 8 bits, YCbCr, compression none"),
    (wide_images.tiff(np.zeros((9, 9, 3), np.uint16), photometric=8), "3 bands of 16 bits, CIELab, compression none"),
    (wide_images.tiff(np.zeros((9, 9, 6), np.uint16), photometric=5), "6 bands of 16 bits, CMYK, compression none"),
]


@pytest.mark.parametrize(("content", "kind"), UNREADABLE, ids=[kind for _, kind in UNREADABLE])
def test_other_kind_of_tiff_is_refused_as_what_it_is(tmp_path, content, kind):
    (tmp_path / "map.tif").write_bytes(content)
    for read in (open_image, check_header):
        with pytest.raises(ImageError) as caught:
            read(tmp_path / "map.tif")
        message = str(caught.value)
        assert f"it is a TIFF of a kind that is not read ({kind}" in message
        assert "save it as 8-bit RGB" in message
        assert "use one of" not in message


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "bmp", "tif", "avif", "ppm"])
def test_a_format_that_is_read_is_not_taken_for_another(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.effect_noise((64, 48), 60).convert("RGB").save(path)
    content = path.read_bytes()
    for length in (len(content) // 2, 600, 100, 40):
        path.write_bytes(content[:length])
        with pytest.raises(ImageError) as caught:
            open_image(path)
        assert "it is a " not in str(caught.value).replace("it is damaged", "")
