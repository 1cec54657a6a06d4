import io
from pathlib import Path

import numpy as np
import pytest
import wide_images
from gradio.utils import get_upload_folder
from PIL import Image
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from lineup.server.previews import MAX_SIDE_PX, PreviewsMiddleware

RAMP = np.tile(np.arange(256, dtype=np.uint16)[None, :, None], (64, 1, 3))
AS_IMAGE = {"accept": "image/avif,image/webp,*/*;q=0.8"}


@pytest.fixture
def client(make_service):
    app = Starlette(
        routes=[Route("/gradio_api/file={path:path}", lambda request: PlainTextResponse("the file itself"))],
        middleware=[Middleware(PreviewsMiddleware, make_service("backbones: ['fake:a']"))],
    )
    with TestClient(app) as client:
        yield client


@pytest.fixture
def upload(tmp_path):
    def put(name, content):
        folder = Path(get_upload_folder()) / tmp_path.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        return folder / name

    return put


FILES = {
    "12 bits.tif": wide_images.tiff(RAMP * 16),
    "12 bits.png": wide_images.png(RAMP * 16),
    "float.tif": wide_images.tiff(RAMP / np.float32(255), order=">"),
    "12 bits.ppm": b"P6 256 64 4095\n" + (RAMP * 16).astype(">u2").tobytes(),
}


@pytest.mark.parametrize("name", FILES)
def test_img_of_what_a_browser_cannot_show_gets_what_was_decoded(client, upload, name):
    path = upload(name, FILES[name])
    for _ in range(2):  # the second one is kept
        response = client.get(f"/gradio_api/file={path}", headers=AS_IMAGE)
        assert response.headers["content-type"] == "image/jpeg"
        shown = np.asarray(Image.open(io.BytesIO(response.content))).astype(int)
        assert np.abs(shown - RAMP).max() <= 4
    assert client.get(f"/gradio_api/file={path}", headers={"accept": "*/*"}).text == "the file itself"


def saved(kind):
    buffer = io.BytesIO()
    Image.fromarray(RAMP.astype(np.uint8)).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"])
def test_what_a_browser_can_show_is_passed_on(client, upload, kind):
    assert client.get(f"/gradio_api/file={upload('a', saved(kind))}", headers=AS_IMAGE).text == "the file itself"


@pytest.mark.parametrize("content", [b"", b"II*\0", b"P6 9 9", b"MM\0*" + bytes(40), FILES["float.tif"][:900]])
def test_what_cannot_be_decoded_is_passed_on(client, upload, content):
    assert client.get(f"/gradio_api/file={upload('a.tif', content)}", headers=AS_IMAGE).text == "the file itself"


def test_files_outside_the_upload_folder_are_passed_on(client, tmp_path):
    (tmp_path / "a.tif").write_bytes(FILES["12 bits.tif"])
    assert client.get(f"/gradio_api/file={tmp_path / 'a.tif'}", headers=AS_IMAGE).text == "the file itself"


def test_preview_is_small(client, upload):
    path = upload("large.pgm", b"P5 4000 2000 255\n" + bytes(8_000_000))
    response = client.get(f"/gradio_api/file={path}", headers=AS_IMAGE)
    assert Image.open(io.BytesIO(response.content)).size == (MAX_SIDE_PX, MAX_SIDE_PX // 2)
