"""Batches of image files."""

import numpy as np
import pytest
from drawing import draw
from planning import plan

from lineup.config import Limits
from lineup.errors import ImageError
from lineup.images.reading import open_image
from lineup.inference.preprocessing import batch_of


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
