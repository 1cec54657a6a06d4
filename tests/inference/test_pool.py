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

from lineup import registry
from lineup.engines import devices, openvino_cache
from lineup.errors import BackboneError, BusyError, HubError, UnreachableError
from lineup.hub import downloads
from lineup.hub.files import HubFile, UrlFile
from lineup.inference import memory_budget
from lineup.results import Progress

TWO = "backbones: ['fake:a', 'fake:b']"


@pytest.fixture
def make_pool(make_service, fakes):
    return lambda text=TWO: make_service(text)._pool


def failure(pool, name: str, kind=BackboneError) -> str:
    with pytest.raises(kind) as caught:
        pool.get(name)
    assert pool.status(name).status == "unavailable"
    assert pool.status(name).reason == str(caught.value) == str(pool.problem(name))
    return str(caught.value)


def test_concurrent_requests_share_one_load(make_pool, fakes):
    pool, held = make_pool(), fakes.hold("build a")
    with ThreadPoolExecutor(32) as threads:
        answers = [threads.submit(lambda: pool.start("fake:a").result(10)) for _ in range(32)]
        until(lambda: fakes.built)
        held.set()
        assert len({id(answer.result()) for answer in answers}) == 1
    assert fakes.built == ["a"]
    assert pool.get("fake:a") is answers[0].result()


def test_slow_load_does_not_block_others(make_pool, fakes):
    pool, held = make_pool(), fakes.hold("build a")
    slow = pool.start("fake:a")
    assert pool.get("fake:b").plan.name == "fake:b"
    assert not slow.done()
    held.set()
    assert slow.result().plan.name == "fake:a"


def test_status_is_idle_then_loading_then_ready(make_pool, fakes):
    pool, held = make_pool(), fakes.hold("build a")
    status = pool.status("fake:a")
    assert (status.status, status.progress, status.num_classes, status.source) == ("idle", None, None, "fake")
    pool.start("fake:a")
    until(lambda: fakes.built)
    status = pool.status("fake:a")
    assert (status.status, status.reason) == ("loading", "")
    assert status.progress == Progress("building the network")
    held.set()
    until(lambda: pool.status("fake:a").status == "ready")
    status = pool.status("fake:a")
    assert (status.progress, status.num_classes, status.parameters) == (None, 3, 0)
    assert pool.status("fake:b").status == "idle"


def test_status_has_the_progress_of_a_download_in_bytes(make_pool, fakes, hub, fresh_cache):
    hub.put("me/big", {"model.safetensors": bytes(24_000_000)})
    hub.faults["me/big"] = "stalled"
    fakes.weights["a"] = HubFile("me/big", ("model.safetensors",))
    pool = make_pool()
    pool.start("fake:a")
    until(lambda: pool.status("fake:a").progress.done_bytes)
    progress = pool.status("fake:a").progress
    assert (progress.stage, progress.total_bytes) == ("downloading", 24_000_000)
    assert 0 < progress.done_bytes <= 12_000_000
    hub.resume.set()
    pool.get("fake:a")
    assert pool.status("fake:a").download_bytes == 24_000_000


def test_failed_load_does_not_affect_others(make_pool, fakes):
    fakes.errors["a"] = RuntimeError("the file\nis odd")
    pool = make_pool()
    text = failure(pool, "fake:a")
    assert text.startswith("fake:a: expected a backbone that can be built; ")
    assert text.endswith("; loading failed; see the log (on the command line: --verbose)")
    assert pool.get("fake:b")
    assert pool.status("fake:b").status == "ready"


def test_hub_failure_is_retried_after_a_back_off(make_pool, fakes, monkeypatch):
    fakes.errors["a"] = HubError("", "", "the Hub failed")
    pool = make_pool()
    assert failure(pool, "fake:a", HubError) == "fake:a: the Hub failed"
    del fakes.errors["a"]
    failure(pool, "fake:a", HubError)
    assert fakes.built == ["a"]
    monkeypatch.setattr("lineup.inference.pool.RETRY_AFTER_S", 0)
    assert pool.get("fake:a")
    assert pool.status("fake:a").status == "ready"
    assert fakes.built == ["a", "a"]


def test_other_failures_are_not_retried(make_pool, fakes, monkeypatch):
    monkeypatch.setattr("lineup.inference.pool.RETRY_AFTER_S", 0)
    fakes.errors["a"] = BackboneError("", "", "no such thing")
    pool = make_pool()
    failure(pool, "fake:a")
    del fakes.errors["a"]
    failure(pool, "fake:a")
    assert fakes.built == ["a"]


def test_unknown_name_is_rejected_with_a_suggestion(make_pool):
    pool = make_pool("backbones: [{name: resnet, backbone: 'fake:a'}, 'fake:b']")
    for method in (pool.status, pool.start, pool.get, pool.probe):
        with pytest.raises(BackboneError, match="expected a name of the line-up; got 'resnt'; did you mean 'resnet'"):
            method("resnt")
    with pytest.raises(BackboneError, match="got 'x'; use one of: resnet, fake:b"):
        pool.get("x")


