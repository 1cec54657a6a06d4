"""Schema of config.yaml: pydantic models whose field descriptions are the rows of the README's table.

Validates syntax only. Whether a backbone exists is checked once timm is imported, and whether a file
exists when it is used: neither prevents the page from opening.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, PrivateAttr, Tag, model_validator

from lineup.config import class_indices, normalization, proxies
from lineup.config.sections import Cluster, Evaluation, Feedback, Rest, Section, Training
from lineup.config.spec import Spec, parse_spec
from lineup.config.yaml_source import Document, format_value

Color = Literal["red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
CropMode = Literal["center", "squash", "border"]
Activation = Literal["softmax", "sigmoid"]
# The values of huggingface_hub.SpaceHardware, whose import would take as long as that of all of this package.
_Cpu = Literal["cpu-basic", "cpu-upgrade"]
_TuringAda = Literal["t4-small", "t4-medium", "l4x1", "l4x4", "l40sx1", "l40sx4", "l40sx8"]
_Ampere = Literal["a10g-small", "a10g-large", "a10g-largex2", "a10g-largex4", "a100-large", "a100x4", "a100x8"]
_Blackwell = Literal["rtx-pro-6000", "rtx-pro-6000x2", "rtx-pro-6000x4", "rtx-pro-6000x8"]
Hardware = Literal["zero-a10g", _Cpu, _TuringAda, _Ampere, _Blackwell]
Rgb = Annotated[tuple[float, float, float], Field(strict=False)]
Pixels = Annotated[int, Field(ge=16, le=4096)]
SAID_ELSEWHERE = {  # arguments of the functions that build networks, and the key of an entry that decides them
    "num_classes": "labels",
    "in_chans": "in_chans",
    "pretrained": "pretrained",
    "weights": "checkpoint",
    "checkpoint_path": "checkpoint",
    "state_dict": "checkpoint",
    "img_size": "input_size",
    "image_size": "input_size",
    "input_size": "input_size",
    "pretrained_cfg": "",
    "pretrained_cfg_overlay": "",
    "features_only": "",
    "out_indices": "",
    "cache_dir": "",
}
_Text = Annotated[str, Tag("text")]
_by_type = Discriminator(lambda value: "list" if isinstance(value, list) else "text")


def _labels_in_order(value: Any) -> Any:
    return class_indices.from_config(value) if isinstance(value, dict) else value


class Entry(Section):
    """A backbone of the line-up, in its long form."""

    name: str = Field("", description="unique name in the page, the API and links; the value of `backbone` if left out")
    backbone: str = Field(
        description="source and name: `resnet18`, `torchvision/resnet50`, `hf-hub:owner/repo`, `local-dir:path`, or "
        "`lineup:https://host/name` on another Lineup"
    )
    pretrained: bool = Field(True, description="false: random weights, with a note on the page")
    checkpoint: str | None = Field(None, min_length=1, description="a file with your own weights for this architecture")
    labels: Annotated[
        Annotated[_Text | Annotated[list[str], Tag("list")], _by_type] | None,
        BeforeValidator(_labels_in_order, json_schema_input_type=str | list[str] | dict[str, str | int] | None),
    ] = Field(
        None,
        description="class names in the order of the outputs: a file (one name per line, JSON, YAML or CSV), a list, "
        "or a mapping such as `{0: cat, 1: dog}`",
    )
    input_size: Annotated[tuple[Pixels, Pixels], Field(strict=False)] | None = Field(
        None, description="input size of the model in pixels: 224, or [height, width]"
    )
    mean: Rgb | None = Field(
        None,
        description="normalization mean of the three channels, or one for all; of pixels from 0 to 1: where training "
        "subtracted 0 to 255, divide by 255; for an input of 0 to 255, write mean 0 and std 0.0039216 (1/255)",
    )
    std: Rgb | None = Field(None, description="normalization standard deviation of the channels, as `mean`")
    crop_pct: float | None = Field(
        None, ge=0.25, le=1, description="center crop as a fraction of the resized shorter side"
    )
    crop_mode: CropMode | None = Field(
        None,
        description="center: cut off what exceeds the input size; squash: resize to the input size, whatever the "
        "aspect ratio, as `Resize((h, w))` does; border: resize the longer side, and pad the shorter one; with the "
        "last two, `crop_pct` is 1 if left out",
    )
    interpolation: Interpolation | None = Field(
        None, description="resize filter: nearest, bilinear, bicubic or lanczos"
    )
    activation: Activation | None = Field(
        None, description="of the outputs: softmax (one of the classes), or sigmoid (any number of them)"
    )
    in_chans: Literal[1, 3] | None = Field(
        None,
        description="channels of the network's input: 3 (RGB) or 1 (grayscale); read from `checkpoint` if left out",
    )
    model_args: dict[str, Any] | None = Field(
        None, description="more arguments for the function that builds the network, such as `{global_pool: avg}`"
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"backbone": value}
        if isinstance(value, dict) and len(value) == 1 and (found := value.keys() & {"hf-hub", "local-dir", "timm"}):
            [source] = found  # a space after the colon makes a key of it
            raise ValueError(f"expected {source}:{value[source]}, without a space; got {source}: {value[source]}")
        if not isinstance(value, dict):
            raise ValueError(
                "expected a name such as resnet18, or keys such as `backbone: resnet18`; "
                f"got {format_value(value)}; fix it"
            )
        for key in ("mean", "std"):
            numbers = value[key] if isinstance(value.get(key), list) else [value.get(key)]
            if len(numbers) == 1 and isinstance(numbers[0], int | float) and not isinstance(numbers[0], bool):
                value = {**value, key: numbers * 3}
        if isinstance(value.get("input_size"), int) and not isinstance(value["input_size"], bool):
            value = {**value, "input_size": [value["input_size"]] * 2}
        if "name" not in value and isinstance(value.get("backbone"), str):
            value = {**value, "name": value["backbone"].strip()}
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        parse_spec(self.backbone)
        if not self.name.isprintable() or self.name != self.name.strip() or not 0 < len(self.name) <= 200:
            raise ValueError(
                "expected a name of 1 to 200 printable characters without surrounding spaces; "
                f"got {format_value(self.name)}; fix it"
            )
        if isinstance(self.labels, list) and not all(label.strip() for label in self.labels or [""]):
            raise ValueError("expected labels that are not empty; got an empty one, or none; name each class")
        if problem := normalization.problem(self.mean, self.std):
            raise ValueError(f"expected {normalization.EXPECTED}; got {problem[0]}; {problem[1]}")
        if self.checkpoint and self.spec.source not in ("timm", "torchvision"):
            raise ValueError(
                f"expected a checkpoint only with an architecture of timm or torchvision; got {self.backbone!r}; "
                "that source provides its own weights: write the architecture, such as resnet18, or remove `checkpoint`"
            )
        if self.spec.source == "lineup" and not self.pretrained:
            raise ValueError(f"expected no `pretrained: false` beside {self.backbone!r}; remove it")
        if self.checkpoint and not self.pretrained:
            raise ValueError("expected either `checkpoint` or `pretrained: false`; got both; remove one")
        if self.checkpoint and self.spec.revision:
            raise ValueError(f"expected no @{self.spec.revision} beside `checkpoint`; remove one of the two")
        self._check_arguments()
        return self

    def _check_arguments(self) -> None:
        for key in ("in_chans", "model_args"):
            if getattr(self, key) is not None and self.source in ("timm", "torchvision", "hf-hub", "local-dir"):
                of_config = self.source in ("hf-hub", "local-dir")
                remedy = "write `model_args` into its config.json" if of_config else f"remove `{key}`"
                raise ValueError(
                    f"expected `{key}` only with `checkpoint` or `pretrained: false`; got {self.backbone!r}, whose "
                    f"weights determine it; {remedy}"
                )
        for name, value in (self.model_args or {}).items():
            if name in SAID_ELSEWHERE:
                said = SAID_ELSEWHERE[name]
                remedy = f"use the key `{said}` of the entry" if said else "remove it"
                raise ValueError(f"expected model_args without `{name}`; got {value!r}; {remedy}")

    @property
    def spec(self) -> Spec:
        return parse_spec(self.backbone)

    @property
    def source(self) -> str:
        """timm, torchvision, hf-hub, local-dir, checkpoint, untrained, or the name of an added source."""
        if self.checkpoint:
            return "checkpoint"
        return self.spec.source if self.pretrained else "untrained"


class Example(Section):
    """An example image on the page."""

    image: str = Field(description="a path or a URL")
    caption: str = Field("", description="caption under the image")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"image": value} if isinstance(value, str) else value


class Limits(Section):
    """Resource limits."""

    memory_mb: int | None = Field(
        None, ge=64, description="memory for loaded backbones; 60% of the machine's if left out"
    )
    max_compared: int = Field(6, ge=2, le=64, description="backbones in one comparison")
    max_megapixels: int = Field(
        40,
        ge=1,
        le=1000,
        description="largest image in millions of pixels; 200 for a JPEG that is decoded at reduced size",
    )
    max_upload_mb: int = Field(20, ge=1, le=1000, description="largest image file, in millions of bytes")
    forward_timeout_s: float = Field(30, gt=0, description="timeout of one forward pass, in seconds")
    hub_timeout_s: float = Field(30, gt=0, description="read timeout of a download: seconds without a new byte")
    queue_size: int = Field(64, ge=1, le=1000, description="requests in the queue, the one that is computing included")


class Space(Section):
    """Metadata and hardware of the Space on the Hub, applied by `python -m lineup push`."""

    emoji: str = Field("🖼️", description="the Space's emoji")
    color_from: Color = Field("indigo", description="left colour of the card's gradient")
    color_to: Color = Field("pink", description="right colour of the card's gradient")
    short_description: str = Field(
        "", max_length=60, description="one line of at most 60 characters; generated from the line-up if left out"
    )
    license: str = Field("apache-2.0", description="licence of your Space")
    hardware: Hardware = Field("zero-a10g", description="hardware to request when the Space is created")


def _require_list(value: Any) -> Any:
    if not isinstance(value, list):
        raise ValueError("expected a list of backbones, one per line, each after a dash")
    return value


class Config(Section):
    """The root of config.yaml."""

    title: str = Field("Lineup", description="title of the page")
    description: str = Field("", description="a sentence under the title")
    default: str = Field("", description="name of the backbone selected at first; the first one if left out")
    top_k: int = Field(3, ge=1, le=1000, description="how many labels to show")
    backbones: Annotated[list[Entry], BeforeValidator(_require_list)] = Field(
        min_length=1, description="the line-up: each a name such as `resnet18`, or keys `{name, backbone, …}`"
    )
    examples: Annotated[_Text | Annotated[list[Example], Tag("list")], _by_type] = Field(
        default_factory=list, description="a folder of images, or a list of paths, URLs or `{image, caption}`"
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="device for inference: auto, cpu, cuda or mps"
    )
    engine: str = Field(
        "auto", description="inference engine: auto (OpenVINO on a CPU, once converted), torch or openvino"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto (bfloat16 where the hardware supports it), float32 or bfloat16"
    )
    share: bool = Field(False, description="true requests a public link from Gradio")
    trusted_proxies: list[Annotated[str, AfterValidator(proxies.network)]] = Field(
        default_factory=lambda: list(proxies.LOOPBACK),
        description="addresses or networks, such as `10.0.0.0/8`, of proxies whose X-Forwarded-For is believed, for "
        "all limits of a client's address; in a Space, the Hub's are too",
    )
    limits: Limits = Field(default_factory=Limits, description="resource limits")  # type: ignore[arg-type]
    evaluation: Evaluation = Field(
        default_factory=Evaluation,  # type: ignore[arg-type]
        description="evaluation of backbones on a folder of images",
    )
    training: Training = Field(
        default_factory=Training,  # type: ignore[arg-type]
        description="training of classifiers for your own classes",
    )
    feedback: Feedback = Field(
        default_factory=Feedback,  # type: ignore[arg-type]
        description="images that users label on the page",
    )
    rest: Rest = Field(default_factory=Rest, description="the HTTP API below /v1")  # type: ignore[arg-type]
    cluster: Cluster | None = Field(
        None, description="a Ray cluster that computes the answers; this process does if left out"
    )
    space: Space = Field(default_factory=Space, description="metadata and hardware of the Space on the Hub")  # type: ignore[arg-type]

    _folder: Path = PrivateAttr(default=Path())
    _document: Document = PrivateAttr(default=Document("config.yaml", None, {}))

    @property
    def default_name(self) -> str:
        return self.default or self.backbones[0].name

    @property
    def folder(self) -> Path:
        """The config file's folder, against which relative paths are resolved."""
        return self._folder

    def where(self, *trail: str | int) -> str:
        """Format a location for an error message: ``config.yaml:12:5: backbones[2].labels``."""
        return self._document.where(trail)
