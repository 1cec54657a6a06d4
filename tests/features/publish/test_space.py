"""Pushing: the Hub's real client against the stand-in, from the command line's own door."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import run_command
from huggingface_hub import HfApi

from lineup.features.publish import files, space

ROOT = Path(__file__).parents[3]
CONFIG = "title: Birds\nbackbones:\n  - {name: a, backbone: 'fake:a', labels: names.txt}\nexamples: photos\n"
CODE = {"app.py": "app", "requirements.txt": "gradio\n", "lineup/__init__.py": "", "lineup/__main__.py": "main"}
LEFT_AT_HOME = ("tests/test_a.py", "lineup/__pycache__/a.pyc", "lineup/.env", ".env", ".venv/a.py", "notes.txt")
PUSHED = [".gitattributes", ".lineup-push.json", "README.md", "app.py", "config.yaml", "lineup/__init__.py"]
PUSHED += ["lineup/__main__.py", "names.txt", "photos/jay.png", "requirements.txt"]


@dataclass
class Told:
    status: int
    out: str
    err: str


@dataclass
class Fork:
    """A small fork of Lineup in a folder, and the Hub's Space that it is pushed to."""

    folder: Path
    hub: object
    push: object = field(repr=False)

    def write(self, **texts: str) -> None:
        for name, text in texts.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    @property
    def files(self) -> dict[str, bytes]:
        return self.hub.spaces.files("me/birds")


@pytest.fixture
def fork(tmp_path, monkeypatch, capsys, hub, fakes, fresh_cache):
    folder = tmp_path / "fork"
    monkeypatch.setattr(files, "ROOT", folder)
    monkeypatch.setattr(space, "POLL_S", 0.01)
    monkeypatch.setenv("HF_TOKEN", "hf_of_me")

    def push(*arguments: str, to: str = "me/birds") -> Told:
        config = str(folder / "config.yaml")
        status = run_command(["push", to, *arguments, *([] if "--config" in arguments else ["--config", config])])
        out, err = capsys.readouterr()
        return Told(status, out, err)

    made = Fork(folder, hub, push)
    others = {"config.yaml": CONFIG, "names.txt": "cat\ndog\nowl\n", "photos/jay.png": "an image"}
    made.write(**CODE, **others, **dict.fromkeys(LEFT_AT_HOME, "secret"))
    return made


def changes(told: Told) -> dict[str, str]:
    return {each["path"]: each["change"] for each in json.loads(told.out)["files"]}


def test_the_first_push_makes_the_space_with_one_commit_and_waits_for_it(fork):
    told = fork.push()
    assert (told.status, told.err) == (0, "")
    assert sorted(fork.files) == PUSHED
    assert (len(fork.hub.spaces.commits), fork.files["app.py"]) == (1, b"app")
    assert fork.hub.spaces.all["me/birds"].hardware == "zero-a10g"
    assert [line for line in told.out.splitlines() if line.endswith("…")] == ["building …", "app starting …"]
    assert told.out.splitlines()[-1] == f"running: {fork.hub.url}/spaces/me/birds"
    assert b"title: Birds" in fork.files["README.md"]
    assert (fork.folder / "README.md").read_bytes() == fork.files["README.md"]
    assert b"*.png filter=lfs" in fork.files[".gitattributes"]
    assert not any(b"secret" in body for body in fork.files.values())


def test_an_unchanged_push_commits_nothing(fork):
    fork.push()
    told = fork.push()
    assert told.status == 0
    assert "nothing changed: no commit" in told.out
    assert len(fork.hub.spaces.commits) == 1


def test_a_second_push_sends_what_changed(fork):
    fork.push()
    fork.write(**{"app.py": "another app"})
    told = fork.push("--dry-run", "--json")
    assert {path for path, change in changes(told).items() if change == "changed"} == {"app.py", ".lineup-push.json"}
    fork.push()
    assert fork.files["app.py"] == b"another app"
    assert fork.hub.spaces.commits[1] == "file:.lineup-push.json file:app.py"


