"""Addresses of backbones on other Lineups."""

import pytest

from lineup.config.lineup_address import parse_lineup
from lineup.config.spec import parse_spec

HOST = "https://other.host"
FORMS = [  # the address, the server, the name, and the usual form
    (f"{HOST}/resnet50", HOST, "resnet50", f"{HOST}/resnet50"),
    (f"{HOST}/resnet50/", HOST, "resnet50", f"{HOST}/resnet50"),
    ("HTTPS://Other.Host/ResNet50", HOST, "ResNet50", f"{HOST}/ResNet50"),
    (f"{HOST}:7860/resnet50", f"{HOST}:7860", "resnet50", f"{HOST}:7860/resnet50"),
    ("http://10.0.0.2:7860/a", "http://10.0.0.2:7860", "a", "http://10.0.0.2:7860/a"),
    ("http://[::1]:7860/a", "http://[::1]:7860", "a", "http://[::1]:7860/a"),
    (f"{HOST}/torchvision/resnet50", HOST, "torchvision/resnet50", f"{HOST}/torchvision/resnet50"),
    (f"{HOST}/hf-hub:owner/repo@v1", HOST, "hf-hub:owner/repo@v1", f"{HOST}/hf-hub:owner/repo@v1"),
    (f"{HOST}/hf-hub%3Aowner%2Frepo", HOST, "hf-hub:owner/repo", f"{HOST}/hf-hub:owner/repo"),
    (f"{HOST}/a%20b%25", HOST, "a b%", f"{HOST}/a%20b%25"),
    (f"{HOST}/v1/models/resnet50", HOST, "resnet50", f"{HOST}/resnet50"),
    (f"{HOST}/lineup/v1/models/org/b", f"{HOST}/lineup", "org/b", f"{HOST}/lineup/v1/models/org/b"),
]
WRONG = [
    ("other.host/resnet50", "write lineup:https://other.host/resnet50"),
    ("//other.host:7860/resnet50", "write lineup:https://other.host:7860/resnet50"),
    ("resnet50", "write https:// and the host"),
    ("ftp://other.host/resnet50", "write https:// and the host"),
    (HOST, "add the name of a backbone, as other.host/v1/models lists it"),
    (f"{HOST}/", "add the name of a backbone"),
    (f"{HOST}/lineup/v1/models/", "add the name of a backbone"),
    ("https:///resnet50", "add the name of a backbone"),
    (f"{HOST}/a%0Ab", "add the name of a backbone"),
    (f"{HOST}/resnet50?top_k=3", "remove what follows"),
    (f"{HOST}/resnet50#x", "remove what follows"),
    (f"{HOST}:port/resnet50", "fix its host or port"),
    ("https://[::1/resnet50", "fix its host or port"),
]


@pytest.mark.parametrize(("text", "server", "name", "usual"), FORMS)
def test_address_is_of_a_server_and_a_name_there(text, server, name, usual):
    found = parse_lineup(text)
    assert (found.server, found.name) == (server, name)
    assert str(parse_spec(f"lineup:{text}")) == f"lineup:{usual}"
    assert parse_lineup(usual) == found


@pytest.mark.parametrize(("text", "remedy"), WRONG)
def test_other_addresses_are_refused_with_what_to_write(text, remedy):
    with pytest.raises(ValueError, match=r"expected lineup:https://host/name, .*; got") as refusal:
        parse_spec(f"lineup:{text}")
    assert remedy in str(refusal.value)


def test_a_password_is_not_repeated():
    with pytest.raises(ValueError, match="set LINEUP_REMOTE_KEY") as refusal:
        parse_spec("lineup:https://me:secret@other.host/resnet50")
    assert "secret" not in str(refusal.value)
