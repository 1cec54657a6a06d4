"""The server as its own description says it is, with requests that schemathesis makes of the description."""

import io

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from PIL import Image
from serving import ROOT, free_port

import app
from lineup import config
from lineup.config import yaml_source
from lineup.features.rest import openapi
from lineup.service import Service

CONFIG = "engine: torch\nbackbones: [{name: lite0, backbone: local-dir:bundled/efficientnet_lite0}]"


def images():
    """Yield small images of several formats."""
    for kind in ("JPEG", "PNG", "WEBP"):
        Image.new("RGB", (40, 30), "orange").save(buffer := io.BytesIO(), kind)
        yield buffer.getvalue()


for name in ("image/*", "application/octet-stream"):
    schemathesis.openapi.media_type(name, st.sampled_from(list(images())))


@pytest.fixture(scope="module")
def address():
    service = Service(config.build(yaml_source.parse(CONFIG, "config.yaml"), ROOT))
    demo, _ = app.launch(service, free_port())
    assert service.probed.wait(30)
    yield f"http://127.0.0.1:{demo.server_port}"
    demo.close(verbose=False)


# a schema cannot say which bytes are an image, or how many backbones there are
ACCEPTED = {"positive_data_acceptance": {"expected-statuses": ["2xx", "404", "422"]}}
ACCEPTED_TO_COMPARE = {"positive_data_acceptance": {"expected-statuses": ["2xx", "400", "404", "422"]}}
SETTINGS = {
    "checks": ACCEPTED,
    "operations": [{"include-name": "POST /v1/compare", "checks": ACCEPTED_TO_COMPARE}],
}
schema = schemathesis.openapi.from_dict(openapi.document(), config=schemathesis.Config.from_dict(SETTINGS))


@schema.parametrize()
@settings(max_examples=20, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
def test_answers_are_as_described(case, address):
    if isinstance(case.body, dict):
        case.query = {}  # a parameter may be there once
    if case.path_parameters and case.meta and case.meta.phase.name.value != "coverage":
        case.path_parameters["name"] = "lite0"
    case.call_and_validate(base_url=address)
