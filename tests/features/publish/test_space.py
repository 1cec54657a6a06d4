"""`push` from the command line: the real Hub client against the fake Hub."""

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
from tests.support import transformers_networks

ROOT = Path(__file__).parents[3]
CONFIG = "title: Birds\nbackbones:\n  - {name: a, backbone: 'fake:a', labels: names.txt}\nexamples: photos\n"
CODE = {"app.py": "app", "requirements.txt": "gradio\n", "lineup/__init__.py": "", "lineup/__main__.py": "main"}
EXCLUDED = ("tests/test_a.py", "lineup/__pycache__/a.pyc", "lineup/.env", ".env", ".venv/a.py", "notes.txt")
PUSHED = [".gitattributes", ".lineup-push.json", "README.md", "app.py", "config.yaml", "lineup/__init__.py"]
PUSHED += ["lineup/__main__.py", "names.txt", "photos/jay.png", "requirements.txt"]


@dataclass
class Result:
    status: int
    out: str
    err: str


@dataclass
class Fork:
    """A small fork of Lineup in a folder, and the Space that it is pushed to."""

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

    def push(*arguments: str, to: str = "me/birds") -> Result:
        config = str(folder / "config.yaml")
        status = run_command(["push", to, *arguments, *([] if "--config" in arguments else ["--config", config])])
        out, err = capsys.readouterr()
        return Result(status, out, err)

    made = Fork(folder, hub, push)
    others = {"config.yaml": CONFIG, "names.txt": "cat\ndog\nowl\n", "photos/jay.png": "an image"}
    made.write(**CODE, **others, **dict.fromkeys(EXCLUDED, "secret"))
    return made


def changes(result: Result) -> dict[str, str]:
    return {file["path"]: file["change"] for file in json.loads(result.out)["files"]}


def test_first_push_creates_the_space_in_one_commit_and_waits(fork):
    result = fork.push()
    assert (result.status, result.err) == (0, "")
    assert sorted(fork.files) == PUSHED
    assert (len(fork.hub.spaces.commits), fork.files["app.py"]) == (1, b"app")
    assert fork.hub.spaces.all["me/birds"].hardware == "zero-a10g"
    assert [line for line in result.out.splitlines() if line.endswith("…")] == ["building …", "app starting …"]
    assert result.out.splitlines()[-1] == f"running: {fork.hub.url}/spaces/me/birds"
    assert b"title: Birds" in fork.files["README.md"]
    assert (fork.folder / "README.md").read_bytes() == fork.files["README.md"]
    assert b"*.png filter=lfs" in fork.files[".gitattributes"]
    assert not any(b"secret" in body for body in fork.files.values())


def test_space_installs_transformers_only_for_a_model_of_transformers(fork):
    """A Space's builder reads requirements.txt alone, so that the lines are in it."""
    fork.write(**{"requirements-transformers.txt": "transformers>=5.23\n"})
    fork.push()
    assert fork.files["requirements.txt"] == b"gradio\n"
    transformers_networks.save(fork.folder / "m")
    fork.write(**{"config.yaml": "backbones: ['fake:a', 'local-dir:m']"})
    assert changes(fork.push("--dry-run", "--json"))["requirements.txt"] == "changed"
    assert fork.push().status == 0
    assert fork.files["requirements.txt"].split() == [b"gradio", b"transformers>=5.23"]
    assert fork.files["m/preprocessor_config.json"]


def test_unchanged_push_makes_no_commit(fork):
    fork.push()
    result = fork.push()
    assert result.status == 0
    assert "nothing changed: no commit" in result.out
    assert len(fork.hub.spaces.commits) == 1


def test_second_push_commits_only_changed_files(fork):
    fork.push()
    fork.write(**{"app.py": "another app"})
    result = fork.push("--dry-run", "--json")
    assert {path for path, change in changes(result).items() if change == "changed"} == {"app.py", ".lineup-push.json"}
    fork.push()
    assert fork.files["app.py"] == b"another app"
    assert fork.hub.spaces.commits[1] == "file:.lineup-push.json file:app.py"


