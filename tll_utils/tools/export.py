"""Takes a model along: ONNX for other programs, LiteRT for phones, held to the original."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tll_utils import data, files, images, quiet, scoring
from tll_utils.errors import TllError
from tll_utils.tools.embedder import Embedder

SUFFIXES = {"onnx": ".onnx", "litert": ".tflite"}
SIZE = (224, 224)  # of the images that a model takes which resizes to several sizes itself


def export(embedder: Embedder, target: Path, kind: str) -> Path:
    """Writes a model in another format: one RGB image in [0, 255] in, its embedding out.

    The image has to be resized first, bilinear, as `images.resize` does; the file's input has the
    shape `(1, height, width, 3)`.

    Args:
        embedder: Of the model.
        target: The file; its folder is made.
        kind: `"onnx"` or `"litert"`.

    Raises:
        TllError: If a library that writes the format is missing, or refuses the model.
    """
    import keras

    height, width = embedder.size or SIZE
    inputs = keras.Input((height, width, 3), batch_size=1, name="image")
    model = keras.Model(inputs, embedder.model(inputs))
    model(np.zeros((1, height, width, 3), "float32"))  # what is exported must have been called
    logging.getLogger("tf2onnx").setLevel("ERROR")
    try:
        with files.replacing(target) as draft, quiet.silence():
            model.export(str(draft), format=kind, verbose=False)
    except ImportError as error:
        raise TllError(f"{kind}: {error}. Install it: pip install 'tll-utils[export]'") from error
    except (ValueError, TypeError, RuntimeError, NotImplementedError) as error:
        raise TllError(f"{embedder.source}: cannot be written as {kind} ({error}).") from error
    return target


def compared(embedder: Embedder, path: Path, dataset: data.Dataset, *, count: int = 50) -> str:
    """Says how far an exported model is from the original, on the first pairs of a data set.

    Args:
        embedder: Of the model.
        path: What `export` wrote.
        dataset: Whose left and right images are embedded by both.
        count: How many pairs.

    Returns:
        The greatest difference of any number in the unit-norm embeddings, and the top-2 of each
        left among all these rights.

    Raises:
        TllError: If no library can run the file.
    """
    sides = (dataset.left_paths[:count], dataset.right_paths[:count])
    pictures = [
        images.resize(images.decode(p), embedder.size or SIZE) for side in sides for p in side
    ]
    # One by one is few enough for Keras, which is what the file has to agree with.
    ours = np.concatenate([embedder.embed([one], show_progress=False) for one in pictures])
    theirs = _embed(path, pictures)
    num_pairs = len(pictures) // 2
    own = np.arange(num_pairs)
    reached = [
        scoring.recall_at_k(vectors[:num_pairs], vectors[num_pairs:], own, 2)
        for vectors in (ours, theirs)
    ]
    return (
        f"greatest deviation {np.abs(ours - theirs).max():.1e}; top-2 among {num_pairs}: "
        f"{reached[0]:.3f} before, {reached[1]:.3f} after (a check of the file, not a result)"
    )


def _embed(path: Path, pictures: Sequence[np.ndarray]) -> np.ndarray:
    run = _onnx(path) if path.suffix == ".onnx" else _litert(path)
    vectors = np.stack([run(image[None].astype(np.float32))[0] for image in pictures])
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _onnx(path: Path) -> Callable[[np.ndarray], Any]:
    try:
        import onnxruntime
    except ImportError:
        return _openvino(path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: session.run(None, {name: batch})[0]


def _openvino(path: Path) -> Callable[[np.ndarray], Any]:
    try:
        import openvino
    except ImportError as error:
        raise TllError(
            f"{path}: written, and not tried: neither onnxruntime nor openvino is installed."
        ) from error
    model = openvino.Core().compile_model(str(path), "CPU")
    return lambda batch: model(batch)[0]


def _litert(path: Path) -> Callable[[np.ndarray], Any]:
    import tensorflow as tf

    with quiet.silence(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it will move to a package of its own
        interpreter = tf.lite.Interpreter(model_path=str(path))
        interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def run(batch: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(taken["index"], batch)
        interpreter.invoke()
        return interpreter.get_tensor(given["index"])

    return run
