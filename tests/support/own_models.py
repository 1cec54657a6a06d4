"""Folders with a model of the user: a config, labels, a checkpoint and an image; and what the commands say of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from commands import run_command
from PIL import Image

NAMES = ["cat", "dog", "bird", "fish", "frog"]


def write_checkpoint(folder: Path, state: object, entry: dict[str, Any], labels: object = NAMES) -> dict[str, Any]:
    """Write ``w.pth``, and a config whose only entry has it and these labels; return the entry."""
    import torch

    torch.save(state, folder / "w.pth")
    entry = {"name": "mine", "checkpoint": "w.pth", "labels": labels, "input_size": 64, **entry}
    write_config(folder, entry)
    return entry


def write_folder(folder: Path, network: Any, changes: dict[str, Any] | None = None, **config: Any) -> Path:
    """Save a network of timm in the folder ``m``, with changes to its config.json, and a config with it."""
    from timm.models._hub import save_for_hf

    save_for_hf(network, folder / "m", model_config=config, safe_serialization=True)
    path = folder / "m/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | (changes or {})))
    write_config(folder, {"name": "mine", "backbone": "local-dir:m"})
    return folder / "m"


def write_config(folder: Path, *entries: object) -> None:
    config = {"engine": "torch", "backbones": entries}
    (folder / "config.yaml").write_text(json.dumps(config))  # JSON is YAML


def wide_image(folder: Path) -> Path:
    """Write an image that is twice as wide as it is high: red on the left, blue on the right, white in the middle."""
    pixels = np.zeros((160, 320, 3), np.uint8)
    pixels[:, :110], pixels[40:120, 230:], pixels[60:90, 130:190] = (220, 30, 30), (20, 40, 230), 255
    Image.fromarray(pixels).save(folder / "wide.png")
    return folder / "wide.png"


def classify(folder: Path, capsys: Any, *arguments: str) -> tuple[dict[str, float], dict[str, Any]]:
    """Classify the wide image with the config of a folder; return the probability by label, and the whole answer."""
    config = str(folder / "config.yaml")
    status = run_command(
        ["classify", str(wide_image(folder)), "--config", config, "--top-k", "5", "--json", *arguments]
    )
    printed = capsys.readouterr()
    assert status == 0, printed.err
    answer = json.loads(printed.out)
    return {each["label"]: each["probability"] for each in answer["predictions"]}, answer


def check(folder: Path, capsys: Any) -> tuple[int, str]:
    """Check the config of a folder; return the exit status, and all that was printed."""
    status = run_command(["check", "--offline", "--config", str(folder / "config.yaml")])
    printed = capsys.readouterr()
    return status, printed.out + printed.err


def outputs(network: Any, transform: Any, folder: Path) -> np.ndarray:
    """Return the outputs ``(classes,)`` of a network for the wide image, computed by torch alone."""
    import torch

    with Image.open(wide_image(folder)) as image, torch.inference_mode():
        return network.eval()(transform(image.convert("RGB")).unsqueeze(0))[0].numpy()
