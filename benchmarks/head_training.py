"""What it saves to train a head on stored features: one epoch against the same epoch on images.

An epoch on images sends every left and right through the frozen backbone, whose output never
changes. Weights don't matter for time, so random ones do, and random features.
"""

import argparse
import time
from types import SimpleNamespace

import keras
import numpy as np
from keras import layers as keras_layers

import tll_utils as tll
from tll_utils import generators, layers, losses, training
from tll_utils.features import backbones

NUM_FEATURES, BATCH_SIZE = 256, 256
BACKBONE, TIMED_BATCHES, IMAGES_PER_BATCH = "mobilenet_v2", 6, 32


def in_batch_model() -> keras.Model:
    """The adaptation head of notebook 04: dropout, a linear map, length 1."""
    head = keras.Sequential(
        [
            keras.Input((NUM_FEATURES,)),
            keras_layers.Dropout(0.3),
            keras_layers.Dense(256, use_bias=False, kernel_initializer="orthogonal"),
            keras_layers.UnitNormalization(),
        ]
    )
    pair = keras.Input((2, NUM_FEATURES))
    model = tll.Model(pair, layers.Branches(head)(pair))
    model.compile(keras.optimizers.AdamW(3e-4), losses.InBatchSoftmaxLoss(temperature=0.2))
    return model


def seconds_of_head(num_pairs: int, epochs: int) -> tuple[float, float]:
    """The whole training, and one epoch of it without what happens once."""
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(2, num_pairs, NUM_FEATURES)).astype("float32")
    views, seconds = SimpleNamespace(left=left, right=right), {}
    for count in (1, 1 + epochs):
        batches = generators.matches(views, np.arange(num_pairs), batch_size=BATCH_SIZE)
        start = time.perf_counter()
        training.fit(in_batch_model(), batches, epochs=count)
        seconds[count] = time.perf_counter() - start
    whole = seconds[1 + epochs]
    return whole, (whole - seconds[1]) / epochs


def seconds_of_backbone(num_pairs: int) -> float:
    """One pass of all images, from a few batches that are in memory already."""
    model = backbones.build(BACKBONE, weights="random")
    images = np.zeros((IMAGES_PER_BATCH, *model.input_shape[1:]), "float32")
    model.predict_on_batch(images)
    start = time.perf_counter()
    for _ in range(TIMED_BATCHES):
        model.predict_on_batch(images)
    per_image = (time.perf_counter() - start) / (TIMED_BATCHES * IMAGES_PER_BATCH)
    return per_image * 2 * num_pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=1600)
    parser.add_argument("--epochs", type=int, default=40)
    options = parser.parse_args()
    whole, epoch = seconds_of_head(options.pairs, options.epochs)
    images = seconds_of_backbone(options.pairs)
    print(f"Head on stored features, {options.pairs} pairs, {options.epochs} epochs: {whole:.1f} s")
    print(f"One epoch: {epoch:.3f} s; the frozen {BACKBONE} on its images: {images:.1f} s")
    print(f"Stored features are {images / epoch:.0f} times as fast per epoch (wanted: 100)")


if __name__ == "__main__":
    main()
