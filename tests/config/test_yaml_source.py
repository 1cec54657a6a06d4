import pytest

from lineup.config import yaml_source
from lineup.config.bounded_loader import BoundedLoader
from lineup.errors import ConfigError


def refusal(function, *arguments):
    with pytest.raises(ConfigError) as caught:
        function(*arguments)
    return str(caught.value)


def test_parse_returns_plain_values_and_positions():
    document = yaml_source.parse("title: ä b\nlist:\n  - one\n  - {a: 1, b: [x, yes]}\n", "config.yaml")
    assert document.values == {"title": "ä b", "list": ["one", {"a": 1, "b": ["x", True]}]}
    assert document.positions == {
        (): (1, 1),
        ("title",): (1, 1),
        ("list",): (2, 1),
        ("list", 0): (3, 5),
        ("list", 1): (4, 5),
        ("list", 1, "a"): (4, 6),
        ("list", 1, "b"): (4, 12),
        ("list", 1, "b", 0): (4, 16),
        ("list", 1, "b", 1): (4, 19),
    }


def test_where_formats_key_paths_and_falls_back_to_the_parent():
    document = yaml_source.parse("a:\n  - x\n  - labels: y\n", "fork.yaml")
    assert document.where(("a", 1, "labels")) == "fork.yaml:3:5: a[1].labels"
    assert document.where(("a", 1, "name", 3)) == "fork.yaml:3:5: a[1].name[3]"
    assert document.where(("other",)) == "fork.yaml:1:1: other"
    assert document.where(()) == "fork.yaml:1:1"


def test_keys_are_kept_verbatim():
    assert yaml_source.parse("on: 1\n1: 2\nnull: 3\n", "config.yaml").values == {"on": 1, "1": 2, "null": 3}


def test_duplicate_keys_are_reported_and_the_first_value_wins():
    document = yaml_source.parse("a: 1\nb:\n  c: 1\n  c: 2\na: {c: 3}\n", "config.yaml")
    assert document.values == {"a": 1, "b": {"c": 1}}
    assert document.problems == (
        "config.yaml:4:3: b.c: expected each key once; already defined in line 3; remove one of the two",
        "config.yaml:5:1: a: expected each key once; already defined in line 1; remove one of the two",
    )


INVALID = [
    ("a: &x 1\nb: *x", "2:4: expected YAML; got the alias *x; write the value out"),
    ("a: &x [*x]", "1:8: expected YAML; got the alias *x; write the value out"),
    ("a: [b\nc: 3", "1:4: expected a closing ] for the [ that is opened here; got none up to line 2; add ]"),
    ("a: b: c", "1:5: expected one key in a line; got a second colon followed by a space; put the value in"),
    ("a:\n\tb: c", "2:1: expected spaces as indentation; got a tab; replace it by spaces"),
    ("a: 'b", "1:4: expected a closing ' for the quote that is opened here; got the end of the file; close"),
    ("a: 1\n---\nb: 1", "2:1: expected one document; got a second one after ---; remove this line"),
    ("a: 1\n[b]: c", "2:1: expected YAML; got a key that is not plain text; write a word as the key"),
    ("a: !!python/name:os.system ''", "1:4: expected YAML; got '', which cannot be read as tag"),
    ("a: \0", "1:4: expected printable text; got the control character U+0000; remove it"),
    ("a: !!bool foo", "1:4: expected YAML; got 'foo', which cannot be read as tag:yaml.org,2002:bool"),
    ("a: !!int ''", "1:4: expected YAML; got '', which cannot be read as tag:yaml.org,2002:int"),
    ("a: !!map foo", "1:4: expected YAML; got 'foo', which cannot be read as tag:yaml.org,2002:map"),
    ('a: "\\ud800"', "1:4: expected YAML; got '?', which cannot be read as tag:yaml.org,2002:str"),
    ('a: "\\UFFFFFFFF"', "1:1: expected YAML; got Python int too large"),
    ("a: 1" + ":59" * 300 + ".0", "1:4: expected YAML; got '1:59:59:59:59:59"),
    ("a: 1:30", "1:4: expected YAML; got '1:30', which cannot be read as tag:yaml.org,2002:int"),
    ("a: 010", "1:4: expected YAML; got '010', which cannot be read as tag:yaml.org,2002:int"),
    ("a: 0x" + "f" * 4000, "1:4: expected YAML; got '0xffff"),
    ("a: " + "9" * 5000, "1:4: expected YAML; got '9999"),
    ("a: " + "[" * 600, "1:1: expected YAML; got maximum recursion depth exceeded"),
]


@pytest.mark.parametrize(("text", "message"), INVALID, ids=[text[:30] for text, _ in INVALID])
def test_invalid_yaml_is_rejected_with_position(text, message):
    assert refusal(yaml_source.parse, text, "config.yaml").startswith(f"config.yaml:{message}")


def test_byte_order_mark_and_crlf_are_accepted(tmp_path):
    (tmp_path / "config.yaml").write_bytes(b"\xef\xbb\xbfa: 1\r\nb:\r\n  - c\r\n")
    document = yaml_source.read(tmp_path / "config.yaml")
    assert (document.name, document.values) == ("config.yaml", {"a": 1, "b": ["c"]})
    assert document.positions == {(): (1, 1), ("a",): (1, 1), ("b",): (2, 1), ("b", 0): (3, 5)}


