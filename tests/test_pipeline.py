"""The option is set, and changes nothing of what comes out."""

import tensorflow as tf

from tll_utils import pipeline


def test_untuned_keeps_the_elements_and_switches_the_tuning_off():
    dataset = pipeline.untuned(tf.data.Dataset.range(5).map(lambda x: 2 * x).prefetch(1))
    assert dataset.options().autotune.enabled is False
    assert list(dataset.batch(2).as_numpy_iterator())[2].tolist() == [8]
