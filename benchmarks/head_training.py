"""What it saves to train a head on stored features: one epoch against the same epoch on images.

An epoch on images sends every left and right through the frozen backbone, whose output never
changes. Weights don't matter for time, so random ones do, and random features.
"""

from tll_utils import quiet  # noqa: F401  first, so that TensorFlow loads in silence

# isort: split
import time

import numpy as np

from tll_utils import adaption, backbones

NUM_PAIRS, NUM_FEATURES = 1600, 256
BACKBONE, TIMED_BATCHES, BATCH_SIZE = "mobilenet_v2", 6, 32
SETTINGS = adaption.HeadSettings(epochs=40)


def seconds_of_head() -> tuple[float, float]:
    """The whole training, and one epoch of it without what happens once."""
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(2, NUM_PAIRS, NUM_FEATURES)).astype("float32")
    seconds = {}
    for epochs in (1, 1 + SETTINGS.epochs):
        settings = adaption.HeadSettings(epochs=epochs)
        start = time.perf_counter()
        adaption.train_head(left, right, settings)
        seconds[epochs] = time.perf_counter() - start
    whole = seconds[1 + SETTINGS.epochs]
    return whole, (whole - seconds[1]) / SETTINGS.epochs


def seconds_of_backbone() -> float:
    """One pass of all images, from a few batches that are in memory already."""
    model = backbones.build(BACKBONE, weights="random")
    images = np.zeros((BATCH_SIZE, *model.input_shape[1:]), "float32")
    model.predict_on_batch(images)
    start = time.perf_counter()
    for _ in range(TIMED_BATCHES):
        model.predict_on_batch(images)
    return (time.perf_counter() - start) / (TIMED_BATCHES * BATCH_SIZE) * 2 * NUM_PAIRS


def main() -> None:
    whole, epoch = seconds_of_head()
    images = seconds_of_backbone()
    print(f"Head on stored features, {NUM_PAIRS} pairs, {SETTINGS.epochs} epochs: {whole:.1f} s")
    print(f"One epoch: {epoch:.3f} s; the frozen {BACKBONE} on its images: {images:.1f} s")
    print(f"Stored features are {images / epoch:.0f} times as fast per epoch (wanted: 100)")


if __name__ == "__main__":
    main()
