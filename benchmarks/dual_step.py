"""What 21 branches cost: a training step of the candidate network against the bare encoder.

Both run forward and backward on the same number of images, 21 per query. The encoder alone stands
for what must be paid; folding, scores and loss should add next to nothing.
"""

import argparse
import time

import keras
import numpy as np
from keras import layers as keras_layers

import tll_utils as tll
from tll_utils import layers, losses
from tll_utils.features import backbones

NUM_QUERIES, NUM_CANDIDATES = 2, 20


def dual_encoder(names: list[str], size: tuple[int, int]) -> keras.Model:
    """Backbones, all fine-tuned, their averages joined to one embedding."""
    images = keras.Input((*size, 3))
    maps = [backbones.build(n, weights="random", size=size, trainable=True) for n in names]
    pooled = [keras_layers.GlobalAveragePooling2D()(network(images)) for network in maps]
    x = keras_layers.Dense(128)(keras.ops.concatenate(pooled, axis=-1))
    return keras.Model(images, keras_layers.UnitNormalization()(x))


def seconds_of_step(model: keras.Model, inputs: np.ndarray, targets: np.ndarray) -> float:
    start = time.perf_counter()
    model.train_on_batch(inputs, targets)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--backbones", nargs="+", default=["mobilenet_v2", "mobilenet"])
    parser.add_argument("--side", type=int, default=96, help="of an image, in pixels")
    options = parser.parse_args()
    size = (options.side, options.side)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (NUM_QUERIES, 1 + NUM_CANDIDATES, *size, 3), np.uint8)
    bare, encoder = (dual_encoder(options.backbones, size) for _ in range(2))
    bare.compile("sgd", "mse")
    branches = keras.Input(images.shape[1:])
    scores = layers.CandidateScores()(layers.Branches(encoder)(branches))
    full = tll.Model(branches, scores)
    full.compile("sgd", losses.CandidateSoftmaxLoss())
    flat = images.reshape(-1, *size, 3)
    jobs = {
        "bare": (bare, flat, np.zeros((len(flat), 128), "float32")),
        "full": (full, images, np.zeros(NUM_QUERIES, "int32")),
    }
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(1 + options.rounds):
        # Turn and turn about, so that whatever else the machine does falls on both.
        for name, job in jobs.items():
            times[name].append(seconds_of_step(*job))
    fastest = {name: min(seconds[1:]) for name, seconds in times.items()}  # the first one traces
    print(f"{len(flat)} images through the bare encoder: {fastest['bare']:.3f} s")
    print(f"the same through {1 + NUM_CANDIDATES} branches with loss: {fastest['full']:.3f} s")
    ratio = fastest["full"] / fastest["bare"]
    print(f"The branches cost {ratio:.2f} times the encoder (wanted: at most 1.15)")


if __name__ == "__main__":
    main()