def test_push_deletes_obsolete_files_and_keeps_manual_ones(fork):
    fork.write(**{"photos/owl.png": "an owl", "lineup/old.py": "old"})
    fork.push()
    fork.hub.spaces.edit("me/birds", **{"by_hand.txt": b"mine", "photos/crow.png": b"mine too"})
    (fork.folder / "photos/owl.png").unlink()
    (fork.folder / "lineup/old.py").unlink()
    assert changes(fork.push("--dry-run", "--json"))["photos/owl.png"] == "deleted"
    assert fork.push().status == 0
    assert sorted(fork.files) == sorted([*PUSHED, "by_hand.txt", "photos/crow.png"])
    assert fork.hub.spaces.commits[1].split()[1:] == ["deletedFile:lineup/old.py", "deletedFile:photos/owl.png"]


def test_push_keeps_edited_obsolete_files_and_reports_overwrites(fork):
    fork.write(**{"photos/owl.png": "an owl"})
    fork.push()
    fork.hub.spaces.edit("me/birds", **{"photos/owl.png": b"another owl", "config.yaml": b"title: edited\n"})
    (fork.folder / "photos/owl.png").unlink()
    result = fork.push()
    assert result.status == 0
    assert "note: config.yaml was edited on the Space since the last push: this push overwrites it" in result.out
    assert (
        "note: photos/owl.png was edited on the Space since the last push: it is obsolete, but not deleted"
        in result.out
    )
    assert (fork.files["photos/owl.png"], fork.files["config.yaml"]) == (b"another owl", CONFIG.encode())


def test_invalid_manifest_deletes_nothing(fork):
    fork.write(**{"photos/owl.png": "an owl"})
    fork.push()
    (fork.folder / "photos/owl.png").unlink()
    for manifest in (b"{", b"[1]", b'{"app.py": 3}', b"null"):
        fork.hub.spaces.edit("me/birds", **{".lineup-push.json": manifest})
        assert "deleted" not in changes(fork.push("--dry-run", "--json")).values()
    assert fork.push().status == 0
    assert "photos/owl.png" in fork.files


def test_dry_run_prints_the_plan_and_changes_nothing(fork):
    before = sorted(fork.folder.rglob("*"))
    result = fork.push("--dry-run")
    assert (result.status, result.err) == (0, "")
    assert sorted(fork.folder.rglob("*")) == before
    assert {method for method, _ in fork.hub.requests} <= {"GET", "HEAD"}
    assert "me/birds" not in fork.hub.spaces.all
    head, *rows = result.out.splitlines()
    assert head == f"{fork.hub.url}/spaces/me/birds: new"
    assert [row.split()[1] for row in rows[: len(PUSHED)]] == PUSHED
    assert rows[len(PUSHED) :] == ["10 files, 0.0 MB: 10 new", "hardware: zero-a10g"]


def test_dry_run_json_has_names_of_secrets_but_no_values(fork, monkeypatch):
    monkeypatch.setenv("MY_SECRET", "xyzzy")
    result = fork.push("--dry-run", "--json", "--secret", "MY_SECRET", "--variable", "A=b=c", "--hardware", "t4-small")
    plan = json.loads(result.out)
    assert "xyzzy" not in result.out
    assert (plan["state"], plan["hardware"], plan["private"]) == ("new", "t4-small", False)
    assert (plan["secrets"], plan["variables"]) == (["MY_SECRET"], {"A": "b=c"})
    assert {"path": "app.py", "bytes": 3, "change": "new"} in plan["files"]


def test_dry_run_works_while_the_hub_is_unreachable(fork):
    with fork.hub.unreachable():
        result = fork.push("--dry-run", "--json")
    assert result.status == 0
    assert json.loads(result.out)["state"] == "unknown: the Hub cannot be reached"
    assert json.loads(result.out)["hardware"] == "zero-a10g"
    assert changes(result) == dict.fromkeys(PUSHED, "push")


def test_push_json_prints_one_value_and_progress_to_stderr(fork):
    result = fork.push("--json")
    plan = json.loads(result.out)
    assert (plan["stage"], plan["state"], plan["url"]) == ("RUNNING", "new", f"{fork.hub.url}/spaces/me/birds")
    assert f"committed {plan['commit'][:8]}: " in result.err