def test_what_the_last_push_left_behind_goes_and_what_was_added_by_hand_stays(fork):
    fork.write(**{"photos/owl.png": "an owl", "lineup/old.py": "old"})
    fork.push()
    fork.hub.spaces.edit("me/birds", **{"by_hand.txt": b"mine", "photos/crow.png": b"mine too"})
    (fork.folder / "photos/owl.png").unlink()
    (fork.folder / "lineup/old.py").unlink()
    assert changes(fork.push("--dry-run", "--json"))["photos/owl.png"] == "deleted"
    assert fork.push().status == 0
    assert sorted(fork.files) == sorted([*PUSHED, "by_hand.txt", "photos/crow.png"])
    assert fork.hub.spaces.commits[1].split()[1:] == ["deletedFile:lineup/old.py", "deletedFile:photos/owl.png"]


def test_a_file_edited_on_the_space_is_not_deleted_and_one_overwritten_is_told(fork):
    fork.write(**{"photos/owl.png": "an owl"})
    fork.push()
    fork.hub.spaces.edit("me/birds", **{"photos/owl.png": b"another owl", "config.yaml": b"title: edited\n"})
    (fork.folder / "photos/owl.png").unlink()
    told = fork.push()
    assert told.status == 0
    assert "note: config.yaml was edited on the Space since the last push: this push overwrites it" in told.out
    assert "note: photos/owl.png was edited on the Space since the last push: it stays" in told.out
    assert (fork.files["photos/owl.png"], fork.files["config.yaml"]) == (b"another owl", CONFIG.encode())


def test_a_list_of_the_last_push_that_somebody_spoilt_deletes_nothing(fork):
    fork.write(**{"photos/owl.png": "an owl"})
    fork.push()
    (fork.folder / "photos/owl.png").unlink()
    for spoilt in (b"{", b"[1]", b'{"app.py": 3}', b"null"):
        fork.hub.spaces.edit("me/birds", **{".lineup-push.json": spoilt})
        assert "deleted" not in changes(fork.push("--dry-run", "--json")).values()
    assert fork.push().status == 0
    assert "photos/owl.png" in fork.files


def test_a_dry_run_touches_nothing_and_says_everything(fork):
    before = sorted(fork.folder.rglob("*"))
    told = fork.push("--dry-run")
    assert (told.status, told.err) == (0, "")
    assert sorted(fork.folder.rglob("*")) == before
    assert {method for method, _ in fork.hub.requests} <= {"GET", "HEAD"}
    assert "me/birds" not in fork.hub.spaces.all
    head, *rows = told.out.splitlines()
    assert head == f"{fork.hub.url}/spaces/me/birds: new"
    assert [row.split()[1] for row in rows[: len(PUSHED)]] == PUSHED
    assert rows[len(PUSHED) :] == ["10 files, 0.0 MB: 10 new", "hardware: zero-a10g"]


def test_a_dry_run_as_json_names_secrets_and_never_their_values(fork, monkeypatch):
    monkeypatch.setenv("MY_SECRET", "xyzzy")
    told = fork.push("--dry-run", "--json", "--secret", "MY_SECRET", "--variable", "A=b=c", "--hardware", "t4-small")
    found = json.loads(told.out)
    assert "xyzzy" not in told.out
    assert (found["state"], found["hardware"], found["private"]) == ("new", "t4-small", False)
    assert (found["secrets"], found["variables"]) == (["MY_SECRET"], {"A": "b=c"})
    assert {"path": "app.py", "bytes": 3, "change": "new"} in found["files"]


def test_a_dry_run_with_no_hub_in_reach_is_complete(fork):
    with fork.hub.gone():
        told = fork.push("--dry-run", "--json")
    assert told.status == 0
    assert json.loads(told.out)["state"] == "unknown: the Hub cannot be reached"
    assert json.loads(told.out)["hardware"] == "zero-a10g"
    assert changes(told) == dict.fromkeys(PUSHED, "push")


