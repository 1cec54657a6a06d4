import gc
import math
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from serving import free_port
from waiting import until

from lineup.engines import devices, openvino_cache
from lineup.errors import BackboneError, BusyError, HubError, UnreachableError
from lineup.hub import downloads
from lineup.hub.files import HubFile, UrlFile
from lineup.inference import memory_budget, pool
from lineup.results import Progress

TWO = "backbones: ['fake:a', 'fake:b']"


@pytest.fixture
def make_pool(make_service, fakes):
    return lambda text=TWO: make_service(text)._pool


def failure(loading, name: str, kind=BackboneError) -> str:
    with pytest.raises(kind) as caught:
        loading.get(name)
    assert loading.status(name).status == "unavailable"
    assert loading.status(name).reason == str(caught.value) == str(loading.problem(name))
    return str(caught.value)


def test_concurrent_requests_share_one_load(make_pool, fakes):
    loading, held = make_pool(), fakes.hold("build a")
    with ThreadPoolExecutor(32) as threads:
        answers = [threads.submit(lambda: loading.start("fake:a").result(10)) for _ in range(32)]
        until(lambda: fakes.built)
        held.set()
        assert len({id(answer.result()) for answer in answers}) == 1
    assert fakes.built == ["a"]
    assert loading.get("fake:a") is answers[0].result()


def test_slow_load_does_not_block_others(make_pool, fakes):
    loading, held = make_pool(), fakes.hold("build a")
    slow = loading.start("fake:a")
    assert loading.get("fake:b").plan.name == "fake:b"
    assert not slow.done()
    held.set()
    assert slow.result().plan.name == "fake:a"


def test_status_is_idle_then_loading_then_ready(make_pool, fakes):
    loading, held = make_pool(), fakes.hold("build a")
    status = loading.status("fake:a")
    assert (status.status, status.progress, status.num_classes, status.source) == ("idle", None, None, "fake")
    loading.start("fake:a")
    until(lambda: fakes.built)
    status = loading.status("fake:a")
    assert (status.status, status.reason) == ("loading", "")
    assert status.progress == Progress("building the network")
    held.set()
    until(lambda: loading.status("fake:a").status == "ready")
    status = loading.status("fake:a")
    assert (status.progress, status.num_classes, status.parameters) == (None, 3, 0)
    assert loading.status("fake:b").status == "idle"


def test_status_has_the_progress_of_a_download_in_bytes(make_pool, fakes, hub, fresh_cache):
    hub.put("me/big", {"model.safetensors": bytes(24_000_000)})
    hub.faults["me/big"] = "stalled"
    fakes.weights["a"] = HubFile("me/big", ("model.safetensors",))
    loading = make_pool()
    loading.start("fake:a")
    until(lambda: loading.status("fake:a").progress.done_bytes)
    progress = loading.status("fake:a").progress
    assert (progress.stage, progress.total_bytes) == ("downloading", 24_000_000)
    assert 0 < progress.done_bytes <= 12_000_000
    hub.resume.set()
    loading.get("fake:a")
    assert loading.status("fake:a").download_bytes == 24_000_000


def test_failed_load_does_not_affect_others(make_pool, fakes):
    fakes.errors["a"] = RuntimeError("the file\nis odd")
    loading = make_pool()
    text = failure(loading, "fake:a")
    assert text.startswith("fake:a: expected a backbone that loads")
    assert "RuntimeError: the file is odd" in text
    assert loading.get("fake:b")
    assert loading.status("fake:b").status == "ready"


def test_hub_failure_is_retried_after_a_back_off(make_pool, fakes, monkeypatch):
    fakes.errors["a"] = HubError("", "", "the Hub failed")
    loading = make_pool()
    assert failure(loading, "fake:a", HubError) == "fake:a: the Hub failed"
    del fakes.errors["a"]
    failure(loading, "fake:a", HubError)
    assert fakes.built == ["a"]
    monkeypatch.setattr(pool, "RETRY_AFTER_S", 0)
    assert loading.get("fake:a")
    assert loading.status("fake:a").status == "ready"
    assert fakes.built == ["a", "a"]


def test_other_failures_are_not_retried(make_pool, fakes, monkeypatch):
    monkeypatch.setattr(pool, "RETRY_AFTER_S", 0)
    fakes.errors["a"] = BackboneError("", "", "no such thing")
    loading = make_pool()
    failure(loading, "fake:a")
    del fakes.errors["a"]
    failure(loading, "fake:a")
    assert fakes.built == ["a"]