def test_interrupt_while_waiting_has_no_traceback(fork, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(space.time, "sleep", interrupt)
    result = fork.push()
    assert (result.status, result.err) == (130, "")
    assert result.out.splitlines()[-2:] == ["waiting for the build; Ctrl-C stops waiting, not the build", "building …"]


def test_settings_are_set_before_the_build_and_updated_on_change(fork, monkeypatch):
    monkeypatch.setenv("MY_SECRET", "xyzzy")
    options = ("--private", "--secret", "MY_SECRET", "--variable", "A=1")
    result = fork.push("--hardware", "t4-small", *options)
    made = fork.hub.spaces.all["me/birds"]
    assert "xyzzy" not in result.out
    assert (made.hardware, made.private, made.secrets, made.variables) == (
        "t4-small", True, {"MY_SECRET": "xyzzy"}, {"A": "1"}
    )  # fmt: skip
    posts = [path.rpartition("birds/")[2] for method, path in fork.hub.requests if method == "POST"]
    assert posts.index("secrets") < posts.index("commit/main")
    fork.hub.requests.clear()
    assert fork.push(*options).status == 0
    assert [path for method, path in fork.hub.requests if method == "POST"] == ["/api/spaces/me/birds/secrets"]
    assert fork.push("--hardware", "cpu-upgrade", "--variable", "A=2").status == 0
    assert (made.hardware, made.variables) == ("cpu-upgrade", {"A": "2"})


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--secret", "NOT_SET"], "--secret: expected an environment variable, which keeps the value off the"),
        (["--variable", "A"], "--variable: expected NAME=VALUE; got 'A'; fix the argument"),
        (
            ["--hardware", "t4-smal"],
            "--hardware: expected hardware of the Hub; got 't4-smal'; did you mean 't4-small'?",
        ),
    ],
)
def test_invalid_option_is_rejected_before_any_request(fork, arguments, error):
    result = fork.push(*arguments)
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith(f"error: {error}")
    assert fork.hub.requests == []


@pytest.mark.parametrize("name", ["birds", "me/birds/more", "me/", "", "me/b irds"])
def test_invalid_space_name_is_rejected(fork, name):
    result = fork.push(to=name)
    assert result.err == f"error: SPACE: expected owner/name, such as me/my-lineup; got {name!r}; fix the argument\n"


def test_config_with_a_problem_is_not_pushed(fork):
    fork.write(**{"config.yaml": CONFIG.replace("names.txt", "gone.txt")})
    result = fork.push()
    assert result.err.startswith("error: config.yaml:3:35: backbones[0].labels: expected a file; ")
    fork.write(**{"config.yaml": "backbones: ['fake:a', resnet5O]\nexamples: gone\n"})
    result = fork.push()
    assert (result.status, [line.split(": ")[1] for line in result.err.splitlines()]) == (
        2, ["config.yaml:1:23", "config.yaml:2:1"]
    )  # fmt: skip
    assert fork.hub.spaces.all == {}


@pytest.mark.parametrize(
    ("fault", "arguments", "error"),
    [
        (
            ("create", "401"),
            [],
            "to create the Space on zero-a10g; the token is not accepted (401); create one with write",
        ),
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
            "the token has no permission for this (403); use one with write access to me, or push to a name of yo",
        ),
        (
            ("create", "409"),
            [],
            "the name is taken (409); choose another one, or use a token with access to the existing one",
        ),
        (
            ("info", "403"),
            [],
            "to read the Space; the token has no permission for this (403); use one with write access to me",
        ),
        (
            ("variables", "500"),
            ["--variable", "A=1"],
            "the Hub failed (500); push again later: completed steps are kept",
        ),
        (("commit", "409"), [], "to commit 10 files; the repository was changed in the meantime (409); push again"),
        (("commit", "412"), [], "the repository was changed in the meantime (412); push again"),
        (("commit", "429"), [], "too many requests (429); push again in a few minutes"),
        (
            ("commit", "cut off"),
            [],
            "to commit 10 files; the connection was interrupted; push again: completed steps are kept",
        ),
        (
            ("commit", "lost"),
            [],
            "to commit 10 files; the connection was interrupted; push again: completed steps are kept",
        ),
        (("create", "lost"), [], "the connection was interrupted; push again: completed steps are kept"),
        (
            ("secrets", "cut off"),
            ["--secret", "HF_TOKEN"],
            "the connection was interrupted; push again: completed steps are",
        ),
        (("runtime", "503"), [], "to see the Space's build; the Hub failed (503); push again later"),
    ],
)
def test_failed_step_is_one_error_line_and_a_retry_completes_the_push(fork, fault, arguments, error):
    step, what = fault
    fork.hub.spaces.faults[step] = what
    result = fork.push(*arguments)
    assert result.status == 2
    assert result.err.startswith("error: me/birds: expected to ")
    assert error in result.err
    assert result.err.count("\n") == 1
    assert "Traceback" not in result.err
    fork.hub.spaces.faults.clear()
    again = fork.push(*arguments)
    assert (again.status, again.err) == (0, "")
    assert sorted(fork.files) == PUSHED
    assert len(fork.hub.spaces.commits) == 1
    assert again.out.splitlines()[-1].startswith("running: ")


