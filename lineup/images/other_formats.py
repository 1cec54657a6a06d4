"""Names the formats that are not read, by their first bytes, with the way to one that is."""

import re

from lineup.images.formats import UnreadableKind

N_BYTES = 1024  # of a file's beginning, which are enough

_EXPORT = "open it in an image editor, and save it as PNG or JPEG"
_FRAME = "save one frame of it as an image"
_PAGE = "save the image in it as PNG or JPEG"
_RAW = "develop it in a photo editor, and save it as JPEG"
_EXTRACT = "extract the image from it"
_SCIENCE = "save the slice or channel to classify as PNG"
_HEIC = "save it as JPEG; an iPhone does so with Settings, Camera, Formats, Most Compatible"
_JXL = "save it as PNG or JPEG, such as with: djxl in.jxl out.png"
_DICOM = "save the slice to classify as PNG, such as with: dcm2img in.dcm out.png"
_DOWNLOAD = "download the image itself, and send that"

# pattern of the first bytes → what it is, and the way out; the first one that matches counts
_KINDS = [
    (rb".{4}ftyp(hei[cxms]|hev[cxms]|heif)", "a HEIC image", _HEIC),
    (rb".{4}ftyp(mif1|msf1)(?!.{4}.{0,64}avi[fs])", "a HEIF image", _HEIC),
    (rb".{4}ftypcrx ", "a camera raw file (Canon CR3)", _RAW),
    (rb".{4}ftyp(avif|avis|mif1|msf1)", "", ""),
    (rb"\0\0\0\x0cJXL \r\n\x87\n|\xff\x0a", "a JPEG XL image", _JXL),
    (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", "a JPEG 2000 image", _EXPORT),
    (rb"\xff\xd8\xff\xf7", "a JPEG-LS image", _EXPORT),
    (rb"II\xbc", "a JPEG XR image", _EXPORT),
    (rb".{128}DICM", "a DICOM file", _DICOM),
    (rb"II[*]\0.{4}CR", "a camera raw file (Canon CR2)", _RAW),
    (rb"(IIR[OS]|MMOR)", "a camera raw file (Olympus ORF)", _RAW),
    (rb"IIU\0", "a camera raw file (Panasonic RW2)", _RAW),
    (rb"FUJIFILMCCD-RAW", "a camera raw file (Fujifilm RAF)", _RAW),
    (rb"FOVb", "a camera raw file (Sigma X3F)", _RAW),
    (rb"\0MRM", "a camera raw file (Minolta MRW)", _RAW),
    (rb".{6}HEAPCCDR", "a camera raw file (Canon CRW)", _RAW),
    (rb"MM\0[+]", "a TIFF of the kind big-endian BigTIFF", "save it as a little-endian or a classic TIFF"),
    (rb"8BP[SB]", "a Photoshop document", _EXPORT),
    (rb"gimp xcf", "a GIMP document", _EXPORT),
    (rb"%PDF-", "a PDF document", _PAGE),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "a PostScript file", _EXPORT),
    (rb"AT&TFORM", "a DjVu document", _PAGE),
    (rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!DOCTYPE svg[^>]*>\s*)?<svg", "an SVG drawing", _EXPORT),
    (rb"(\xef\xbb\xbf)?\s*(<!--.*?-->\s*)*<(!doctype html|html|head|body)", "a web page", _DOWNLOAD),
    (rb"version https://git-lfs", "a pointer to a file in Git LFS", "run git lfs pull, and send the file itself"),
    (rb"\x76\x2f\x31\x01", "an OpenEXR image", _EXPORT),
    (rb"#\?(RADIANCE|RGBE)", "a Radiance HDR image", _EXPORT),
    (rb"SIMPLE  =", "a FITS file", _SCIENCE),
    (rb".{344}n([+]1|i1)\0|\x5c\x01\0\0.{120}|\x1c\x02\0\0n[+]2", "a NIfTI file", _SCIENCE),
    (rb"\x89HDF\r\n|CDF[\x01\x02\x05]", "an HDF5 or NetCDF file", _SCIENCE),
    (rb"MATLAB 5", "a MATLAB file", _SCIENCE),
    (rb"\x93NUMPY", "a NumPy array", "save it as PNG, such as with: Image.fromarray(array).save('out.png')"),
    (rb"NRRD000", "an NRRD file", _SCIENCE),
    (rb"\0\0[\x01\x02]\0[^\0]\0.{3}\0.{3}\0|icns", "an icon", _EXPORT),
    (rb"DDS ", "a DDS texture", _EXPORT),
    (rb"\xabKTX", "a KTX texture", _EXPORT),
    (rb"qoif", "a QOI image", _EXPORT),
    (rb"FLIF", "a FLIF image", _EXPORT),
    (rb"BPG\xfb", "a BPG image", _EXPORT),
    (rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF", "a Windows metafile", _EXPORT),
    (rb"\0.{3}(ftyp|moov|mdat|wide|free|skip)", "a video", _FRAME),
    (rb"\x1a\x45\xdf\xa3|RIFF.{4}AVI |\0\0\x01[\xba\xb3]|FLV\x01|OggS|\x30\x26\xb2\x75\x8e\x66", "a video", _FRAME),
    (rb"G.{187}G.{187}G", "a video", _FRAME),
    (rb"ID3|RIFF.{4}WAVE|fLaC", "a sound recording", "send an image"),
    (rb"PK\x03\x04.{26}(word|ppt|xl|mimetype|\[Content_Types\])", "an office document", _PAGE),
    (rb"\xd0\xcf\x11\xe0", "an office document", _PAGE),
    (rb"\{\\rtf", "an office document", _PAGE),
    (rb"PK[\x03\x05]|Rar!|7z\xbc\xaf|\x1f\x8b|BZh\d|\xfd7zXZ|\x28\xb5\x2f\xfd|.{257}ustar", "an archive", _EXTRACT),
    (rb"data:image/", "the text of a data: URI", _DOWNLOAD),
    (rb"https?://\S+\s*$", "the text of a web address", _DOWNLOAD),
]
_PATTERNS = [(re.compile(pattern, re.DOTALL | re.IGNORECASE), name, remedy) for pattern, name, remedy in _KINDS]


def recognized(head: bytes) -> UnreadableKind | None:
    """Return what a file is that begins with these bytes; None if it is read, or unknown."""
    found = next(((name, remedy) for pattern, name, remedy in _PATTERNS if pattern.match(head)), ("", ""))
    return UnreadableKind(f"it is {found[0]}", found[1]) if found[0] else None