def test_a_push_as_json_is_one_value_and_tells_its_steps_beside(fork):
    told = fork.push("--json")
    found = json.loads(told.out)
    assert (found["stage"], found["state"], found["url"]) == ("RUNNING", "new", f"{fork.hub.url}/spaces/me/birds")
    assert f"committed {found['commit'][:8]}: " in told.err


def test_who_leaves_while_it_is_built_gets_no_traceback(fork, monkeypatch):
    def leave(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(space.time, "sleep", leave)
    told = fork.push()
    assert (told.status, told.err) == (130, "")
    assert told.out.splitlines()[-2:] == ["now the Hub builds it; that goes on if you leave", "building …"]


def test_hardware_secrets_and_variables_are_set_before_the_build_and_again_only_if_they_change(fork, monkeypatch):
    monkeypatch.setenv("MY_SECRET", "xyzzy")
    wish = ("--private", "--secret", "MY_SECRET", "--variable", "A=1")
    told = fork.push("--hardware", "t4-small", *wish)
    made = fork.hub.spaces.all["me/birds"]
    assert "xyzzy" not in told.out
    assert (made.hardware, made.private, made.secrets, made.variables) == (
        "t4-small", True, {"MY_SECRET": "xyzzy"}, {"A": "1"}
    )  # fmt: skip
    posts = [path.rpartition("birds/")[2] for method, path in fork.hub.requests if method == "POST"]
    assert posts.index("secrets") < posts.index("commit/main")
    fork.hub.requests.clear()
    assert fork.push(*wish).status == 0
    assert [path for method, path in fork.hub.requests if method == "POST"] == ["/api/spaces/me/birds/secrets"]
    assert fork.push("--hardware", "cpu-upgrade", "--variable", "A=2").status == 0
    assert (made.hardware, made.variables) == ("cpu-upgrade", {"A": "2"})


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--secret", "NOT_SET"], "--secret: expected an environment variable, so that the value is on no command"),
        (["--variable", "A"], "--variable: expected NAME=VALUE; got 'A'; mend it"),
        (["--hardware", "t4-smal"], "--hardware: expected one of the Hub's; got 't4-smal'; did you mean 't4-small'?"),
    ],
)
def test_a_wrong_wish_is_told_before_anybody_is_asked(fork, arguments, error):
    told = fork.push(*arguments)
    assert (told.status, told.out) == (2, "")
    assert told.err.startswith(f"error: {error}")
    assert fork.hub.requests == []


@pytest.mark.parametrize("name", ["birds", "me/birds/more", "me/", "", "me/b irds"])
def test_a_name_that_is_none_is_told(fork, name):
    told = fork.push(to=name)
    assert told.err == f"error: SPACE: expected owner/name, such as me/my-lineup; got {name!r}; mend it\n"


def test_a_config_with_a_problem_is_not_pushed(fork):
    fork.write(**{"config.yaml": CONFIG.replace("names.txt", "gone.txt")})
    told = fork.push()
    assert told.err.startswith("error: config.yaml:3:35: backbones[0].labels: expected a file; ")
    fork.write(**{"config.yaml": "backbones: ['fake:a', resnet5O]\nexamples: gone\n"})
    told = fork.push()
    assert (told.status, [line.split(": ")[1] for line in told.err.splitlines()]) == (
        2, ["config.yaml:1:23", "config.yaml:2:1"]
    )  # fmt: skip
    assert fork.hub.spaces.all == {}


