"""The one option that all input pipelines of the project share."""

import tensorflow as tf


def untuned(dataset):
    """Switches the autotuning of a `tf.data.Dataset` off; nothing here needs it.

    With it, the end of an iteration can take ten seconds, until the tuning thread wakes up and
    finds that it is over: longer than many an epoch of this project.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