def test_unknown_name_is_rejected_with_a_suggestion(make_pool):
    loading = make_pool("backbones: [{name: resnet, backbone: 'fake:a'}, 'fake:b']")
    for method in (loading.status, loading.start, loading.get, loading.probe):
        with pytest.raises(BackboneError, match="expected a name of the line-up; got 'resnt'; did you mean 'resnet'"):
            method("resnt")
    with pytest.raises(BackboneError, match="got 'x'; use one of: resnet, fake:b"):
        loading.get("x")


def test_probe_reports_size_and_classes_without_loading(make_pool, fakes, hub, fresh_cache):
    hub.put("me/pets", {"model.safetensors": b"1234"})
    fakes.weights["a"] = HubFile("me/pets", ("model.safetensors",))
    loading = make_pool("backbones: ['fake:a', 'resnet19', 'hf-hub:me/none']")
    for name in loading.names:
        loading.probe(name)
    available, misspelt, missing = (loading.status(name) for name in loading.names)
    assert (available.status, available.num_classes, available.download_bytes) == ("idle", 3, 4)
    assert (misspelt.status, misspelt.download_bytes) == ("unavailable", None)
    assert "did you mean 'resnet18'?" in misspelt.reason
    assert missing.reason.startswith("hf-hub:me/none: ")
    assert "no such public repository" in missing.reason
    assert fakes.built == []


def test_probe_checks_that_the_file_of_a_url_exists(make_pool, fakes, hub, tmp_path):
    hub.put("me/pets", {"a.pth": b"1234"})
    for target in "ab":
        url = f"{hub.url}/me/pets/resolve/main/{target}.pth"
        fakes.weights[target], fakes.more[target] = UrlFile(url, tmp_path / target), {"download_bytes": 5}
    loading = make_pool("backbones: ['fake:a', 'fake:b']")
    for name in loading.names * 2:
        loading.probe(name)
    assert [loading.status(name).status for name in loading.names] == ["idle", "unavailable"]
    assert loading.status("fake:a").download_bytes == 4  # the server's size overrides the plan's
    assert "there is no such file" in loading.status("fake:b").reason
    assert len(hub.requests_to("me/pets")) == 3  # an available file is requested once


def test_unreachable_server_does_not_block_requests_to_another(make_pool, fakes, hub, fresh_cache, tmp_path):
    hub.put("me/pets", {"model.safetensors": b"1234"})
    fakes.weights["a"] = UrlFile(f"http://127.0.0.1:{free_port()}/a.pth", tmp_path / "a")
    fakes.weights["b"] = HubFile("me/pets", ("model.safetensors",))
    loading = make_pool("backbones: ['fake:a', 'fake:b']")
    for name in loading.names:
        loading.probe(name)
    assert [loading.status(name).status for name in loading.names] == ["unavailable", "idle"]


def test_offline_probe_sends_no_requests(make_pool, fakes, hub, fresh_cache):
    fakes.weights["a"] = HubFile("me/pets", ("model.safetensors",))
    loading = make_pool("backbones: ['fake:a', 'hf-hub:me/pets']")
    for name in loading.names:
        loading.probe(name, offline=True)
    assert loading.status("fake:a").download_bytes is None
    assert loading.status("hf-hub:me/pets").status == "unavailable"
    assert isinstance(loading.problem("hf-hub:me/pets"), UnreachableError)
    assert hub.requests == []


def test_circuit_breaker_sends_one_request_for_all_entries(make_pool, fakes, hub, fresh_cache, monkeypatch):
    monkeypatch.setattr(downloads, "METADATA_TIMEOUT_S", 0.5)
    for target in "abc":
        hub.faults[f"me/{target}"] = "hung"
        fakes.weights[target] = HubFile(f"me/{target}", ("model.safetensors",))
    loading = make_pool("backbones: ['fake:a', 'fake:b', 'fake:c']")
    for name in loading.names:
        loading.probe(name)
    assert len(hub.requests) == 1
    for name in loading.names:
        assert isinstance(loading.problem(name), UnreachableError)
        assert loading.status(name).reason.startswith(f"{name}: ")
        assert loading.status(name).reason.endswith("try again later")


def test_status_to_json_has_the_documented_keys(make_pool, fakes):
    assert make_pool().status("fake:a").to_json() == {
        "name": "fake:a",
        "source": "fake",
        "status": "idle",
        "reason": "",
        "num_classes": None,
        "parameters": None,
        "download_bytes": None,
        "license": None,
        "facts": {},
        "facts_note": "",
        "engine": "",
        "engine_note": "",
    }


