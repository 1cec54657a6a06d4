"""The model card of a trained classifier: what it is from, how good it is, and Python that loads it."""

import html
import json
import re
from typing import TYPE_CHECKING

from huggingface_hub import ModelCard, ModelCardData

from lineup.analysis.training import TrainedBackbone, TrainingReport
from lineup.config import Entry

if TYPE_CHECKING:
    from lineup.registry import Plan

# https://huggingface.co/docs/hub/repositories-licenses: the Hub refuses a card with another one
_LICENSES = """
apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m
afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5
cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0
cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0
lgpl lgpl-2.1 lgpl-3.0 isc h-research intel-research lppl-1.3c ms-pl apple-ascl apple-amlr mpl-2.0 odc-by odbl
openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr deepfloyd-if-license
fair-noncommercial-research-license gemma unknown
"""
_PLAIN = """\
import timm
import torch
from PIL import Image, ImageOps

network = timm.create_model({source}, pretrained=True).eval()  # or "hf-hub:owner/name"
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network))
image = ImageOps.exif_transpose(Image.open("image.jpg")).convert("{mode}")
with torch.inference_mode():
    probabilities = network(transform(image)[None]).softmax(-1)[0]
print(dict(zip({classes}, probabilities.tolist())))
"""
_WITH_HEAD = """\
import json, timm, torch
from PIL import Image, ImageOps
from safetensors.torch import load_file
tower, head = timm.create_model({source}, pretrained=True).eval(), load_file({head})
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(tower))
with torch.inference_mode():
    batch = transform(ImageOps.exif_transpose(Image.open("image.jpg")).convert("{mode}"))[None]
    features = {features}
    probabilities = torch.nn.functional.linear(features, head["weight"], head["bias"]).softmax(-1)[0]
print(dict(zip({classes}, probabilities.tolist())))
"""


def sentence(trained: TrainedBackbone, report: TrainingReport) -> str:
    """Return what the classifier was trained on, and how good it is, for those who read its answers."""
    n = int(report.is_fitted.sum())
    text = f"trained on {n:,} images of {len(report.classes):,} classes; accuracy {trained.accuracy.text}"
    return f"{text}, by cross-validation" if trained.accuracy.n else text


def text(
    trained: TrainedBackbone, report: TrainingReport, entry: Entry, plan: "Plan", name: str, is_plain: bool
) -> str:
    """Return the content of README.md."""
    stated = trained.license.lower()
    is_known = stated in _LICENSES.split()
    data = ModelCardData(
        library_name="timm",
        pipeline_tag="image-classification",
        tags=["image-classification", "timm", "lineup"],
        base_model=_repository(plan),
        license=stated if is_known else "other",
        license_name=None if is_known else _license_name(stated),
    )
    parts = [f"---\n{data.to_yaml()}\n---\n\n# {_escaped(name)}", f"A classifier that was {sentence(trained, report)}."]
    parts += [_made_from(trained, entry, plan), _accuracy(trained, report), _classes(trained, report)]
    parts.append(f"## Use\n\nIn Lineup, beside config.yaml:\n\n```yaml\nbackbones:\n{config_line(name)}\n```")
    parts.append(f"Without it:\n\n```python\n{code(plan, name, is_plain)}```")
    return str(ModelCard("\n\n".join(filter(None, parts)) + "\n", ignore_metadata_errors=True))


def config_line(name: str) -> str:
    """Return the line of config.yaml for a saved folder that lies beside it: ``- {name: …, backbone: …}``."""
    # YAML does not read JSON's escapes of two characters for one, as of an emoji
    name, backbone = (json.dumps(each, ensure_ascii=False) for each in (name, f"local-dir:{name}"))
    return f"  - {{name: {name}, backbone: {backbone}}}"


def code(plan: "Plan", name: str, is_plain: bool) -> str:
    """Return Python that loads the folder `name`, without Lineup."""
    mode = "RGB" if plan.transform.channels == 3 else "L"
    source = repr(f"local-dir:{name}")
    if is_plain:
        return _PLAIN.format(source=source, mode=mode, classes='network.pretrained_cfg["label_names"]')
    of_output = bool(plan.embedding and plan.embedding.features_of is None)
    features = "tower(batch)" if of_output else "tower.forward_head(tower.forward_features(batch), pre_logits=True)"
    if plan.embedding and plan.embedding.is_normalized:
        features = f"torch.nn.functional.normalize({features}, dim=-1)"
    classes = f'json.load(open({f"{name}/config.json"!r}))["lineup"]["label_names"]'
    head = repr(f"{name}/head.safetensors")
    return _WITH_HEAD.format(source=source, head=head, mode=mode, features=features, classes=classes)


def _repository(plan: "Plan") -> str | None:
    """Return the repository of the base weights, if they have one."""
    return getattr(plan.weights, "repo", None)


def _license_name(stated: str) -> str:
    """Return the name of a licence that is none of the Hub's, as the Hub accepts it."""
    return re.sub(r"[^a-z0-9.-]+", "-", stated).strip("-.") or "license-of-the-base-weights"


def _escaped(text: str) -> str:
    """Return any text as Markdown that shows it, on one line, also in a table."""
    return re.sub(r"([\\`*_\[\]#|~])", r"\\\1", html.escape(" ".join(text.split()), quote=False))


def _made_from(trained: TrainedBackbone, entry: Entry, plan: "Plan") -> str:
    weights = f"weights {plan.weights}" if plan.weights else "random weights"
    chosen, tempered = "", "whose probabilities are not calibrated, since no image could be tested"
    if trained.accuracy.n:
        chosen = ", chosen by cross-validation"
        tempered = f"with a temperature of {trained.temperature:.3g} that was fitted out of fold"
    c = f" with C = {trained.regularization:g}{chosen}" if trained.regularization else ""
    return (
        f"## What it is from\n\n- backbone: {_escaped(entry.backbone)} ({plan.architecture}, {weights}), unchanged\n"
        f"- licence of these weights: {_escaped(trained.license) or 'not stated'}; it holds for this folder, too\n"
        f"- head: {trained.method}{c} on {trained.n_features:,} features, {tempered}"
    )


def _accuracy(trained: TrainedBackbone, report: TrainingReport) -> str:
    n_fitted = trained.accuracy.n_fitted
    rows = [f"- by cross-validation: {trained.accuracy.text}, of heads that were fitted to {n_fitted:,} images"]
    if trained.held_out:
        rows.append(f"- on held-out images: {trained.held_out.text}")
    rows += [f"- with {each.n_fitted:,} images: {each.text}" for each in trained.curve[:-1]]
    if trained.calibration:
        rows.append(f"- expected calibration error of its probabilities: {trained.calibration.ece:.3f}")
    intro = "Intervals are Wilson's, of 95%. Images that belong together were never on both sides of a fold."
    if report.n_dependent:
        intro += " The intervals count them as independent, and are thus too narrow."
    return f"## Accuracy\n\n{intro}\n\n" + "\n".join(rows + [f"- {_escaped(each)}" for each in report.advice])


def _classes(trained: TrainedBackbone, report: TrainingReport) -> str:
    import numpy as np

    truth, lines = report.truth, ["| class | images | recognised |", "|---|---|---|"]
    tested = np.isfinite(trained.probabilities).all(axis=1)
    right = tested & (trained.probabilities.argmax(axis=1) == truth)
    for index, name in enumerate(report.classes):
        of_class = (truth == index) & report.is_fitted
        lines.append(
            f"| {_escaped(name)} | {of_class.sum():,} | {(right & of_class).sum():,} of {(tested & of_class).sum():,} |"
        )
    return "## Classes\n\n" + "\n".join(lines)
