"""The Dockerfile and the unit of systemd: what they name exists, and what they run works."""

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import dockerfile
import pytest
from gradio_client import Client, handle_file
from programs import program
from serving import ROOT, free_port, without_hub

from lineup import config
from lineup.features.publish import files
from lineup.server import privacy

UNIT = ROOT / "deploy" / "lineup.service"
HEN = ROOT / "examples" / "hen.jpg"


def test_dockerfile_copies_all_that_the_page_needs():
    copied = [source.rstrip("/") for source in dockerfile.copied()]
    assert [name for name in copied if not (ROOT / name).exists() or dockerfile.is_ignored(name)] == []
    needed = set(files.collect(config.load(ROOT / "config.yaml"), ROOT / "config.yaml", ""))
    optional = {".gitattributes", "README.md", files.MANIFEST}
    linked = {name for name in needed if name.split("/")[0] in files.LINKED}
    missing = {name for name in needed - optional - linked if not {name, name.split("/")[0]} & set(copied)}
    assert missing == set()
    assert privacy.DOCUMENT.name in copied


def test_build_context_excludes_what_the_image_does_not_need():
    assert all(dockerfile.is_ignored(name) for name in (".git", ".venv", "tests", "artefacts", ".env", "benchmarks"))


def test_packages_are_installed_before_the_code_is_copied():
    names = [name for name, rest in dockerfile.read() if name == "RUN" or (name == "COPY" and "lineup" in rest.split())]
    assert names[0] == "RUN"
    (install,) = [line for line in dockerfile.all_of("RUN") if "pip install" in line]
    assert "-c constraints.txt -r requirements.txt" in install
    assert not any("://" in line for line in dockerfile.all_of("RUN"))


def test_container_is_not_root_and_gets_its_signals():
    (user,), (command,), (port,) = map(dockerfile.all_of, ("USER", "CMD", "EXPOSE"))
    assert int(user.split(":")[0]) > 1000
    assert json.loads(command) == ["python", "app.py", "--port", port]  # no shell, which would swallow SIGTERM
    (health,) = dockerfile.all_of("HEALTHCHECK")
    assert f"http://127.0.0.1:{port}/healthz" in json.loads(health.partition("CMD ")[2])[-1]


def test_all_caches_are_in_the_volume():
    (volume,), env = dockerfile.all_of("VOLUME"), dockerfile.environment()
    for name in ("HOME", "HF_HOME", "LINEUP_CACHE", "TORCH_HOME", "GRADIO_TEMP_DIR"):
        assert (env[name] + "/").startswith(f"{volume}/")
    assert env["GRADIO_SERVER_NAME"] == "0.0.0.0"


def unit() -> list[tuple[str, str]]:
    """Return the settings of the unit, in their order."""
    lines = UNIT.read_text(encoding="utf-8").splitlines()
    return [(key, value) for key, _, value in (line.partition("=") for line in lines if line[:1] not in ("", "#", "["))]


def service_environment(home: Path) -> dict[str, str]:
    """Return the variables that the unit sets, with the folders of systemd below another one."""
    pairs = [pair for key, value in unit() if key == "Environment" for pair in value.split()]
    return dict(pair.replace("%C", f"{home}/cache").replace("%S", f"{home}/lib").split("=", 1) for pair in pairs)