def test_unreadable_file_is_reported_with_its_path(tmp_path):
    path = tmp_path / "config.yaml"
    missing = f"{path}: expected a config file; there is none; create it, or name another with --config"
    assert refusal(yaml_source.read, path) == missing
    path.write_bytes("title: Käse".encode("latin-1"))
    got = "the byte 0xe4, as in the encodings of older editors"
    encoding = f"config.yaml:1:9: expected UTF-8 text; got {got}; save the file again as UTF-8"
    assert refusal(yaml_source.read, path) == encoding
    folder = f"{tmp_path}: expected a config file; got a folder; name the file in it"
    assert refusal(yaml_source.read, tmp_path) == folder


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_named_as_such(tmp_path, encoding):
    text = "title: x\r\n" if encoding == "utf-16" else "\ufefftitle: x\r\n"
    (tmp_path / "config.yaml").write_bytes(text.encode(encoding))
    got = "UTF-16, which some editors call Unicode"
    message = f"config.yaml:1:1: expected UTF-8 text; got {got}; save the file again as UTF-8"
    assert refusal(yaml_source.read, tmp_path / "config.yaml") == message


def test_positions_count_line_ends_of_windows(tmp_path):
    (tmp_path / "config.yaml").write_bytes(b"\xef\xbb\xbfa: 1\r\n\r\nb: 'c\r\nd: e\r\n")
    assert refusal(yaml_source.read, tmp_path / "config.yaml").startswith("config.yaml:3:4: expected a closing '")
    (tmp_path / "config.yaml").write_bytes("a: 1\r\nb: K\xe4se\r\n".encode("cp1252"))
    assert refusal(yaml_source.read, tmp_path / "config.yaml").startswith(
        "config.yaml:2:5: expected UTF-8 text; got the"
    )


def test_dates_are_kept_as_text():
    assert yaml_source.parse("a: 2020-01-01\nb: 2020-13-45", "config.yaml").values == {
        "a": "2020-01-01",
        "b": "2020-13-45",
    }


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"


@pytest.mark.parametrize(("text", "line"), [(BOMB, 1), ("a: &a [*a]", 1), ("x: 1\na: &a b\nc: *a", 2)])
def test_aliases_are_rejected_without_the_hook_in_the_composer(monkeypatch, text, line):
    monkeypatch.delattr(BoundedLoader, "compose_node")
    with pytest.raises(ConfigError, match=rf"^x.yaml:{line}:4: expected YAML; got an alias of this; write"):
        yaml_source.parse(text, "x.yaml")


def test_brackets_are_parsed_without_the_hook_in_the_scanner(monkeypatch):
    nested = "a: " + "[" * 15 + "{b: c}" + "]" * 15
    expected = yaml_source.parse(nested, "x.yaml").values
    monkeypatch.delattr(BoundedLoader, "save_possible_simple_key")
    assert yaml_source.parse(nested, "x.yaml").values == expected


IN_QUOTES = [  # in double quotes, the position of the message, and what it names
    ('- backbone: resnet18\n  checkpoint: "C:\\Users\\me\\b.pth"', "3:18", "got \\U in double quotes"),
    ('- {backbone: resnet18, checkpoint: "data\\models\\b.pth"}', "2:41", "got \\m in double quotes"),
    ('- backbone: resnet18\n  checkpoint: "weights\\b.pth"', "3:15", 'the path "weights\\b.pth", in which \\b stands'),
    ('- "local-dir:nets\\test"', "2:3", "in which \\t stands"),
    ('- {backbone: resnet18, labels: "data\\names.txt"}', "2:32", "in which \\n stands"),
    ('- {backbone: resnet18, checkpoint: "run\\x41.pth"}', "2:36", "in which \\x stands"),
    ('- {backbone: resnet18, checkpoint: "a\\\\run\\0.pth"}', "2:36", "in which \\0 stands"),
    ('- resnet18\nexamples: "C:\\\\my\\a"', "3:11", "in which \\a stands"),
    ('- resnet18\nexamples:\n- {image: "my\\fox.png"}', "4:11", "in which \\f stands"),
]


@pytest.mark.parametrize(("text", "position", "what"), IN_QUOTES)
def test_backslash_of_windows_in_double_quotes_is_refused(text, position, what):
    with pytest.raises(ConfigError) as caught:
        yaml_source.parse(f"backbones:\n{text}\n", "config.yaml")
    assert str(caught.value).startswith(f"config.yaml:{position}: expected YAML; ")
    assert what in str(caught.value)
    assert str(caught.value).endswith("write / instead of \\, or use single quotes")
    assert "\n" not in str(caught.value)


def test_escape_sequences_that_json_writes_are_read():
    text = '{"title": "a\\tb", "backbones": [{"backbone": "a", "checkpoint": "C:\\\\m\\u00fc\\/b.pth", "labels": ["\\n"]}]}'  # noqa: E501
    values = yaml_source.parse(text, "config.yaml").values
    assert (values["title"], values["backbones"][0]["labels"]) == ("a\tb", ["\n"])
    assert values["backbones"][0]["checkpoint"] == "C:\\mü/b.pth"