@pytest.mark.parametrize(
    ("fault", "arguments", "error"),
    [
        (("create", "401"), [], "to create the Space on zero-a10g; the token is not accepted (401); make one that may"),
        (
            ("create", "402"),
            ["--hardware", "cpu-basic"],
            "needs a paid plan (402); free accounts push with --hardware z",
        ),
        (
            ("create", "402"),
            [],
            "zero-a10g needs a paid plan (402); delete a ZeroGPU Space that you do not need, or get",
        ),
        (
            ("create", "403"),
            [],
            "the token may not do that (403); use one that may write to me, or push to a name of yo",
        ),
        (
            ("create", "409"),
            [],
            "the name is taken (409); choose another one, or use a token that may see what is there",
        ),
        (("info", "403"), [], "to look at the Space; the token may not do that (403); use one that may write to me"),
        (
            ("variables", "500"),
            ["--variable", "A=1"],
            "the Hub failed (500); push again later: what is done stays done",
        ),
        (("commit", "409"), [], "to commit 10 files; somebody changed the Space meanwhile (409); push again"),
        (("commit", "412"), [], "somebody changed the Space meanwhile (412); push again"),
        (("commit", "429"), [], "too many requests (429); push again in some minutes"),
        (
            ("commit", "cut off"),
            [],
            "to commit 10 files; the connection broke off; push again: what is done stays done",
        ),
        (("commit", "lost"), [], "to commit 10 files; the connection broke off; push again: what is done stays done"),
        (("create", "lost"), [], "the connection broke off; push again: what is done stays done"),
        (("secrets", "cut off"), ["--secret", "HF_TOKEN"], "the connection broke off; push again: what is done stays"),
        (("runtime", "503"), [], "to see the Space's build; the Hub failed (503); push again later"),
    ],
)
def test_what_goes_wrong_is_one_sentence_with_the_remedy_and_pushing_again_finishes(fork, fault, arguments, error):
    step, what = fault
    fork.hub.spaces.faults[step] = what
    told = fork.push(*arguments)
    assert told.status == 2
    assert told.err.startswith("error: me/birds: expected to ")
    assert error in told.err
    assert told.err.count("\n") == 1
    assert "Traceback" not in told.err
    fork.hub.spaces.faults.clear()
    again = fork.push(*arguments)
    assert (again.status, again.err) == (0, "")
    assert sorted(fork.files) == PUSHED
    assert len(fork.hub.spaces.commits) == 1
    assert again.out.splitlines()[-1].startswith("running: ")


@pytest.fixture
def weights(fork, monkeypatch) -> bytes:
    """Put 12 MB of weights into the fork, and let the Hub's client try again without waiting."""
    monkeypatch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=lambda _: None))
    body = os.urandom(12_000_000)
    (fork.folder / "lineup/large.safetensors").write_bytes(body)
    return body


def uploads(hub) -> list[str]:
    """Return the SHA-256 of each upload, in the order they came."""
    return [path[len("/lfs/") :].partition("?")[0] for method, path in hub.requests if method == "PUT"]


def test_large_files_are_uploaded_through_lfs_once(fork, weights):
    oid = hashlib.sha256(weights).hexdigest()
    told = fork.push()
    assert (told.status, told.err) == (0, "")
    assert uploads(fork.hub) == [oid]
    assert fork.files["lineup/large.safetensors"] == weights
    assert "lfsFile:lineup/large.safetensors" in fork.hub.spaces.commits[0].split()
    siblings = HfApi().space_info("me/birds", files_metadata=True).siblings
    large = {each.rfilename: (each.lfs.sha256, each.lfs.size) for each in siblings if each.lfs}
    assert large["lineup/large.safetensors"] == (oid, len(weights))
    assert large.keys() == {"lineup/large.safetensors", "photos/jay.png"}  # by the .gitattributes that was pushed
    fork.hub.requests.clear()
    assert "nothing changed: no commit" in fork.push().out
    assert uploads(fork.hub) == []


def test_a_large_file_that_moves_is_not_uploaded_again(fork, weights):
    fork.push()
    fork.hub.requests.clear()
    (fork.folder / "lineup/large.safetensors").rename(fork.folder / "lineup/moved.safetensors")
    assert fork.push().status == 0
    assert fork.files["lineup/moved.safetensors"] == weights
    assert "lineup/large.safetensors" not in fork.files
    assert uploads(fork.hub) == []


