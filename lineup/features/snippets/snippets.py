"""Writes an answer down as code that gives it again: plain Python, Gradio's client, curl."""

import json
import shlex
from collections.abc import Sequence

from lineup.results import Classification

_PYTHON = """\
# backbone: {backbone}
# page said: {class_index} {label} {probability:.4f}
import torch
from PIL import Image, ImageOps
{recipe}
image = Image.open({image})
{draft}image = ImageOps.exif_transpose(image).convert("RGBA")
white = Image.new("RGBA", image.size, "white")  # shows through where the image is transparent
image = Image.alpha_composite(white, image).convert("RGB")
with torch.inference_mode():
    probabilities = network(transform(image).unsqueeze(0)).softmax(dim=1)[0]

labels = {{
{labels}
}}
for class_index, label in labels.items():
    print(class_index, f"{{probabilities[class_index]:.6f}}", label)
"""
_DRAFT = "image.draft(None, ({0}, {0}))  # a large JPEG need not be decoded whole\n"
_CLIENT = """\
import json

from gradio_client import Client, handle_file

client = Client({address}, verbose=False)
answer = client.predict(image=handle_file({image}), {fields}, api_name={endpoint})
print(json.dumps(answer, indent=2))
"""
# What comes back is JSON in known shapes, so sed can take it apart; the image goes in as a stream, since
# curl reads a meaning into some characters of a file's name.
_CURL = """\
address={address}
path=$(curl -sSf -F 'files=@-;filename=image' "$address/gradio_api/upload" < {image} | sed 's/^\\[//; s/\\]$//')
event=$(curl -sSf "$address/gradio_api/call/v2/{endpoint}" -H 'Content-Type: application/json' \\
  -d '{{"image": {{"meta": {{"_type": "gradio.FileData"}}, "path": '"$path"{fields} |
  sed -E 's/.*"event_id": ?"([^"]*)".*/\\1/')
curl -sSfN "$address/gradio_api/call/{endpoint}/$event" |
  sed -nE '/^event: (complete|error)/{{n;s/^data: \\[?//;s/\\]$//;p;}}'
"""


def python(recipe: str, answer: Classification, image: str = "image.jpg") -> str:
    """Write a script that computes an answer without this project; nothing without a recipe."""
    if not recipe:
        return ""
    first = answer.predictions[0]
    return _PYTHON.format(
        backbone=repr(answer.backbone),
        class_index=first.class_index,
        label=repr(first.label),
        probability=first.probability,
        recipe=recipe,
        image=repr(image),
        draft=_DRAFT.format(answer.min_side_px) if answer.min_side_px else "",
        labels="\n".join(f"    {each.class_index}: {each.label!r}," for each in answer.predictions),
    )


def client(address: str, backbones: Sequence[str], top_k: int, image: str = "image.jpg") -> str:
    """Write a script that asks a page at an address through Gradio's client, and prints the answer's JSON."""
    endpoint, fields = _call(backbones, top_k)
    named = ", ".join(f"{name}={value!r}" for name, value in fields.items())
    return _CLIENT.format(address=repr(address), image=repr(image), fields=named, endpoint=repr(f"/{endpoint}"))


def curl(address: str, backbones: Sequence[str], top_k: int, image: str = "image.jpg") -> str:
    """Write the same for bash: upload, call, and read the stream until the answer's JSON is there."""
    endpoint, fields = _call(backbones, top_k)
    return _CURL.format(
        address=shlex.quote(address.rstrip("/")),
        image=shlex.quote(image),
        fields=shlex.quote("}, " + json.dumps(fields)[1:]),
        endpoint=endpoint,
    )


def _call(backbones: Sequence[str], top_k: int) -> tuple[str, dict[str, object]]:
    """Return the endpoint for so many backbones, and what it is sent beside the image."""
    if len(backbones) == 1:
        return "classify", {"backbone": backbones[0], "top_k": top_k}
    return "compare", {"backbones": list(backbones), "top_k": top_k}
