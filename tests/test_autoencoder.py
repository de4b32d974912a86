"""Shapes and ranges of the autoencoder, and that it learns what it is shown."""

import keras
import numpy as np
import pytest

from tll_utils.models import autoencoder


def test_report_sizes():
    model = autoencoder.autoencoder((128, 128, 1), **autoencoder.REPORT)
    assert autoencoder.encoder_of(model).output_shape == (None, 16 * 16 * 32)
    assert model.output_shape == (None, 128, 128, 1)
    encoder = [320, 9248, 9248]  # 3×3 kernels of 1, 32 and 32 channels, 32 of them, and biases
    decoder = [4624, 2320, 2320, 145]
    assert model.count_params() == sum(encoder + decoder)


def test_output_is_a_probability_and_follows_the_training():
    keras.utils.set_random_seed(0)
    model = autoencoder.autoencoder((16, 8, 1), filters=(4, 4))
    source = np.random.default_rng(0).integers(0, 256, (8, 16, 8, 1)).astype(np.float32)
    target = np.ones((8, 16, 8, 1), np.float32)
    model.compile(keras.optimizers.Adam(0.03), "binary_crossentropy", jit_compile=False)
    before = model.predict(source, verbose=0)
    model.fit(source, target, epochs=20, verbose=0)
    after = model.predict(source, verbose=0)
    assert before.min() >= 0 and after.max() <= 1
    assert after.mean() > 0.9 > before.mean()


def test_slope_zero_is_relu_and_kills_negative_signals():
    leaky, relu = (
        autoencoder.encoder_of(autoencoder.autoencoder((8, 8, 1), filters=(4,), leaky_slope=slope))
        for slope in (0.3, 0.0)
    )
    relu.set_weights(leaky.get_weights())
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1))
    leaky, relu = np.asarray(leaky(pixels)), np.asarray(relu(pixels))
    assert leaky.min() < 0
    np.testing.assert_allclose(relu, np.maximum(leaky, 0), atol=1e-6)


def test_sides_that_cannot_be_halved_are_refused():
    with pytest.raises(ValueError, match="divisible by 8"):
        autoencoder.autoencoder((20, 16, 1))


def test_encoding_head_gives_unit_vectors():
    head = autoencoder.encoding_head((7,), embedding_dim=3)
    out = np.asarray(head(np.random.default_rng(0).normal(size=(5, 7))))
    np.testing.assert_allclose(np.linalg.norm(out, axis=1), 1, atol=1e-5)