def test_unit_names_files_that_exist_and_arguments_that_are_known():
    settings = dict(unit())
    python, script, *arguments = shlex.split(settings["ExecStart"])
    assert (python, settings["WorkingDirectory"]) == ("/opt/lineup/.venv/bin/python", "/opt/lineup")
    assert (ROOT / script).is_file()
    done = subprocess.run(
        [sys.executable, script, *arguments, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "make .venv/run.done" in UNIT.read_text(encoding="utf-8")
    assert ".venv/run.done:" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_unit_writes_only_to_its_own_folders(tmp_path):
    settings, env = dict(unit()), service_environment(tmp_path)
    own = (f"{tmp_path}/cache/{settings['CacheDirectory']}/", f"{tmp_path}/lib/{settings['StateDirectory']}/")
    for name in ("HF_HOME", "LINEUP_CACHE", "TORCH_HOME", "GRADIO_TEMP_DIR"):
        assert env[name].startswith(own)
    assert (settings["DynamicUser"], settings["ProtectSystem"], settings["Restart"]) == ("yes", "strict", "on-failure")


def test_systemd_accepts_the_unit(tmp_path):
    analyze = program("systemd-analyze")
    text = UNIT.read_text(encoding="utf-8")
    for old, new in {"/opt/lineup/.venv/bin/python": sys.executable, "/opt/lineup": str(ROOT)}.items():
        text = text.replace(old, new)
    (tmp_path / "lineup.service").write_text(text)
    done = subprocess.run([analyze, "verify", str(tmp_path / "lineup.service")], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def wait_for_health(command: list[str], process: subprocess.Popen, log: Path, **options) -> None:
    deadline = time.monotonic() + 180
    while subprocess.run(command, capture_output=True, **options).returncode:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.5)


def stop(process: subprocess.Popen) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(20)


@pytest.mark.long
def test_image_is_built_and_answers_as_its_user():
    """Each RUN line is executed, in a folder that stands for the image; then CMD, and the command of HEALTHCHECK."""
    if os.geteuid():
        pytest.skip("a build needs root: the image has another owner for its volume")
    with tempfile.TemporaryDirectory(prefix="lineup-image-") as folder:
        home, port = Path(folder), free_port()
        home.chmod(0o755)
        image = dockerfile.Image(home, port)
        image.build()
        user: dict = {"user": image.user, "group": image.user, "extra_groups": [], "cwd": image.workdir, "umask": 0o22}
        try:
            subprocess.run(["python", "-c", ""], env=image.env, check=True, **user)
        except PermissionError:  # this machine's interpreter is in a folder that is closed to other users
            user, image.user = {"cwd": image.workdir}, os.geteuid()
        offline = without_hub(home)
        env = {**image.env, **{name: offline[name] for name in ("HF_ENDPOINT", "HTTPS_PROXY")}, "NO_PROXY": "127.0.0.1"}
        log = home / "log.txt"
        assert subprocess.run(image.health, env=env, **user).returncode == 1
        with log.open("w") as output:
            process = subprocess.Popen(image.command, env=env, stdout=output, stderr=output, **user)
        try:
            wait_for_health(image.health, process, log, env=env, **user)
            client = Client(f"http://127.0.0.1:{port}/", verbose=False)
            answer = client.predict(handle_file(HEN), backbone="efficientnet_lite0", api_name="/classify")
            assert answer["predictions"][0]["label"] == "hen"
            assert {path.stat().st_uid for path in (home / "cache").rglob("*")} == {image.user}  # files were written
            assert stop(process) == 0
        finally:
            process.kill()


@pytest.mark.long
def test_unit_starts_in_a_fresh_folder_and_stops_on_sigterm(tmp_path):
    settings, port = dict(unit()), free_port()
    (tmp_path / "config.yaml").write_text(f"backbones: ['local-dir:{ROOT}/bundled/efficientnet_lite0']")
    (tmp_path / "lineup.env").write_text(f"LINEUP_CONFIG={tmp_path}/config.yaml\nGRADIO_ROOT_PATH=/lineup\n")
    _, *arguments = shlex.split(settings["ExecStart"].replace("7860", str(port)))
    env = {**without_hub(tmp_path), **service_environment(tmp_path)}
    env |= dict(line.split("=", 1) for line in (tmp_path / "lineup.env").read_text().splitlines())
    log, health = tmp_path / "log.txt", f"http://127.0.0.1:{port}/lineup/healthz"
    with log.open("w") as output:
        process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=env, stdout=output, stderr=output)
    try:
        wait_for_health([sys.executable, "-c", f"import urllib.request as u; u.urlopen({health!r})"], process, log)
        assert stop(process) == 0
    finally:
        process.kill()
