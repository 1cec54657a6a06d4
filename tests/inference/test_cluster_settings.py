"""What travels to replicas, how they are deployed, and how a process connects to a cluster: without a cluster."""

import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml
from programs import module

from lineup import errors
from lineup.errors import BackboneError, ConfigError, LineupError
from lineup.inference.cluster import connection, deployment, messages, settings
from lineup.inference.cluster.connection import LocalCluster
from lineup.inference.cluster.messages import Ask, Reply, Request, State

ROOT = Path(__file__).parents[2]
TEXT = """
backbones: [resnet18, {name: own, backbone: resnet18, checkpoint: own.pth}]
limits: {forward_timeout_s: 7, queue_size: 9}
examples: nowhere
feedback: {to: feedback}
cluster: {replicas: {min: 2, max: 5}, backbones_per_replica: 3, cpus: 2, gpus: 0.5}
"""


def kinds(kind=LineupError):
    return [kind, *(each for child in kind.__subclasses__() for each in kinds(child))]


@pytest.mark.parametrize("kind", kinds())
def test_error_of_any_kind_comes_through_with_its_parts(kind):
    error = kind.__new__(kind, "a", "b", "c", "d")
    LineupError.__init__(error, "a", "b", "c", "d")
    error.problems = ("x", "y")  # what a kind adds
    [found] = [messages.unpacked(messages.packed(Reply(1, "answered", error))[messages.HEADER_BYTES :]).value]
    assert (type(found), str(found), found.__dict__) == (kind, str(error), error.__dict__)
    assert isinstance(errors.ConfigError("x"), LineupError)


def test_message_has_its_length_before_it():
    for message in (Request(3, "output", Ask("a", "classes", "0", 1.0), b"image", 2.0), State(("a", "b", "c", "d"), 2)):
        content = messages.packed(message)
        header, rest = content[: messages.HEADER_BYTES], content[messages.HEADER_BYTES :]
        assert messages.length(header) == len(rest)
        assert messages.unpacked(rest) == message


def test_replica_has_backbones_and_limits_of_the_config_and_nothing_of_the_page(tmp_path):
    (tmp_path / "config.yaml").write_text(TEXT)
    read = settings.Settings.read(tmp_path / "config.yaml")
    found = pickle.loads(pickle.dumps(read)).of_replica()
    assert [entry.name for entry in found.backbones] == ["resnet18", "own"]
    assert (found.limits.forward_timeout_s, found.folder) == (7, tmp_path)
    assert (found.cluster, found.examples, found.feedback.to) == (None, [], "")
    with pytest.raises(ConfigError, match="expected a config file"):
        settings.Settings.read(tmp_path / "none.yaml")


def test_digest_is_that_of_what_is_computed(tmp_path):
    def digest(text):
        config = settings.Settings(text, str(tmp_path)).read_config()
        return settings.digest(config, config.backbones[0])

    assert digest(TEXT) == digest(TEXT.replace("forward_timeout_s: 7", "forward_timeout_s: 8"))
    for other in ("precision: float32", "engine: torch", "device: cpu"):
        assert digest(TEXT) != digest(f"{other}\n{TEXT}")
    assert digest(TEXT) != digest(TEXT.replace("[resnet18,", "[resnet34,"))
    settings.check_same("a", "1", "1")
    with pytest.raises(
        BackboneError, match="a: expected the same entry in the cluster's config; its config has another"
    ):
        settings.check_same("a", "1", "2")


def test_missing_file_is_missed_on_the_node_that_lacks_it(tmp_path):
    config = settings.Settings(TEXT, str(tmp_path)).read_config()
    settings.check_files(config, config.backbones[0], "node-7")
    with pytest.raises(BackboneError, match=r"own\.pth on every node of the cluster; node-7 does not have it; put it"):
        settings.check_files(config, config.backbones[1], "node-7")
    (tmp_path / "own.pth").touch()
    settings.check_files(config, config.backbones[1], "node-7")


def test_options_of_the_deployment_are_those_of_the_config(tmp_path):
    options = deployment.options(settings.Settings(TEXT, str(tmp_path)).read_config(), {"HF_HOME": "/hf"})
    assert options["autoscaling_config"]["min_replicas"] == 2
    assert options["autoscaling_config"]["max_replicas"] == 5
    assert options["max_queued_requests"] == 9
    assert options["graceful_shutdown_timeout_s"] > 2 * 7  # a request may take that long
    assert options["ray_actor_options"] == {
        "num_cpus": 2,
        "num_gpus": 0.5,
        "runtime_env": {"env_vars": {"HF_HOME": "/hf"}},
    }


def test_config_for_kuberay_in_the_documents_is_valid_and_up_to_date(tmp_path):
    text = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    resource = yaml.safe_load(re.search(r"```yaml\n(apiVersion: ray\.io.*?)```", text, re.DOTALL)[1])
    written = yaml.safe_load(resource["spec"]["serveConfigV2"])
    config = settings.Settings("backbones: [resnet18]\ncluster: {replicas: {max: 8}}\n", str(tmp_path)).read_config()
    assert written == deployment.serve_config(config, "/app/config.yaml")
    module("ray", "requirements-cluster.txt")
    from ray.serve.schema import ServeDeploySchema

    schema = ServeDeploySchema.model_validate(written)
    assert schema.applications[0].import_path == deployment.BUILDER


def test_cluster_that_up_has_started_is_known_while_it_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("LINEUP_CACHE", str(tmp_path))
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert LocalCluster.started() is None
    assert not connection.finds_local()
    local = LocalCluster("127.0.0.1:1", os.getpid(), psutil.Process().create_time())
    local.remember()
    assert LocalCluster.started() == local
    assert connection.finds_local()
    address, environment = connection.resolve("auto")
    assert address == "127.0.0.1:1"
    assert connection.ONLY_THIS_MACHINE.items() <= environment.items()
    LocalCluster("127.0.0.1:1", os.getpid(), 1.0).remember()  # another process has its number
    assert LocalCluster.started() is None
    assert connection.resolve("ray://head:10001")[0] == "ray://head:10001"


def test_ray_that_is_not_installed_is_named(make_service, monkeypatch, image):
    monkeypatch.setattr(connection.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        LineupError, match=r"expected Ray; it is not installed; pip install -r requirements-cluster\.txt"
    ):
        connection.require_ray("cluster")
    service = make_service("backbones: [{backbone: test_resnet, pretrained: false}]\ncluster: {}\n")
    with pytest.raises(LineupError, match=r"pip install -r requirements-cluster\.txt"):
        service.classify(image)


def test_nobody_imports_ray_who_does_not_use_it():
    code = "import sys; import lineup.inference.cluster.client, lineup.inference.cluster.control, "
    code += "lineup.inference.cluster.broker, lineup.inference.cluster.deployment, lineup.features.cluster.commands; "
    code += "import json; print(json.dumps('ray' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert json.loads(done.stdout) is False
