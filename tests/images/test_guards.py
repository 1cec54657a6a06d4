import logging

from PIL import Image

from lineup.images import guards


def test_exif_is_loaded_plainly_by_a_pillow_with_another_method(monkeypatch, caplog):
    def load(self, data, offset=0): ...

    monkeypatch.setattr(Image.Exif, "load", load)
    with caplog.at_level(logging.WARNING):
        guards._limit_exif()
    assert Image.Exif.load is load
    assert "oversized EXIF of images is not ignored" in caplog.text


def test_exif_of_one_segment_is_passed_on_and_larger_exif_is_not(monkeypatch):
    passed = []

    def load(self, data):
        passed.append(len(data))

    monkeypatch.setattr(Image.Exif, "load", load)
    guards._limit_exif()
    for n_bytes in (2**16, 2**16 + 1):
        Image.Exif().load(bytes(n_bytes))
    assert passed == [2**16, 0]