@pytest.fixture
def weights(fork, monkeypatch) -> bytes:
    """Put 12 MB of weights into the fork, and let the Hub client retry without backoff."""
    monkeypatch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=lambda _: None))
    body = os.urandom(12_000_000)
    (fork.folder / "lineup/large.safetensors").write_bytes(body)
    return body


def uploads(hub) -> list[str]:
    """Return the SHA-256 of every upload, in order."""
    return [path[len("/lfs/") :].partition("?")[0] for method, path in hub.requests if method == "PUT"]


def test_large_files_are_uploaded_through_lfs_once(fork, weights):
    oid = hashlib.sha256(weights).hexdigest()
    result = fork.push()
    assert (result.status, result.err) == (0, "")
    assert uploads(fork.hub) == [oid]
    assert fork.files["lineup/large.safetensors"] == weights
    assert "lfsFile:lineup/large.safetensors" in fork.hub.spaces.commits[0].split()
    siblings = HfApi().space_info("me/birds", files_metadata=True).siblings
    large = {file.rfilename: (file.lfs.sha256, file.lfs.size) for file in siblings if file.lfs}
    assert large["lineup/large.safetensors"] == (oid, len(weights))
    assert large.keys() == {"lineup/large.safetensors", "photos/jay.png"}  # by the .gitattributes that was pushed
    fork.hub.requests.clear()
    assert "nothing changed: no commit" in fork.push().out
    assert uploads(fork.hub) == []


def test_moved_large_file_is_not_uploaded_again(fork, weights):
    fork.push()
    fork.hub.requests.clear()
    (fork.folder / "lineup/large.safetensors").rename(fork.folder / "lineup/moved.safetensors")
    assert fork.push().status == 0
    assert fork.files["lineup/moved.safetensors"] == weights
    assert "lineup/large.safetensors" not in fork.files
    assert uploads(fork.hub) == []


