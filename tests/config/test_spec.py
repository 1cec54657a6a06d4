import re

import pytest

from lineup.config.spec import Spec, parse_spec

FORMS = [
    ("resnet18", Spec("timm", "resnet18")),
    ("resnet18.a1_in1k", Spec("timm", "resnet18.a1_in1k")),
    ("torchvision/resnet50", Spec("torchvision", "resnet50")),
    ("torchvision/resnet50@IMAGENET1K_V1", Spec("torchvision", "resnet50", "IMAGENET1K_V1")),
    ("hf-hub:owner/repo.name", Spec("hf-hub", "owner/repo.name")),
    ("hf-hub:owner/repo@v1.0", Spec("hf-hub", "owner/repo", "v1.0")),
    ("hf-hub:owner/repo@refs/pr/1", Spec("hf-hub", "owner/repo", "refs/pr/1")),
    ("local-dir:bundled/efficientnet_lite0", Spec("local-dir", "bundled/efficientnet_lite0")),
    ("local-dir:/my models/a@b", Spec("local-dir", "/my models/a@b")),
    ("my-source:thing/else@x", Spec("my-source", "thing/else@x")),
]
OTHER_FORMS = [  # what people write, and its usual form
    (" resnet18 ", "resnet18"),
    ("timm:resnet18", "resnet18"),
    ("timm/resnet50.a1_in1k", "resnet50.a1_in1k"),
    ("timm/resnet50.a1_in1k@v1", "hf-hub:timm/resnet50.a1_in1k@v1"),
    ("torchvision:resnet50@IMAGENET1K_V2", "torchvision/resnet50@IMAGENET1K_V2"),
    ("torchvision/ResNet50", "torchvision/resnet50"),
    ("torchvision/resnet50@imagenet1k_v2", "torchvision/resnet50@IMAGENET1K_V2"),
    ("torchvision/resnet50@ResNet50_Weights.IMAGENET1K_V2", "torchvision/resnet50@IMAGENET1K_V2"),
    ("resnet50@ResNet50_Weights.IMAGENET1K_V2", "torchvision/resnet50@IMAGENET1K_V2"),
    ("ResNet50_Weights.IMAGENET1K_V2", "torchvision/resnet50@IMAGENET1K_V2"),
    ("torchvision.models.ResNet50_Weights.DEFAULT", "torchvision/resnet50@DEFAULT"),
    ("resnet50@DEFAULT", "torchvision/resnet50@DEFAULT"),
    ("resnet50.IMAGENET1K_V1", "torchvision/resnet50@IMAGENET1K_V1"),
    ("torchvision.models.resnet50", "torchvision/resnet50"),
    ("models.resnet50", "torchvision/resnet50"),
    ("hf_hub:timm/a.b", "hf-hub:timm/a.b"),
    ("HF-Hub:me/pets", "hf-hub:me/pets"),
    ("hf://me/pets", "hf-hub:me/pets"),
    ("hf-hub:me/pets/", "hf-hub:me/pets"),
    ("https://huggingface.co/timm/resnet50.a1_in1k", "hf-hub:timm/resnet50.a1_in1k"),
    ("https://huggingface.co/me/pets/", "hf-hub:me/pets"),
    ("https://huggingface.co/me/pets/tree/main", "hf-hub:me/pets"),
    ("https://huggingface.co/me/pets/tree/refs%2Fpr%2F1", "hf-hub:me/pets@refs/pr/1"),
    ("https://huggingface.co/me/pets/blob/v1/model.safetensors", "hf-hub:me/pets@v1"),
    ("https://huggingface.co/me/pets/resolve/main/model.safetensors?download=true", "hf-hub:me/pets"),
    ("https://huggingface.co/me/pets/commit/0123abcd", "hf-hub:me/pets@0123abcd"),
    ("https://huggingface.co/me/pets?library=timm#usage", "hf-hub:me/pets"),
    ("https://huggingface.co/me/pets.git", "hf-hub:me/pets"),
    ("huggingface.co/me/pets", "hf-hub:me/pets"),
    ("http://hf.co/me/pets", "hf-hub:me/pets"),
    ("hf-hub:https://huggingface.co/me/pets", "hf-hub:me/pets"),
    ("local_dir:models/m", "local-dir:models/m"),
    ("local-dir: m", "local-dir:m"),
    ("local-dir:models\\m", "local-dir:models/m"),
    ("local-dir:C:\\Users\\me\\m", "local-dir:C:/Users/me/m"),
    ("local-dir:~/m", "local-dir:~/m"),
]
CORRECTED = [  # what people write, and what the message says to write
    ("google/vit-base-patch16-224", "hf-hub:google/vit-base-patch16-224"),
    ("./models/m", "local-dir:./models/m"),
    ("/home/me/m", "local-dir:/home/me/m"),
    ("~/m", "local-dir:~/m"),
    ("..\\m", "local-dir:../m"),
    ("C:\\Users\\me\\m", "local-dir:C:/Users/me/m"),
    ("file:///home/me/m", "local-dir:/home/me/m"),
    ("torchvision/resnet18@ResNet50_Weights.IMAGENET1K_V2", "torchvision/resnet50@IMAGENET1K_V2"),
    ("timm:torchvision/resnet18", "torchvision/resnet18"),
    ("timm.create_model('resnet50.a1_in1k', pretrained=True)", "resnet50.a1_in1k"),
    ("torchvision.models.resnet50(weights='DEFAULT')", "torchvision/resnet50"),
    ("https://huggingface.co/me/pets/discussions/3", "hf-hub:me/pets"),
    ("https://huggingface.co/me/pets/resolve/v1/other.pth", "hf-hub:me/pets@v1"),
    ("https://huggingface.co/me/pets/tree/main/checkpoint-500", "hf-hub:me/pets"),
    ("https://huggingface.co/spaces/me/pets", "hf-hub:owner/repo"),
    ("https://huggingface.co/datasets/me/pets", "hf-hub:owner/repo"),
    ("https://huggingface.co/timm", "hf-hub:owner/repo"),
    ("untrained:resnet18", "resnet18"),
]
FILES = [
    "best.pth",
    "best.pt",
    "runs/net.pt",
    "weights/model.safetensors",
    "checkpoint:w.pth",
    "https://github.com/me/pets",
    "https://download.pytorch.org/models/resnet50-0676ba61.pth",
]
A_NAME = "expected the name of a backbone, such as resnet18; got "
A_TORCHVISION_NAME = "expected torchvision/name or torchvision/name@WEIGHTS; got "
A_REPOSITORY = "expected hf-hub:owner/repo or hf-hub:owner/repo@revision; got "
A_SOURCE = "expected source:name, such as hf-hub:owner/repo or local-dir:path; got "
A_SOURCED_NAME = "expected a name with its source; got "
MISTAKES = [
    ("", A_NAME + "''"),
    ("res net", A_NAME + "'res net'"),
    ("resnet18@v1", A_NAME + "'resnet18@v1'; write resnet18.tag for a tag of timm, or torchvision/resnet18@WEIGHTS"),
    ("torchvision/", A_TORCHVISION_NAME + "'torchvision/'"),
    ("torchvision/a@", A_TORCHVISION_NAME + "'torchvision/a@'"),
    ("torchvision/a/b", A_TORCHVISION_NAME + "'torchvision/a/b'"),
    ("hf-hub:repo", A_REPOSITORY + "'hf-hub:repo'; write repo for timm's own weights of this name"),
    ("hf-hub:a/b/c", A_REPOSITORY + "'hf-hub:a/b/c'"),
    ("hf-hub:a/b@", A_REPOSITORY + "'hf-hub:a/b@'"),
    ("local-dir:", A_SOURCE + "'local-dir:'"),
    ("C:\\nets", A_SOURCED_NAME + "'C:\\\\nets'; write local-dir:C:/nets for a folder"),
    ("a/b", A_SOURCED_NAME + "'a/b'; write hf-hub:a/b for a Hub repository or local-dir:a/b for a folder"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "spec"), FORMS)