def test_probe_again_finds_a_repository_that_was_missing(hub, fresh_cache, make_service):
    from hub import timm_repo
    from networks import seeded_timm

    service = make_service("backbones: ['hf-hub:me/late']")
    assert service.probe()[0].status == "unavailable"
    hub.put("me/late", timm_repo(seeded_timm("test_resnet", num_classes=3)))
    assert service.probe()[0].status == "idle"


def test_circuit_breaker_waits_for_one_timeout_while_plans_are_made(hub, fresh_cache, make_service):
    names = [f"me/hung{number}" for number in range(4)]
    hub.faults |= dict.fromkeys(names, "hung")
    entries = ", ".join(f"'hf-hub:{name}'" for name in names)
    service = make_service(f"limits: {{hub_timeout_s: 1}}\nbackbones: [{entries}]")
    service.probe()
    assert len(hub.requests) == 1
    assert all(status.status == "unavailable" for status in service.backbones())


# --- memory and engines ---

MB = 1 << 20


def sizes(fakes, **megabytes):
    """Set the memory of fakes in MB: 12 bytes per parameter, and 64 MB for activations."""
    for target, memory_mb in megabytes.items():
        fakes.more[target] = {"parameters": math.ceil((memory_mb - 64) * MB / 12)}


THREE = "limits: {memory_mb: 1000}\nbackbones: ['fake:a', 'fake:b', 'fake:c']"


def ready(loading):
    return [name[-1] for name in loading.names if loading.status(name).status == "ready"]


def test_lru_backbone_is_evicted_before_the_next_is_loaded(make_pool, fakes):
    sizes(fakes, a=400, b=400, c=400)
    loading = make_pool(THREE)
    for name in ("fake:a", "fake:b", "fake:a"):
        loading.get(name)
    held = fakes.hold("build c")
    load = loading.start("fake:c")
    until(lambda: "c" in fakes.built)
    assert ready(loading) == ["a"]  # b has been evicted already
    held.set()
    load.result(10)
    assert ready(loading) == ["a", "c"]
    assert loading.status("fake:b").status == "idle"
    assert loading.get("fake:b").plan.name == "fake:b"
    assert ready(loading) == ["b", "c"]


def test_held_backbone_is_not_evicted_before_its_release(make_pool, fakes):
    sizes(fakes, a=600, b=600)
    loading = make_pool(THREE)
    loading.hold("fake:a").result(10)
    load = loading.start("fake:b")
    until(lambda: loading.status("fake:b").progress == Progress("waiting for memory"))
    time.sleep(0.1)
    assert (ready(loading), fakes.built) == (["a"], ["a"])
    loading.release("fake:a")
    load.result(10)
    assert ready(loading) == ["b"]


def test_wait_for_memory_times_out_and_can_be_retried(make_pool, fakes, monkeypatch):
    monkeypatch.setattr(memory_budget, "MEMORY_TIMEOUT_S", 0.2)
    monkeypatch.setattr(pool, "RETRY_AFTER_S", 0)
    sizes(fakes, a=600, b=600)
    loading = make_pool(THREE)
    loading.hold("fake:a").result(10)
    text = failure(loading, "fake:b", BusyError)
    others = "the other backbones are in use and need their memory"
    assert text == f"fake:b: expected 600 MB for it; {others}; try again in some seconds"
    loading.release("fake:a")
    assert loading.get("fake:b")


def test_backbone_larger_than_the_budget_is_rejected_without_eviction(make_pool, fakes):
    sizes(fakes, a=400, b=1001)
    loading = make_pool(THREE)
    loading.get("fake:a")
    text = failure(loading, "fake:b")
    assert text == (
        "fake:b: expected a backbone that fits into 1000 MB; it needs about 1001 MB; "
        "choose a smaller one, or raise limits.memory_mb"
    )
    assert ready(loading) == ["a"]
    assert fakes.built == ["a"]


def test_failed_load_releases_its_memory(make_pool, fakes):
    sizes(fakes, a=600, b=600)
    fakes.errors["a"] = BackboneError("", "", "no such thing")
    loading = make_pool(THREE)
    failure(loading, "fake:a")
    assert loading.get("fake:b")