def test_probe_reports_size_and_classes_without_loading(make_pool, fakes, hub, fresh_cache):
    hub.put("me/pets", {"model.safetensors": b"1234"})
    fakes.weights["a"] = HubFile("me/pets", ("model.safetensors",))
    pool = make_pool("backbones: ['fake:a', 'resnet19', 'hf-hub:me/none']")
    for name in pool.names:
        pool.probe(name)
    available, misspelt, missing = (pool.status(name) for name in pool.names)
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
    pool = make_pool("backbones: ['fake:a', 'fake:b']")
    for name in pool.names * 2:
        pool.probe(name)
    assert [pool.status(name).status for name in pool.names] == ["idle", "unavailable"]
    assert pool.status("fake:a").download_bytes == 4  # the server's size overrides the plan's
    assert "there is no such file" in pool.status("fake:b").reason
    assert len(hub.requests_to("me/pets")) == 3  # an available file is requested once


def test_unreachable_server_does_not_block_requests_to_another(make_pool, fakes, hub, fresh_cache, tmp_path):
    hub.put("me/pets", {"model.safetensors": b"1234"})
    fakes.weights["a"] = UrlFile(f"http://127.0.0.1:{free_port()}/a.pth", tmp_path / "a")
    fakes.weights["b"] = HubFile("me/pets", ("model.safetensors",))
    pool = make_pool("backbones: ['fake:a', 'fake:b']")
    for name in pool.names:
        pool.probe(name)
    assert [pool.status(name).status for name in pool.names] == ["unavailable", "idle"]


def test_offline_probe_sends_no_requests(make_pool, fakes, hub, fresh_cache):
    fakes.weights["a"] = HubFile("me/pets", ("model.safetensors",))
    pool = make_pool("backbones: ['fake:a', 'hf-hub:me/pets']")
    for name in pool.names:
        pool.probe(name, offline=True)
    assert pool.status("fake:a").download_bytes is None
    assert pool.status("hf-hub:me/pets").status == "unavailable"
    assert isinstance(pool.problem("hf-hub:me/pets"), UnreachableError)
    assert hub.requests == []


def test_circuit_breaker_sends_one_request_for_all_entries(make_pool, fakes, hub, fresh_cache, monkeypatch):
    monkeypatch.setattr(downloads, "METADATA_TIMEOUT_S", 0.5)
    for target in "abc":
        hub.faults[f"me/{target}"] = "hung"
        fakes.weights[target] = HubFile(f"me/{target}", ("model.safetensors",))
    pool = make_pool("backbones: ['fake:a', 'fake:b', 'fake:c']")
    for name in pool.names:
        pool.probe(name)
    assert len(hub.requests) == 1
    for name in pool.names:
        assert isinstance(pool.problem(name), UnreachableError)
        assert pool.status(name).reason.startswith(f"{name}: ")
        assert pool.status(name).reason.endswith("try again later")


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
        "figures": {},
        "figures_note": "",
        "engine": "",
        "engine_note": "",
        "computed_by": "",
        "summary": "",
        "notes": (),
        "loading_notes": (),
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


def ready(pool):
    return [name[-1] for name in pool.names if pool.status(name).status == "ready"]


def test_lru_backbone_is_evicted_before_the_next_is_loaded(make_pool, fakes):
    sizes(fakes, a=400, b=400, c=400)
    pool = make_pool(THREE)
    for name in ("fake:a", "fake:b", "fake:a"):
        pool.get(name)
    held = fakes.hold("build c")
    load = pool.start("fake:c")
    until(lambda: "c" in fakes.built)
    assert ready(pool) == ["a"]  # b has been evicted already
    held.set()
    load.result(10)
    assert ready(pool) == ["a", "c"]
    assert pool.status("fake:b").status == "idle"
    assert pool.get("fake:b").plan.name == "fake:b"
    assert ready(pool) == ["b", "c"]


def test_pinned_backbone_is_not_evicted_before_it_is_unpinned(make_pool, fakes):
    sizes(fakes, a=600, b=600)
    pool = make_pool(THREE)
    pin = pool.pin("fake:a")
    pin.load.result(10)
    load = pool.start("fake:b")
    until(lambda: pool.status("fake:b").progress == Progress("waiting for memory"))
    time.sleep(0.1)
    assert (ready(pool), fakes.built) == (["a"], ["a"])
    pin.release()
    load.result(10)
    assert ready(pool) == ["b"]


def test_failed_probe_of_a_loaded_backbone_does_not_make_it_unavailable(make_pool, fakes, monkeypatch):
    def fail(state, offline):
        raise UnreachableError("", "", "no response")

    sizes(fakes, a=600, b=600)
    pool = make_pool(THREE)
    pool.get("fake:a")
    monkeypatch.setattr(pool._loader, "probe", fail)
    pool.probe("fake:a")
    pool.probe("fake:c")
    pool.get("fake:b")  # evicts a
    assert [pool.status(name).status for name in pool.names] == ["idle", "ready", "unavailable"]