def test_parse_spec(text, spec):
    assert parse_spec(text) == spec


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_invalid_spec_lists_the_valid_forms(text, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (the whole message is compared)
        parse_spec(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(("text", "usual"), OTHER_FORMS)
def test_other_forms_have_the_usual_form(text, usual):
    assert str(parse_spec(text)) == usual
    assert parse_spec(usual) == parse_spec(text)


@pytest.mark.parametrize(("text", "usual"), CORRECTED)
def test_message_says_what_to_write_and_that_is_valid(text, usual):
    with pytest.raises(ValueError, match=rf"write {re.escape(usual)}([;,. ]|$)") as caught:
        parse_spec(text)
    assert repr(text) in str(caught.value) or "'torchvision/" in str(caught.value)
    assert str(parse_spec(usual)) == usual


@pytest.mark.parametrize("text", FILES)
def test_file_or_foreign_address_belongs_in_checkpoint(text):
    with pytest.raises(ValueError, match=r"write (its|their) architecture.*`checkpoint"):
        parse_spec(text)


@pytest.mark.parametrize(
    ("text", "kind"), [("spaces/me/pets", "a Space"), ("datasets/me/pets", "a data set"), ("papers/1234", "a paper")]
)
def test_address_of_something_else_is_named(text, kind):
    with pytest.raises(ValueError, match=f"expected the address of a model; got .*, that of {kind}; write hf-hub:"):
        parse_spec(f"https://huggingface.co/{text}")
