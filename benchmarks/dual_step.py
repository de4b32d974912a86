"""What 21 branches cost: a training step of the candidate network against the bare encoder.

Both run forward and backward on the same number of images, 21 per query. The encoder alone stands
for what must be paid; folding, scores and loss should add next to nothing.
"""

from tll_utils import quiet  # noqa: F401  first, so that TensorFlow loads in silence

# isort: split
import time

import numpy as np
import tensorflow as tf

from tll_utils import candidates, losses
from tll_utils.models import dual

BACKBONES = {"mobilenet_v2": ("out_relu/avg",), "mobilenet": ("conv_pw_13_relu/avg",)}
DIMS, SIZE = (1280, 1024), (96, 96)
NUM_QUERIES, NUM_CANDIDATES, ROUNDS = 2, 20, 7


def seconds_of(step) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def step_of(model, inputs, loss):
    """One compiled forward and backward pass; the frozen backbones are fine-tuned here."""

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            value = loss(model(inputs, training=True))
        return tape.gradient(value, model.trainable_variables)

    step()  # traces
    return step


def main() -> None:
    rng = np.random.default_rng(0)
    shape = (NUM_QUERIES, 1 + NUM_CANDIDATES, *SIZE, 3)
    images = tf.constant(rng.uniform(0, 255, shape), tf.float32)
    weights = dict.fromkeys(BACKBONES, "random")
    head = dual.feature_head(DIMS, units=128)
    encoder = candidates.image_encoder(head, BACKBONES, weights=weights, size=SIZE, trainable=True)
    branches = dual.candidate_model(encoder, num_candidates=NUM_CANDIDATES)
    place, softmax = np.zeros(NUM_QUERIES, int), losses.CandidateSoftmaxLoss()
    steps = {
        "bare": step_of(encoder, tf.reshape(images, (-1, *SIZE, 3)), lambda y: tf.reduce_sum(y**3)),
        "branches": step_of(
            branches,
            {"query": images[:, 0], "candidates": images[:, 1:]},
            lambda scores: softmax(place, scores),
        ),
    }
    # Turn and turn about, so that whatever else the machine does falls on both.
    times = {name: [] for name in steps}
    for _ in range(ROUNDS):
        for name, step in steps.items():
            times[name].append(seconds_of(step))
    bare, full = (min(times[name]) for name in steps)
    print(f"{(1 + NUM_CANDIDATES) * NUM_QUERIES} images through the bare encoder: {bare:.3f} s")
    print(f"the same through {1 + NUM_CANDIDATES} branches with loss: {full:.3f} s")
    print(f"The branches cost {full / bare:.2f} times the encoder (wanted: at most 1.15)")


if __name__ == "__main__":
    main()
