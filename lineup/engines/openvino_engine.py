"""Converts networks to OpenVINO and runs them on the CPU."""

import copy
import importlib.util
import queue
import sys
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lineup.config import Activation
from lineup.engines.engine import Engine, Precision, probabilities
from lineup.engines.openvino_logging import preserved_root_logger
from lineup.errors import BackboneError, brief

if TYPE_CHECKING:
    from torch import nn

PROBABILITY_TOLERANCE = 1e-4  # of a converted network in float32, against torch's
LOGIT_TOLERANCE = {"f32": 1e-4, "bf16": 0.1}  # relative to the largest logit
REQUEST_BYTES = 32 << 20  # of each image that is computed at the same time: generated code and activations


class OpenVINOEngine:
    """Runs a converted network on the CPU: one image in all cores, or several at the same time.

    One image has a graph with the least latency. Batches, and images while others are computed, have a second one with
    the highest throughput, which `prepare_batches` or the first batch compiles.

    Args:
        model: a converted network for one image, or the ``.xml`` file of one.
        precision: auto means bfloat16 on a CPU that supports it.
        threads: number of cores to use.
    """

    name = "openvino"

    def __init__(self, model: Any, precision: Precision, threads: int) -> None:
        self._core = _openvino().Core()
        self.hint = precision_hint(precision)
        self._settings = {"INFERENCE_PRECISION_HINT": self.hint, "INFERENCE_NUM_THREADS": threads}
        # of a file it holds a map of the weights, which the page cache may drop
        self._model = self._core.read_model(model) if isinstance(model, Path) else model
        self._request = self._compile("LATENCY").create_infer_request()
        self._batches: _Batches | None = None
        weights = [node for node in self._model.get_ops() if node.get_type_name() == "Constant"]
        self.batch_memory_bytes = sum(node.get_byte_size() for node in weights) + threads * REQUEST_BYTES
        self._lock, self._batches_lock = threading.Lock(), threading.Lock()  # an infer request holds one image
        self._n_computing, self._counting = 0, threading.Lock()  # single images

    @property
    def is_concurrent(self) -> bool:
        """Tell whether images are computed at the same time when several threads ask for them."""
        return self._batches is not None

    def prepare_batches(self) -> None:
        """Compile the graph for several images, which takes `batch_memory_bytes`, unless there is one."""
        with self._batches_lock:
            if self._batches is None:
                self._batches = _Batches(self._compile("THROUGHPUT"))

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        if len(batch) == 1:
            return self._one(batch)
        self.prepare_batches()
        assert self._batches
        with self._batches_lock:
            return self._batches(batch)

    def _one(self, image: np.ndarray) -> np.ndarray:
        with self._counting:
            self._n_computing += 1
            batches = self._batches if self._n_computing > 1 else None
        try:
            if batches:
                return batches.one(image)
            with self._lock:
                return self._request.infer([image], share_inputs=True)[0]  # (1, classes)
        finally:
            with self._counting:
                self._n_computing -= 1

    def _compile(self, hint: str) -> Any:
        return self._core.compile_model(self._model, "CPU", {"PERFORMANCE_HINT": hint, **self._settings})