def test_image_is_uploaded_with_lfs_on_every_push(fork):
    (fork.folder / "photos/jay.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    fork.push()
    (fork.folder / "photos/jay.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR another")
    assert fork.push().status == 0
    assert all("lfsFile:photos/jay.png" in commit.split() for commit in fork.hub.spaces.commits)
    assert fork.files["photos/jay.png"].endswith(b"another")


@pytest.mark.parametrize(
    ("step", "fault", "error"),
    [
        ("upload", "cut off", "the connection was interrupted; push again: completed steps are kept"),
        ("upload", "lost", "the connection was interrupted; push again: completed steps are kept"),
        ("upload", "403", "127.0.0.1 refused the upload (403); push again, or check for a proxy in between"),
        ("upload", "500", "the Hub failed (500); push again later: completed steps are kept"),
        (
            "batch",
            "403",
            "the token has no permission for this (403); use one with write access to me, or push to a name of your",
        ),
        ("batch", "full", "`Storage limit reached; fix that, and push again"),
        ("verify", "404", "the Hub refused (404); push again later"),
    ],
)
def test_failed_upload_is_one_error_line_and_a_retry_completes_it(fork, weights, step, fault, error):
    fork.hub.spaces.faults[step] = fault
    result = fork.push()
    assert result.status == 2
    assert result.err.startswith("error: me/birds: expected to commit 11 files; ")
    assert error in result.err
    assert result.err.count("\n") == 1
    assert fork.hub.spaces.commits == []
    arrived = bool(fork.hub.spaces.large.objects)
    fork.hub.spaces.faults.clear()
    fork.hub.requests.clear()
    again = fork.push()
    assert (again.status, again.err) == (0, "")
    assert fork.files["lineup/large.safetensors"] == weights
    assert (arrived, len(uploads(fork.hub))) in {(True, 0), (False, 1)}


def test_upload_with_a_wrong_hash_is_rejected(fork, weights, monkeypatch):
    real = fork.hub.spaces.large.upload
    monkeypatch.setattr(fork.hub.spaces.large, "upload", lambda oid, body: real(oid, body[:-1]))
    result = fork.push()
    assert "The SHA-256 you specified did not match what we received" in result.err
    assert (result.err.count("\n"), fork.hub.spaces.commits) == (1, [])


def test_concurrent_edit_is_not_overwritten(fork):
    fork.push()
    fork.write(**{"app.py": "another app"})
    real = fork.hub.spaces._post_preupload

    def meanwhile(name, body):
        fork.hub.spaces.edit(name, **{"app.py": b"edited meanwhile"})
        return real(name, body)

    fork.hub.spaces._post_preupload = meanwhile
    try:
        result = fork.push()
    finally:
        del fork.hub.spaces._post_preupload
    assert "the repository was changed in the meantime (412); push again" in result.err
    assert fork.files["app.py"] == b"edited meanwhile"
    assert "note: app.py was edited on the Space since the last push: this push overwrites it" in fork.push().out


def test_missing_token_error_names_the_settings_page(fork, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    result = fork.push()
    assert result.err == (
        "error: me/birds: expected to create the Space on zero-a10g; there is no token (401); "
        "create one with write access at https://huggingface.co/settings/tokens, and set HF_TOKEN to it\n"
    )


def test_unreachable_hub_is_reported(fork):
    with fork.hub.unreachable():
        result = fork.push()
    assert result.err == (
        "error: me/birds: expected to read the Space; the Hub cannot be reached; "
        "check this machine's network, and push again\n"
    )


def test_push_rejects_another_app_and_a_public_space(fork):
    fork.push()
    assert "it is public; make it private at " in fork.push("--private").err
    fork.hub.spaces.put("me/birds", {"README.md": b"", "app.py": b"another app"})
    result = fork.push()
    assert result.err.startswith(
        "error: me/birds: expected an unused name, or a Space with Lineup; it has another app; cho"
    )
    assert fork.files["app.py"] == b"another app"


def test_invalid_card_is_reported_with_the_message_of_the_hub(fork):
    fork.write(**{"config.yaml": CONFIG + "space: {emoji: x}\n"})
    result = fork.push()
    assert '"emoji" is not valid; fix that, and push again' in result.err
    assert result.err.count("\n") == 1


def test_failed_build_is_reported_with_its_error_lines(fork):
    fork.hub.spaces.stages = ["BUILDING", "BUILD_ERROR"]
    fork.hub.spaces.log = ["--> FROM python:3.12", "ERROR: No matching distribution found for timm>=9", "bye"]
    result = fork.push()
    assert result.status == 2
    first, *lines = result.err.splitlines()
    assert first.startswith("error: me/birds: expected a running Space; it is BUILD_ERROR; fix the error in the log")
    assert first.endswith(f"{fork.hub.url}/spaces/me/birds?logs=build")
    assert lines == ["  ERROR: No matching distribution found for timm>=9"]
    fork.hub.spaces.faults["logs"] = "404"
    assert "it is BUILD_ERROR" in fork.push().err


def test_wait_ignores_the_stage_of_the_previous_commit(fork):
    fork.push()
    fork.write(**{"app.py": "another app"})
    real, seen = fork.hub.spaces._get_runtime, []

    def late(name, body):  # it says RUNNING of the commit before, until it begins to build
        seen.append(name)
        return real(name, body) if len(seen) > 3 else {"stage": "RUNNING", "sha": "0" * 40}

    fork.hub.spaces._get_runtime = late
    try:
        result = fork.push()
    finally:
        del fork.hub.spaces._get_runtime
    assert [line for line in result.out.splitlines() if line.endswith("…")][-2:] == ["building …", "app starting …"]


def test_build_timeout_is_reported(fork, monkeypatch):
    monkeypatch.setattr(space, "BUILD_TIMEOUT_S", 0.05)
    fork.hub.spaces.stages = ["BUILDING"]
    assert "it is BUILDING; see " in fork.push().err


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
def test_file_outside_the_config_folder_is_rejected(fork, config, where, capsys):
    shutil.copytree(fork.folder / "photos", fork.folder.parent / "photos")
    (fork.folder.parent / "names.txt").write_text("cat\ndog\nowl\n")
    (fork.folder / "linked.txt").symlink_to(fork.folder.parent / "names.txt")
    shutil.copy(fork.folder / "photos/jay.png", fork.folder)
    fork.write(**{"config.yaml": config.replace("HERE", str(fork.folder))})
    result = fork.push("--dry-run")
    assert result.status == 2
    assert result.err.startswith(
        f"error: {where}: expected a path inside the config's folder, which is what a Space gets"
    )
    for options in (
        [],
        ["--json"],
    ):  # the page serves it, so that it is no problem to `check`, but a note in these words
        assert run_command(["check", *options, "--config", str(fork.folder / "config.yaml")]) == 0
        assert result.err.removeprefix("error: ").strip() in capsys.readouterr().out


def test_example_that_links_out_of_the_folder_is_a_note(fork, capsys):
    shutil.copytree(fork.folder / "photos", fork.folder.parent / "photos")
    (fork.folder / "photos/owl.png").symlink_to(fork.folder.parent / "photos/jay.png")
    assert run_command(["check", "--config", str(fork.folder / "config.yaml")]) == 0
    note = "note: config.yaml:4:1: examples: expected a path inside the config's folder, which is what a Space gets; "
    assert note + "got 'photos'; copy it there" in capsys.readouterr().out


def test_file_that_would_replace_code_is_rejected(fork):
    elsewhere = fork.folder / "mine"
    fork.write(**{"mine/birds.yaml": "backbones: [{backbone: 'fake:a', labels: requirements.txt}]"})
    fork.write(**{"mine/requirements.txt": "cat\ndog\nowl\n"})
    result = fork.push("--dry-run", "--config", str(elsewhere / "birds.yaml"))
    assert "expected a path that the app does not use; got 'requirements.txt'; rename it" in result.err


def test_config_with_another_name_becomes_config_yaml(fork):
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


def test_push_of_this_repository_has_exactly_the_needed_files(fork, env, monkeypatch, tmp_path):
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
    assert tops - {"LICENSE", "config.schema.json", *files.LINKED} == {
        *(".gitattributes", ".lineup-push.json", "README.md", "app.py", "bundled", "config.yaml"),
        *("examples", "lineup", "requirements.txt"),
    }
    assert {path for path in fork.files if path.startswith("bundled/")} == {
        f"bundled/efficientnet_lite0/{name}" for name in ("LICENSE", "README.md", "config.json", "model.safetensors")
    }
    assert not [path for path in fork.files if path.endswith((".pyc", ".env"))]
    result = clean_check(unpacked, env)
    assert (result.returncode, result.stderr) == (0, "")
    assert "note:" not in result.stdout  # not even a stale card


def test_shipped_config_has_a_plan_while_the_hub_is_unreachable(env, hub):
    command = [sys.executable, "-m", "lineup", "push", "me/x", "--dry-run", "--json"]
    with hub.unreachable():
        result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stderr) == (0, "")
    plan = json.loads(result.stdout)
    paths = {file["path"] for file in plan["files"]}
    assert plan["state"] == "unknown: the Hub cannot be reached"
    tracked = {path.relative_to(ROOT).as_posix() for path in (ROOT / "lineup").rglob("*.py")}
    assert tracked | {"app.py", "config.yaml", "README.md", "requirements.txt", ".gitattributes"} <= paths
    assert {
        "bundled/efficientnet_lite2/model.safetensors",
        "examples/koala.jpg",
        "examples/CREDITS.md",
        "lineup/registry/published.csv",
        "lineup/registry/hypernyms.tsv.gz",
        "lineup/registry/hypernyms.LICENSE",
        "lineup/page/folder_zone.js",
        "lineup/features/evaluation/gallery.js",
        "requirements-datasets.txt",
    } <= paths
    assert all(
        file["bytes"] == (ROOT / file["path"]).stat().st_size for file in plan["files"] if file["path"] == "app.py"
    )
    assert not [path for path in paths if path.split("/")[0] in ("tests", "benchmarks", ".git", ".venv")]


def test_make_push_runs_the_command():
    result = subprocess.run(
        ["make", "-n", "push", "SPACE=me/x", "ARGS=--dry-run"], cwd=ROOT, capture_output=True, text=True
    )
    assert ".venv/bin/python -m lineup push me/x --dry-run" in result.stdout.splitlines()
