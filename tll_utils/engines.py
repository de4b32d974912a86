"""What takes batches through a network with fixed weights: OpenVINO where it is installed and there
is nothing but a CPU, else Keras on its own backend."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import math
import shutil
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tll_utils import files
from tll_utils.errors import SettingsError, TllError

if TYPE_CHECKING:
    import keras

ENGINES = ("auto", "keras", "openvino", "openvino-bfloat16")
_OPENVINO_BATCH = 8  # small batches side by side are faster than large ones
_PRECISION = {"openvino": "f32", "openvino-bfloat16": "bf16"}


@dataclasses.dataclass(frozen=True)
class Engine:
    """A network made as fast as it can be, for weights as they were.

    Attributes:
        call: From images `(batch, height, width, channels)`, float32, to a dict of arrays.
        batch_size: Int, how many images it best takes at a time.
        num_threads: Int, how many batches it best takes side by side.
    """

    call: Callable[[np.ndarray], Mapping[str, Any]]
    batch_size: int
    num_threads: int


def resolve(engine: str = "auto", *, made: bool = False) -> str:
    """Turns `"auto"` into the engine that this machine takes.

    Args:
        engine: One of `ENGINES`.
        made: Whether the cache holds the network in OpenVINO's form: then Keras, which would have
            to be loaded, is not asked about the machine. Defaults to `False`.

    Raises:
        SettingsError: If the engine is unknown or not installed.
    """
    if engine not in ENGINES:
        raise SettingsError(
            f"Expected one of {', '.join(ENGINES)} in TLL_ENGINE. Received: {engine!r}"
        )
    installed = importlib.util.find_spec("openvino") is not None
    if engine == "auto" and installed and made:
        return "openvino"
    if engine == "auto":
        import keras

        # Keras converts by way of TensorFlow, whatever its backend.
        fits = installed and keras.backend.backend() == "tensorflow" and not _has_accelerator()
        return "openvino" if fits else "keras"
    if engine != "keras" and not installed:
        raise SettingsError(
            f'The engine {engine!r} is not installed: pip install "tll-utils[fast]", or set '
            "TLL_ENGINE=keras."
        )
    return engine


def compile_model(
    build: Callable[[], keras.Model], keys: Sequence[str], engine: str, *, cache: Path | None = None
) -> Engine:
    """Makes a model with a dict of outputs fast.

    Args:
        build: Makes the model; not called where `cache` holds it in OpenVINO's form.
        keys: Of the outputs that are wanted. OpenVINO does not compute the others.
        engine: As `resolve` returns it.
        cache: Path of an `.xml` file, with a `.bin` file beside it; written if it isn't there.
    """
    if engine == "keras":
        return _keras(build())
    if cache is not None and cache.is_file():
        try:
            return _openvino(None, keys, engine, cache)
        except Exception:  # damaged, or of another version: written anew
            cache.unlink()
    model = build()
    try:
        return _openvino(model, keys, engine, cache)
    except TllError:
        raise
    except Exception as error:  # whatever an operation that it cannot convert raises
        reason = str(error).strip().partition("\n")[0]
        warnings.warn(f"OpenVINO cannot take this network ({reason}); Keras does.", stacklevel=2)
        return _keras(model)


def cache_path(folder: Path, keys: Sequence[str]) -> Path:
    """Where the network that gives these features lies, in the folder of its recipe."""
    digest = hashlib.blake2b("\n".join(keys).encode(), digest_size=8).hexdigest()
    return folder / f"network-{digest}.xml"


def suitable_batch_size(network: keras.Model) -> int:
    """As large as a GPU likes; on a CPU, so small that every feature map stays below 32 MiB.

    From there on the C library returns memory to the system after each use, and getting it back,
    page by page, takes as long as the convolutions.
    """
    if _has_accelerator():
        return 32
    largest = max(math.prod(size or 1 for size in shape[1:]) for shape in _shapes(network))
    return max(1, min(32, 2**25 // (4 * largest)))


def _shapes(network: keras.Model) -> Iterator[tuple[int, ...]]:
    import keras

    for operation in getattr(network, "operations", network.layers):
        if isinstance(operation, keras.Model):
            yield from _shapes(operation)
        elif isinstance(operation.output, keras.KerasTensor):
            yield operation.output.shape


def _has_accelerator() -> bool:
    import keras

    return not all(name.startswith("cpu") for name in keras.distribution.list_devices())


def _keras(model: keras.Model) -> Engine:
    import keras

    batch_size = suitable_batch_size(model)
    if keras.backend.backend() != "tensorflow":
        # Nothing says that a model may be called from two threads.
        return Engine(model.predict_on_batch, batch_size, num_threads=1)
    import tensorflow as tf

    trainable, frozen = (
        [np.asarray(variable) for variable in variables]
        for variables in (model.trainable_variables, model.non_trainable_variables)
    )

    def call(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        # Made inside, a constant becomes part of the graph, which can then be simplified: batch
        # normalization is folded into the convolutions.
        weights = [[tf.constant(value) for value in values] for values in (trainable, frozen)]
        return model.stateless_call(*weights, batch, training=False)[0]

    signature = tf.TensorSpec(model.input_shape, tf.float32)
    graph = tf.function(call, input_signature=[signature], autograph=False)
    # Two on a CPU: many operations keep one core busy, and the other batch uses the rest.
    return Engine(graph, batch_size, num_threads=1 if _has_accelerator() else 2)


def _openvino(
    model: keras.Model | None, keys: Sequence[str], engine: str, cache: Path | None
) -> Engine:
    """The model, or if it is None what `cache` holds."""
    import openvino

    # Two threads that are the first to use an array wait for each other for ever: one holds
    # Python's lock, the other that of a C++ static variable. So the first use is here.
    _ = openvino.Tensor(np.zeros(1, np.float32)).data
    core = openvino.Core()
    # The precision is named because it would be bfloat16, unasked, where the CPU has it.
    options = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": _PRECISION[engine]}
    with tempfile.TemporaryDirectory() as scratch:
        path = cache or Path(scratch, "network.xml")
        if model is not None:
            exported = Path(scratch, "exported.xml")
            model.export(str(exported), format="openvino", verbose=False)
            for suffix in (".bin", ".xml"):  # the .xml last: where it is, all is
                with files.replacing(path.with_suffix(suffix)) as draft:
                    shutil.move(exported.with_suffix(suffix), draft)
        network = core.read_model(path, path.with_suffix(".bin"))
        for result in network.get_results():
            if not result.output(0).get_names() & set(keys):
                network.remove_result(result)
        compiled = core.compile_model(network, "CPU", options)
    place = {name: i for i, out in enumerate(compiled.outputs) for name in out.get_names()}
    places = {key: place[key] for key in keys}
    own = threading.local()  # a request is used by one thread at a time

    def call(batch: np.ndarray) -> dict[str, np.ndarray]:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        results = own.request.infer({0: np.ascontiguousarray(batch, np.float32)})
        return {key: results[i] for key, i in places.items()}

    num_threads = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
    return Engine(call, _OPENVINO_BATCH, num_threads)
