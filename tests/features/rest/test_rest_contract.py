"""The server as its own description says it is, with requests that schemathesis makes of the description."""

import io

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from PIL import Image
from serving import ROOT, free_port

import app
from lineup import config
from lineup.config import yaml_source
from lineup.features.rest import openapi
from lineup.service import Service

CONFIG = "engine: torch\nbackbones: [{name: tiny, backbone: test_resnet.r160_in1k, pretrained: false}]"


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


def operation(name, *accepted):
    """Make a test of one operation: its answers to requests that its description allows, and forbids.

    Each operation has a function of its own: those that schemathesis makes of one have the same id, and xdist runs one.

    Args:
        name: the id of the operation.
        accepted: statuses for requests that the description allows, besides those for unknown names and bad images.
    """
    checks = {"positive_data_acceptance": {"expected-statuses": ["2xx", "404", "422", *accepted]}}
    config = schemathesis.Config.from_dict({"checks": checks})
    schema = schemathesis.openapi.from_dict(openapi.document(), config=config).include(operation_id=name)
    limits = {"max_examples": 12, "deadline": None, "suppress_health_check": list(HealthCheck)}
    limits["phases"] = (Phase.explicit, Phase.generate)  # to shrink a failing request takes minutes

    def decorate(test):
        return schema.parametrize()(settings(derandomize=True, database=None, **limits)(test))

    return decorate


def check(case, address):
    if isinstance(case.body, dict):
        case.query = {}  # a parameter may be there once
    if case.path_parameters and case.method == "POST":
        case.path_parameters["name"] = "tiny"
    case.call_and_validate(base_url=address)


@operation("listModels")
def test_models_are_listed_as_described(case, address):
    check(case, address)


@operation("getModel")
def test_a_model_is_described_as_described(case, address):
    check(case, address)


@operation("classify")
def test_images_are_classified_as_described(case, address):
    check(case, address)


@operation("embed")
def test_features_are_as_described(case, address):
    check(case, address)


@operation("compare", "400")  # more names than there are
def test_comparisons_are_as_described(case, address):
    check(case, address)


def test_every_operation_has_a_test():
    described = {
        operation["operationId"]
        for item in openapi.document()["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    }
    assert described == {"listModels", "getModel", "classify", "embed", "compare"}
