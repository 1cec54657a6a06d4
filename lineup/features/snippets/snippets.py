"""Generate code that reproduces an answer: plain Python, the Gradio client, curl."""

import json
import shlex
from collections.abc import Sequence

from lineup.results import Classification

_PYTHON = """\
# backbone: {backbone}
# expected: {class_index} {label} {probability:.4f}
import torch
from PIL import Image, ImageOps
{recipe}
image = Image.open({image})
{draft}image = ImageOps.exif_transpose(image).convert("RGBA")
white = Image.new("RGBA", image.size, "white")  # background of transparent areas
image = Image.alpha_composite(white, image).convert("RGB")
with torch.inference_mode():
    logits = network(transform(image).unsqueeze(0))
    {activation}

labels = {{
{labels}
}}
for class_index, label in labels.items():
    print(class_index, f"{{probabilities[class_index]:.6f}}", label)
"""
_ACTIVATIONS = {  # by whether it is a sigmoid, and whether the classes are exclusive
    (False, True): "probabilities = logits.softmax(dim=1)[0]",
    (True, False): "probabilities = logits.sigmoid()[0]",
    (True, True): "probabilities = torch.cat([-logits, logits], dim=1).sigmoid()[0]  # one output for two classes",
}
_DRAFT = "image.draft(None, ({0}, {0}))  # decodes a large JPEG at a reduced size\n"
_CLIENT = """\
import json

from gradio_client import Client, handle_file

client = Client({address}, verbose=False)
answer = client.predict(image=handle_file({image}), {fields}, api_name={endpoint})
print(json.dumps(answer, indent=2))
"""
# The responses are JSON of a fixed structure, so sed can parse them. The image is sent from stdin, since curl
# gives some characters in file names a special meaning.
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
    """Return a script that computes an answer without this project, or "" without a recipe."""
    if not recipe:
        return ""
    first = answer.predictions[0]
    return _PYTHON.format(
        backbone=repr(answer.backbone),
        class_index=first.class_index,
        label=repr(first.label),
        probability=first.probability,
        recipe=recipe,
        activation=_ACTIVATIONS[answer.activation == "sigmoid", answer.above_half is None],
        image=repr(image),
        draft=_DRAFT.format(answer.min_side_px) if answer.min_side_px else "",
        labels="\n".join(f"    {item.class_index}: {item.label!r}," for item in answer.predictions),
    )


def client(address: str, backbones: Sequence[str], top_k: int, image: str = "image.jpg") -> str:
    """Return a script that calls the API at an address with the Gradio client and prints the JSON."""
    endpoint, fields = _call(backbones, top_k)
    arguments = ", ".join(f"{name}={value!r}" for name, value in fields.items())
    return _CLIENT.format(address=repr(address), image=repr(image), fields=arguments, endpoint=repr(f"/{endpoint}"))


def curl(address: str, backbones: Sequence[str], top_k: int, image: str = "image.jpg") -> str:
    """Return the equivalent for bash: upload, call, and read the event stream up to the JSON."""
    endpoint, fields = _call(backbones, top_k)
    return _CURL.format(
        address=shlex.quote(address.rstrip("/")),
        image=shlex.quote(image),
        fields=shlex.quote("}, " + json.dumps(fields)[1:]),
        endpoint=endpoint,
    )


def _call(backbones: Sequence[str], top_k: int) -> tuple[str, dict[str, object]]:
    """Return the endpoint for one or several backbones, and its arguments besides the image."""
    if len(backbones) == 1:
        return "classify", {"backbone": backbones[0], "top_k": top_k}
    return "compare", {"backbones": list(backbones), "top_k": top_k}