def test_a_image_goes_through_lfs_on_the_first_push_and_on_the_next(fork):
    (fork.folder / "photos/jay.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    fork.push()
    (fork.folder / "photos/jay.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR another")
    assert fork.push().status == 0
    assert all("lfsFile:photos/jay.png" in commit.split() for commit in fork.hub.spaces.commits)
    assert fork.files["photos/jay.png"].endswith(b"another")


@pytest.mark.parametrize(
    ("step", "fault", "error"),
    [
        ("upload", "cut off", "the connection broke off; push again: what is done stays done"),
        ("upload", "lost", "the connection broke off; push again: what is done stays done"),
        ("upload", "403", "127.0.0.1 refused the upload (403); push again, or look for a proxy on the way"),
        ("upload", "500", "the Hub failed (500); push again later: what is done stays done"),
        ("batch", "403", "the token may not do that (403); use one that may write to me, or push to a name of your"),
        ("batch", "full", "`Storage limit reached; mend that, and push again"),
        ("verify", "404", "the Hub refused (404); push again later"),
    ],
)
def test_an_upload_that_fails_is_one_sentence_and_pushing_again_finishes(fork, weights, step, fault, error):
    fork.hub.spaces.faults[step] = fault
    told = fork.push()
    assert told.status == 2
    assert told.err.startswith("error: me/birds: expected to commit 11 files; ")
    assert error in told.err
    assert told.err.count("\n") == 1
    assert fork.hub.spaces.commits == []
    arrived = bool(fork.hub.spaces.large.objects)
    fork.hub.spaces.faults.clear()
    fork.hub.requests.clear()
    again = fork.push()
    assert (again.status, again.err) == (0, "")
    assert fork.files["lineup/large.safetensors"] == weights
    assert (arrived, len(uploads(fork.hub))) in {(True, 0), (False, 1)}


def test_other_bytes_than_were_announced_are_not_taken(fork, weights, monkeypatch):
    real = fork.hub.spaces.large.upload
    monkeypatch.setattr(fork.hub.spaces.large, "upload", lambda oid, body: real(oid, body[:-1]))
    told = fork.push()
    assert "The SHA-256 you specified did not match what we received" in told.err
    assert (told.err.count("\n"), fork.hub.spaces.commits) == (1, [])


def test_what_somebody_changes_between_plan_and_commit_is_not_overwritten(fork):
    fork.push()
    fork.write(**{"app.py": "another app"})
    real = fork.hub.spaces._post_preupload

    def meanwhile(name, body):
        fork.hub.spaces.edit(name, **{"app.py": b"edited meanwhile"})
        return real(name, body)

    fork.hub.spaces._post_preupload = meanwhile
    try:
        told = fork.push()
    finally:
        del fork.hub.spaces._post_preupload
    assert "somebody changed the Space meanwhile (412); push again" in told.err
    assert fork.files["app.py"] == b"edited meanwhile"
    assert "note: app.py was edited on the Space since the last push: this push overwrites it" in fork.push().out


def test_without_a_token_the_remedy_names_where_to_get_one(fork, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    told = fork.push()
    assert told.err == (
        "error: me/birds: expected to create the Space on zero-a10g; there is no token (401); "
        "make one that may write at https://huggingface.co/settings/tokens, and set HF_TOKEN to it\n"
    )


def test_a_hub_that_is_not_in_reach_is_told(fork):
    with fork.hub.gone():
        told = fork.push()
    assert told.err == (
        "error: me/birds: expected to look at the Space; the Hub cannot be reached; "
        "check this machine's network, and push again\n"
    )


def test_another_app_is_not_overwritten_and_a_public_space_is_not_taken_for_private(fork):
    fork.push()
    assert "it is public; make it private at " in fork.push("--private").err
    fork.hub.spaces.put("me/birds", {"README.md": b"", "app.py": b"somebody's"})
    told = fork.push()
    assert told.err.startswith("error: me/birds: expected a new name, or a Space of Lineup's; it is another app's; ch")
    assert fork.files["app.py"] == b"somebody's"


def test_a_card_that_the_hub_refuses_is_told_in_its_words(fork):
    fork.write(**{"config.yaml": CONFIG + "space: {emoji: x}\n"})
    told = fork.push()
    assert '"emoji" is not valid; mend that, and push again' in told.err
    assert told.err.count("\n") == 1


def test_a_build_that_fails_is_told_with_the_lines_of_its_log_that_say_why(fork):
    fork.hub.spaces.stages = ["BUILDING", "BUILD_ERROR"]
    fork.hub.spaces.log = ["--> FROM python:3.12", "ERROR: No matching distribution found for timm>=9", "bye"]
    told = fork.push()
    assert told.status == 2
    first, *lines = told.err.splitlines()
    assert first.startswith("error: me/birds: expected a Space that runs; it is BUILD_ERROR; mend what the log says")
    assert first.endswith(f"{fork.hub.url}/spaces/me/birds?logs=build")
    assert lines == ["  ERROR: No matching distribution found for timm>=9"]
    fork.hub.spaces.faults["logs"] = "404"
    assert "it is BUILD_ERROR" in fork.push().err


def test_what_runs_is_not_taken_for_what_was_pushed(fork):
    fork.push()
    fork.write(**{"app.py": "another app"})
    real, seen = fork.hub.spaces._get_runtime, []

    def late(name, body):  # it says RUNNING of the commit before, until it begins to build
        seen.append(name)
        return real(name, body) if len(seen) > 3 else {"stage": "RUNNING", "sha": "0" * 40}

    fork.hub.spaces._get_runtime = late
    try:
        told = fork.push()
    finally:
        del fork.hub.spaces._get_runtime
    assert [line for line in told.out.splitlines() if line.endswith("…")][-2:] == ["building …", "app starting …"]


def test_a_build_that_does_not_end_is_left_to_itself(fork, monkeypatch):
    monkeypatch.setattr(space, "BUILD_TIMEOUT_S", 0.05)
    fork.hub.spaces.stages = ["BUILDING"]
    assert "it is BUILDING; look at " in fork.push().err


@pytest.mark.parametrize(
    ("config", "where"),
    [
        ("backbones: [{name: a, backbone: 'fake:a', labels: ../names.txt}]", "config.yaml:1:43: backbones[0].labels"),
        ("backbones: [{name: a, backbone: 'fake:a', labels: HERE/names.txt}]", "config.yaml:1:43: backbones[0].labels"),
        ("backbones: [{name: a, backbone: 'fake:a', labels: linked.txt}]", "config.yaml:1:43: backbones[0].labels"),
        ("backbones: ['fake:a']\nexamples: ../photos", "config.yaml:2:1: examples"),
        ("backbones: ['fake:a']\nexamples: [../photos/jay.png]", "config.yaml:2:12: examples[0]"),
        ("backbones: ['fake:a']\nexamples: .", "config.yaml:2:1: examples"),
    ],
)
def test_a_file_outside_the_configs_folder_is_refused_with_its_place(fork, config, where):
    shutil.copytree(fork.folder / "photos", fork.folder.parent / "photos")
    (fork.folder.parent / "names.txt").write_text("cat\ndog\nowl\n")
    (fork.folder / "linked.txt").symlink_to(fork.folder.parent / "names.txt")
    shutil.copy(fork.folder / "photos/jay.png", fork.folder)
    fork.write(**{"config.yaml": config.replace("HERE", str(fork.folder))})
    told = fork.push("--dry-run")
    assert told.status == 2
    assert told.err.startswith(f"error: {where}: expected a path below the config's folder, which is what a Space gets")


def test_a_file_that_would_take_the_place_of_the_codes_is_refused(fork):
    elsewhere = fork.folder / "mine"
    fork.write(**{"mine/birds.yaml": "backbones: [{backbone: 'fake:a', labels: requirements.txt}]"})
    fork.write(**{"mine/requirements.txt": "cat\ndog\nowl\n"})
    told = fork.push("--dry-run", "--config", str(elsewhere / "birds.yaml"))
    assert "expected a path that the app does not use; got 'requirements.txt'; rename it" in told.err


def test_a_config_of_another_name_and_folder_becomes_the_spaces_own(fork):
    text = "title: Owls\nbackbones: ['fake:b']\nexamples: [owl.png, 'https://example.org/a.png']\n"
    fork.write(**{"mine/owls.yaml": text, "mine/owl.png": "an owl", "README.md": "# Mine\n"})
    assert fork.push("--config", str(fork.folder / "mine/owls.yaml")).status == 0
    assert (fork.files["config.yaml"], fork.files["owl.png"]) == (text.encode(), b"an owl")
    assert b"# Owls" in fork.files["README.md"]
    assert (fork.folder / "README.md").read_text() == "# Mine\n"


def clean_check(folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    alone = {**env, "PYTHONPATH": str(folder)}
    code = "import app, lineup, sys; print(lineup.__file__)"
    imported = subprocess.run([sys.executable, "-c", code], cwd=folder, env=alone, capture_output=True, text=True)
    assert (imported.returncode, imported.stdout.strip()) == (0, str(folder / "lineup/__init__.py")), imported.stderr
    command = [sys.executable, "-m", "lineup", "check", "--offline"]
    return subprocess.run(command, cwd=folder, env=alone, capture_output=True, text=True, timeout=120)


def test_what_is_pushed_of_this_repository_is_what_a_space_needs_and_no_more(fork, env, monkeypatch, tmp_path):
    monkeypatch.setattr(files, "ROOT", ROOT)
    config = tmp_path / "config.yaml"
    config.write_text("backbones: ['local-dir:bundled/efficientnet_lite0']\nexamples: examples\n")
    for name in ("bundled", "examples"):
        shutil.copytree(ROOT / name, tmp_path / name)
    assert fork.push("--config", str(config)).status == 0
    unpacked = tmp_path / "space"
    for path, body in fork.files.items():
        (unpacked / path).parent.mkdir(parents=True, exist_ok=True)
        (unpacked / path).write_bytes(body)
    tops = {path.partition("/")[0] for path in fork.files}
    assert tops - {"LICENSE", "config.schema.json", *files.TOLD} == {
        *(".gitattributes", ".lineup-push.json", "README.md", "app.py", "bundled", "config.yaml"),
        *("examples", "lineup", "requirements.txt"),
    }
    assert {path for path in fork.files if path.startswith("bundled/")} == {
        f"bundled/efficientnet_lite0/{name}" for name in ("LICENSE", "README.md", "config.json", "model.safetensors")
    }
    assert not [path for path in fork.files if path.endswith((".pyc", ".env"))]
    told = clean_check(unpacked, env)
    assert (told.returncode, told.stderr) == (0, "")
    assert "note:" not in told.stdout  # not even a stale card


def test_the_shipped_config_gives_a_complete_plan_with_no_hub_in_reach(env, hub):
    command = [sys.executable, "-m", "lineup", "push", "me/x", "--dry-run", "--json"]
    with hub.gone():
        told = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)
    assert (told.returncode, told.stderr) == (0, "")
    found = json.loads(told.stdout)
    paths = {each["path"] for each in found["files"]}
    assert found["state"] == "unknown: the Hub cannot be reached"
    tracked = {path.relative_to(ROOT).as_posix() for path in (ROOT / "lineup").rglob("*.py")}
    assert tracked | {"app.py", "config.yaml", "README.md", "requirements.txt", ".gitattributes"} <= paths
    assert {
        "bundled/efficientnet_lite2/model.safetensors",
        "examples/koala.jpg",
        "examples/CREDITS.md",
        "lineup/registry/published.csv",
    } <= paths
    assert all(
        each["bytes"] == (ROOT / each["path"]).stat().st_size for each in found["files"] if each["path"] == "app.py"
    )
    assert not [path for path in paths if path.split("/")[0] in ("tests", "benchmarks", ".git", ".venv")]


def test_make_push_is_the_same_command():
    told = subprocess.run(
        ["make", "-n", "push", "SPACE=me/x", "ARGS=--dry-run"], cwd=ROOT, capture_output=True, text=True
    )
    assert ".venv/bin/python -m lineup push me/x --dry-run" in told.stdout.splitlines()