def test_default_memory_budget_is_a_share_of_the_machines_memory(make_pool, fakes, monkeypatch):
    monkeypatch.setattr(devices, "memory_bytes", lambda device: 1000 * MB)
    sizes(fakes, a=601, b=599)
    loading = make_pool()
    assert "fits into 600 MB" in failure(loading, "fake:a")
    assert "limits.memory_mb" not in loading.status("fake:a").reason
    assert loading.get("fake:b")


def test_comparison_of_more_backbones_than_fit_into_memory(make_service, fakes, image):
    sizes(fakes, a=600, b=600, c=600)
    service = make_service(THREE)
    for _ in range(3):
        comparison = service.compare(image, ["fake:a", "fake:b", "fake:c"])
        assert [answer.predictions[0].label for answer in comparison.answers.values()] == ["cat", "cat", "cat"]


REAL = "backbones: [{name: a, backbone: test_resnet, pretrained: false, input_size: 96}]"


@pytest.mark.openvino
def test_switch_to_openvino_under_load_loses_or_changes_no_answer(make_service, image, monkeypatch):
    torch.manual_seed(0)
    service, held = make_service(f"top_k: 1000\n{REAL}"), threading.Event()
    convert = openvino_cache.convert

    def held_convert(*args):
        held.wait(30)
        return convert(*args)

    monkeypatch.setattr(openvino_cache, "convert", held_convert)
    first, stop = service.classify(image), threading.Event()
    assert first.engine == "torch"
    assert service.status("a").engine_note == "runs on torch while it is converted for openvino"

    def classify_until_stopped():
        answers = []
        while not stop.is_set():
            answers.append(service.classify(image))
        return answers

    with ThreadPoolExecutor(4) as threads:
        futures = [threads.submit(classify_until_stopped) for _ in range(4)]
        held.set()
        until(lambda: service.status("a").engine == "openvino")
        after = service.classify(image)
        stop.set()
        answers = [answer for future in futures for answer in future.result(30)]
    assert after.engine == "openvino"
    assert {answer.engine for answer in answers} == {"torch", "openvino"}
    expected = {prediction.class_index: prediction.probability for prediction in first.predictions}
    for answer in (*answers, after):
        actual = {prediction.class_index: prediction.probability for prediction in answer.predictions}
        assert actual == pytest.approx(expected, abs=1e-4)
    assert service.status("a").engine_note == ""


@pytest.mark.openvino
def test_torch_network_is_freed_once_openvino_answers(make_pool):
    loading = make_pool(REAL)
    network = weakref.ref(loading.get("a").engine.network)
    until(lambda: loading.status("a").engine == "openvino")
    until(lambda: gc.collect() is not None and network() is None)


@pytest.mark.openvino
def test_failed_conversion_stays_on_torch_with_a_note(make_pool, monkeypatch):
    def refuse(*args):
        raise BackboneError("", "", "OpenVINO cannot convert it (no such operation)")

    monkeypatch.setattr(openvino_cache, "convert", refuse)
    loading = make_pool(REAL)
    loading.get("a")
    until(lambda: loading.status("a").engine_note.startswith("stays"))
    status = loading.status("a")
    assert (status.status, status.engine, status.reason) == ("ready", "torch", "")
    assert status.engine_note == "stays on torch: OpenVINO cannot convert it (no such operation)"
    assert failure(make_pool(f"engine: openvino\n{REAL}"), "a").startswith("a: OpenVINO cannot convert it")


@pytest.mark.openvino
def test_configured_engine_answers_from_the_start(make_pool, monkeypatch):
    assert make_pool(f"engine: openvino\n{REAL}").get("a").engine.name == "openvino"
    loading = make_pool(f"engine: torch\n{REAL}")
    assert loading.get("a").engine.name == "torch"
    until(lambda: not any(thread.name == "load a" for thread in threading.enumerate()))
    assert (loading.status("a").engine, loading.status("a").engine_note) == ("torch", "")


def test_random_weights_are_the_same_after_eviction_and_reload(make_pool):
    entries = [f"{{name: {name}, backbone: test_resnet, pretrained: false}}" for name in "ab"]
    loading, batch = make_pool(f"limits: {{memory_mb: 70}}\nbackbones: [{', '.join(entries)}]"), np.ones((1, 3, 96, 96))
    first = loading.get("a").engine(batch.astype(np.float32))
    loading.get("b")
    assert loading.status("a").status == "idle"
    np.testing.assert_array_equal(loading.get("a").engine(batch.astype(np.float32)), first)
