"""Batches of image files."""

import numpy as np
import pytest
from drawing import draw
from planning import plan

from lineup.config import Limits
from lineup.errors import ImageError
from lineup.images.reading import open_image
from lineup.inference.preprocessing import batch_of
from lineup.registry import timm_transform


@pytest.fixture
def paths(tmp_path, image):
    return [image, draw(tmp_path / "other.png", seed=1), image]


@pytest.mark.parametrize("backbone", ["test_resnet.r160_in1k", "torchvision/resnet18"])
def test_batch_of_images_is_what_each_alone_gives(paths, backbone):
    transform = plan(backbone).transform
    batch = batch_of(paths, transform, Limits())
    assert (batch.dtype, batch.shape) == (np.float32, (3, 3, *transform.input_size))
    assert batch.flags.c_contiguous
    for path, row in zip(paths, batch, strict=True):
        np.testing.assert_array_equal(transform(open_image(path))[0], row)


def test_damaged_image_of_a_batch_is_an_error_that_names_it(paths, tmp_path):
    (tmp_path / "cut.png").write_bytes(paths[1].read_bytes()[:500])
    with pytest.raises(ImageError, match=r"cut\.png"):
        batch_of([*paths, tmp_path / "cut.png"], plan("test_resnet.r160_in1k").transform, Limits())


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("channels", [1, 3])
def test_numpy_ends_the_transform_bit_by_bit_as_torch_does(paths, channels, mode):
    settings = {"input_size": (channels, 64, 80), "crop_mode": mode, "crop_pct": 0.9, "interpolation": "bicubic"}
    mean, std = (0.485, 0.456, 0.406)[:channels], (0.229, 0.224, 0.225)[:channels]
    transform, image = timm_transform.build({**settings, "mean": mean, "std": std}), open_image(paths[0])
    assert transform.resize is not None
    assert transform(image).tobytes() == transform.steps(image).numpy()[None].tobytes()
    assert transform(image).shape == (1, channels, 64, 80)


@pytest.mark.parametrize("more", [{}, {"in_chans": 1, "pretrained": False}, {"interpolation": "bicubic"}])
def test_numpy_ends_the_transform_of_torchvision_bit_by_bit(paths, more):
    transform, image = plan({"backbone": "torchvision/resnet18", **more}).transform, open_image(paths[0])
    assert transform.resize is not None
    assert transform(image).tobytes() == transform.steps(image).contiguous().numpy()[None].tobytes()