class _Batches:
    """Runs several images at the same time, each on a share of the cores.

    Args:
        compiled: a network for one image, compiled for throughput.
    """

    def __init__(self, compiled: Any) -> None:
        openvino = _openvino()
        self._tensor, self._shape = openvino.Tensor, tuple(compiled.output(0).shape)  # (1, classes)
        # twice as many as compute at the same time: the next image of each is ready
        requests = 2 * compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._queue = openvino.AsyncInferQueue(compiled, requests)
        self._queue.set_callback(_keep)
        self._idle = queue.LifoQueue[Any]()  # requests for single images
        for _ in range(requests // 2):
            self._idle.put(compiled.create_infer_request())

    def one(self, image: np.ndarray) -> np.ndarray:
        """Return the outputs of one image ``(1, C, H, W)``, computed on a share of the cores; thread-safe."""
        request = self._idle.get()
        try:
            return np.asarray(request.infer(self._tensor(image, shared_memory=True))[0])  # (1, classes), a copy
        finally:
            self._idle.put(request)

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        batch = np.require(batch, np.float32, ["C", "W"])  # tensors share its memory
        outputs = np.empty((len(batch), *self._shape[1:]), np.float32)  # (N, classes)
        try:
            for index in range(len(batch)):
                # starting with a tensor takes less time than with an array
                image = self._tensor(batch[index : index + 1], shared_memory=True)
                self._queue.start_async(image, (outputs, index))
        finally:  # the requests read the batch
            self._queue.wait_all()
        return outputs


def _keep(request: Any, place: tuple[np.ndarray, int]) -> None:
    outputs, index = place
    outputs[index] = request.get_output_tensor().data[0]


def unavailable(precision: Precision = "auto") -> str:
    """Return why OpenVINO cannot be used here, or an empty string."""
    if not importlib.util.find_spec("openvino"):
        return "OpenVINO is not installed (pip install openvino)"
    if precision == "bfloat16" and not _computes_in_bfloat16(_openvino().Core()):
        return "this CPU does not support bfloat16"
    return ""


def precision_hint(precision: Precision) -> str:
    """Return OpenVINO's name of the precision that it computes in here: f32 or bf16."""
    return "bf16" if precision != "float32" and _computes_in_bfloat16(_openvino().Core()) else "f32"


def convert(network: "nn.Module", input_size: tuple[int, int], channels: int = 3) -> Any:
    """Convert a network for images of one size (height, width), which may be computing meanwhile.

    Raises:
        BackboneError: when OpenVINO cannot convert it, with the reason.
    """
    import torch

    # Tracing may write into modules. Parameters and buffers are only read, and stay shared.
    shared: dict[int, Any] = {id(each): each for each in (*network.parameters(), *network.buffers())}
    try:
        private, example = copy.deepcopy(network, shared), torch.zeros(1, channels, *input_size)
        with preserved_root_logger(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tracing warns of each shape that it assumes to be constant; here they are
            return _openvino().convert_model(private, input=list(example.shape), example_input=example)
    except Exception as error:  # unsupported operations raise various types
        raise BackboneError("", "", f"OpenVINO cannot convert it ({brief(error, line=-1)})") from error


def compile_checked(
    model: Any,
    torch_engine: Engine,
    input_size: tuple[int, int],
    channels: int = 3,
    activation: Activation = "softmax",
    **settings: Any,
) -> OpenVINOEngine:
    """Compile a converted network, and compare its logits and probabilities on noise with torch's.

    Raises:
        BackboneError: when it cannot run, or its logits differ.
    """
    noise = np.random.default_rng(0).standard_normal((1, channels, *input_size), np.float32)
    try:
        engine = OpenVINOEngine(model, **settings)
        logits, expected = engine(noise.copy()), torch_engine(noise)
    except BackboneError:
        raise
    except Exception as error:
        raise BackboneError("", "", f"OpenVINO cannot run it ({brief(error, line=-1)})") from error
    off = float(np.abs(logits - expected).max())
    of_both = (probabilities(each, activation) for each in (logits, expected))
    unlike = float(np.abs(np.subtract(*of_both)).max()) if engine.hint == "f32" else 0.0
    # written so that NaN fails the comparison
    close = off <= LOGIT_TOLERANCE[engine.hint] * max(1.0, float(np.abs(expected).max()))
    if not (close and unlike <= PROBABILITY_TOLERANCE):
        raise BackboneError("", "", f"its logits differ from torch's by {off:.2g}")
    return engine


def save(model: Any, file: Path) -> None:
    """Write a converted network: ``file`` (.xml) and its weights beside it (.bin), in float32."""
    _openvino().save_model(model, file, compress_to_fp16=False)


def _openvino() -> Any:
    # OpenVINO reports each import to Intel through this package, if it is installed.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def _computes_in_bfloat16(core: Any) -> bool:
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
