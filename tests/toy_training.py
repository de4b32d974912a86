"""Trains a toy candidate network in a process of its own; `test_distribute` starts it."""

import argparse
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[1]))

import keras
import numpy as np
import tensorflow as tf

from tll_utils import distribute, losses
from tll_utils.models import dual

PAIRS, BATCH, CANDIDATES, EPOCHS = 40, 8, 5, 4


def machine_of(replicas):
    if replicas == 1:
        return distribute.choose()
    cpu = tf.config.list_physical_devices("CPU")[0]
    two = [tf.config.LogicalDeviceConfiguration()] * replicas
    tf.config.set_logical_device_configuration(cpu, two)
    devices = [f"CPU:{i}" for i in range(replicas)]
    return distribute.Machine(tf.distribute.MirroredStrategy(devices))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--result", type=Path)
    parser.add_argument("--pause-after", type=int)
    options = parser.parse_args()
    machine = machine_of(options.replicas)
    rng = np.random.default_rng(0)
    left = tf.constant(rng.normal(size=(PAIRS, 6)), tf.float32)
    right = left + tf.constant(rng.normal(size=(PAIRS, 6)), tf.float32)

    # The same sets in a new order each epoch, so that the losses of epochs can be compared.
    candidates = rng.integers(PAIRS, size=(PAIRS, CANDIDATES))
    place = rng.integers(CANDIDATES, size=PAIRS)
    candidates[np.arange(PAIRS), place] = np.arange(PAIRS)

    def draw(epoch):
        query = np.random.default_rng(epoch).permutation(PAIRS)
        return query, candidates[query], place[query]

    def build():
        # Dropout draws its own numbers on each replica: without it, all must agree.
        head = dual.feature_head((4, 2), units=4, dropout=0.0, seed=2)
        return dual.candidate_model(head, num_candidates=CANDIDATES)

    epochs_seen = []

    def validate(model):
        epochs_seen.append(len(epochs_seen))
        if options.pause_after and len(epochs_seen) == options.pause_after + 1:
            # The checkpoint of the epochs before is on disk: a good moment to be killed.
            options.checkpoint.with_suffix(".npz.paused").touch()
            time.sleep(600)
        return {}

    training = distribute.fit(
        machine,
        build,
        loss=losses.CandidateSoftmaxLoss(temperature=0.1),
        draw=draw,
        fetch=lambda query, candidates, place: (
            {"query": tf.gather(left, query), "candidates": tf.gather(right, candidates)},
            place,
        ),
        batch_size=BATCH,
        epochs=EPOCHS,
        # Not Adam, which would hide a gradient that is too large by the number of replicas; and
        # a clip that bites, which must see the gradient of the whole batch.
        optimizer=lambda: keras.optimizers.SGD(0.02, momentum=0.5, global_clipnorm=0.5),
        validate=validate,
        checkpoint_path=options.checkpoint,
        progress=False,
    )
    resumed = EPOCHS - len(epochs_seen)
    print(f"{machine.num_workers} workers, resumed after epoch {resumed}")
    weights = {f"weight{i}": w for i, w in enumerate(training.model.get_weights())}
    losses_seen = np.array([record["loss"] for record in training.history])
    squares = distribute.embed_in_shares(
        machine, lambda items: {"square": np.array(items, np.float32)[:, None] ** 2}, range(7)
    )
    np.savez(options.result, losses=losses_seen, **squares, **weights)


if __name__ == "__main__":
    main()