def test_concurrent_probe_and_load_make_one_plan(make_pool, fakes, monkeypatch):
    plans, go = [], threading.Event()

    def slow(entry, context):
        plans.append(entry.name)
        assert go.wait(10)
        return fakes.plan(entry, context)

    monkeypatch.setitem(registry.SOURCES, "fake", slow)
    pool = make_pool()
    with ThreadPoolExecutor(1) as threads:
        probing = threads.submit(pool.probe, "fake:a")
        until(lambda: plans)
        load = pool.start("fake:a")
        time.sleep(0.1)
        go.set()
        load.result(10)
        probing.result(10)
    assert plans == ["fake:a"]


def test_load_without_a_thread_is_an_error_and_can_be_retried(make_pool, fakes, monkeypatch):
    def fail(thread):
        raise RuntimeError("can't start new thread")

    pool = make_pool()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(BusyError, match="fake:a: expected a thread to load it; can't start new thread; try again"):
            pool.pin("fake:a")
    assert pool.status("fake:a").status == "idle"
    assert pool.get("fake:a")
    assert pool._states.get("fake:a").pins == 0


def test_wait_for_memory_times_out_and_can_be_retried(make_pool, fakes, monkeypatch):
    monkeypatch.setattr(memory_budget, "MEMORY_TIMEOUT_S", 0.2)
    monkeypatch.setattr("lineup.inference.pool.RETRY_AFTER_S", 0)
    sizes(fakes, a=600, b=600)
    pool = make_pool(THREE)
    pin = pool.pin("fake:a")
    pin.load.result(10)
    text = failure(pool, "fake:b", BusyError)
    others = "the other backbones are in use and need their memory"
    assert text == f"fake:b: expected 600 MB for it; {others}; try again in some seconds"
    pin.release()
    assert pool.get("fake:b")


def test_backbone_larger_than_the_budget_is_rejected_without_eviction(make_pool, fakes):
    sizes(fakes, a=400, b=1001)
    pool = make_pool(THREE)
    pool.get("fake:a")
    text = failure(pool, "fake:b")
    assert text == (
        "fake:b: expected a backbone that fits into 1000 MB; it needs about 1001 MB; "
        "choose a smaller one, or raise limits.memory_mb"
    )
    assert ready(pool) == ["a"]
    assert fakes.built == ["a"]


def test_failed_load_releases_its_memory(make_pool, fakes):
    sizes(fakes, a=600, b=600)
    fakes.errors["a"] = BackboneError("", "", "no such thing")
    pool = make_pool(THREE)
    failure(pool, "fake:a")
    assert pool.get("fake:b")


def test_default_memory_budget_is_a_share_of_the_machines_memory(make_pool, fakes, monkeypatch):
    monkeypatch.setattr(devices, "memory_bytes", lambda device: 1000 * MB)
    sizes(fakes, a=601, b=599)
    pool = make_pool()
    assert "fits into 600 MB" in failure(pool, "fake:a")
    assert "limits.memory_mb" not in pool.status("fake:a").reason
    assert pool.get("fake:b")


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
    pool = make_pool(REAL)
    network = weakref.ref(pool.get("a").engine.network)
    until(lambda: pool.status("a").engine == "openvino")
    until(lambda: gc.collect() is not None and network() is None)


@pytest.mark.openvino
def test_failed_conversion_stays_on_torch_with_a_note(make_pool, monkeypatch):
    def refuse(*args):
        raise BackboneError("", "", "OpenVINO cannot convert it (no such operation)")

    monkeypatch.setattr(openvino_cache, "convert", refuse)
    pool = make_pool(REAL)
    pool.get("a")
    until(lambda: pool.status("a").engine_note.startswith("stays"))
    status = pool.status("a")
    assert (status.status, status.engine, status.reason) == ("ready", "torch", "")
    assert status.engine_note == "stays on torch: OpenVINO cannot convert it (no such operation)"
    assert failure(make_pool(f"engine: openvino\n{REAL}"), "a").startswith("a: OpenVINO cannot convert it")


@pytest.mark.openvino
def test_configured_engine_answers_from_the_start(make_pool, monkeypatch):
    assert make_pool(f"engine: openvino\n{REAL}").get("a").engine.name == "openvino"
    pool = make_pool(f"engine: torch\n{REAL}")
    assert pool.get("a").engine.name == "torch"
    until(lambda: not any(thread.name == "load a" for thread in threading.enumerate()))
    assert (pool.status("a").engine, pool.status("a").engine_note) == ("torch", "")


def test_random_weights_are_the_same_after_eviction_and_reload(make_pool):
    entries = [f"{{name: {name}, backbone: test_resnet, pretrained: false}}" for name in "ab"]
    pool, batch = make_pool(f"limits: {{memory_mb: 70}}\nbackbones: [{', '.join(entries)}]"), np.ones((1, 3, 96, 96))
    first = pool.get("a").engine(batch.astype(np.float32))
    pool.get("b")
    assert pool.status("a").status == "idle"
    np.testing.assert_array_equal(pool.get("a").engine(batch.astype(np.float32)), first)
