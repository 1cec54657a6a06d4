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
A_NAME = "expected the name of a backbone, such as resnet18; got "
A_TORCHVISION_NAME = "expected torchvision/name or torchvision/name@WEIGHTS; got "
A_REPOSITORY = "expected hf-hub:owner/repo or hf-hub:owner/repo@revision; got "
A_SOURCE = "expected source:name, such as hf-hub:owner/repo or local-dir:path; got "
A_SOURCED_NAME = "expected a name with its source; got "
MISTAKES = [
    ("", A_NAME + "''"),
    ("res net", A_NAME + "'res net'"),
    ("resnet18@v1", A_NAME + "'resnet18@v1'"),
    ("torchvision/", A_TORCHVISION_NAME + "'torchvision/'"),
    ("torchvision/a@", A_TORCHVISION_NAME + "'torchvision/a@'"),
    ("torchvision/a/b", A_TORCHVISION_NAME + "'torchvision/a/b'"),
    ("hf-hub:repo", A_REPOSITORY + "'hf-hub:repo'"),
    ("hf-hub:a/b/c", A_REPOSITORY + "'hf-hub:a/b/c'"),
    ("hf-hub:a/b@", A_REPOSITORY + "'hf-hub:a/b@'"),
    ("local-dir:", A_SOURCE + "'local-dir:'"),
    ("local-dir: x", A_SOURCE + "'local-dir: x'"),
    ("C:\\nets", A_SOURCE + "'C:\\\\nets'"),
    ("a/b", A_SOURCED_NAME + "'a/b'; write hf-hub:a/b for a Hub repository or local-dir:a/b for a folder"),
    ("timm/a", A_SOURCED_NAME + "'timm/a'; write a for timm's own weights, hf-hub:timm/a for a Hub repository or "
     "local-dir:timm/a for a folder"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "spec"), FORMS)
def test_parse_spec(text, spec):
    assert parse_spec(text) == spec


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_invalid_spec_lists_the_valid_forms(text, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (the whole message is compared)
        parse_spec(text)
    assert str(caught.value) == message
