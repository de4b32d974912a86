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

BACKBONES, SIZE = ("mobilenet_v2", "mobilenet"), (96, 96)
NUM_QUERIES, NUM_CANDIDATES = 2, 20


def dual_encoder() -> keras.Model:
    """Two backbones, both fine-tuned, their averages joined to one embedding."""
    images = keras.Input((*SIZE, 3))
    maps = [backbones.build(n, weights="random", size=SIZE, trainable=True) for n in BACKBONES]
    pooled = [keras_layers.GlobalAveragePooling2D()(network(images)) for network in maps]
    x = keras_layers.Dense(128)(keras_layers.Concatenate()(pooled))
    return keras.Model(images, keras_layers.UnitNormalization()(x))


def seconds_of_step(model: keras.Model, inputs: np.ndarray, targets: np.ndarray) -> float:
    start = time.perf_counter()
    model.train_on_batch(inputs, targets)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (NUM_QUERIES, 1 + NUM_CANDIDATES, *SIZE, 3), np.uint8)
    bare, encoder = dual_encoder(), dual_encoder()
    bare.compile("sgd", "mse")
    branches = keras.Input(images.shape[1:])
    scores = layers.CandidateScores()(layers.Branches(encoder)(branches))
    full = tll.Model(branches, scores)
    full.compile("sgd", losses.CandidateSoftmaxLoss())
    flat = images.reshape(-1, *SIZE, 3)
    jobs = {
        "bare": (bare, flat, np.zeros((len(flat), 128), "float32")),
        "full": (full, images, np.zeros(NUM_QUERIES, "int32")),
    }
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(1 + rounds):
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
