"""Importing this module loads TensorFlow, with its fast kernels and without its start-up noise.

TensorFlow's C++ side writes to file descriptor 2 whatever the log level, so only redirecting the
descriptor around the first import and the first operation keeps a notebook's first cell clean.
Errors still surface: Python raises them.
"""

import contextlib
import os

# The log level covers the messages that come later.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Off by default on AMD; there it makes embedding and training about 1.5 times as fast.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


@contextlib.contextmanager
def _silent_stderr():
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


with _silent_stderr():
    import tensorflow as tf

    tf.zeros(1)

# A notebook that trains one small model per fold is told each time that it traces a new function.
tf.get_logger().setLevel("ERROR")
