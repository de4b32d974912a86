"""Loads Keras, and the backend under it, without the noise of a start.

TensorFlow's C++ side writes to file descriptor 2 whatever the log level, so only redirecting the
descriptor around its import keeps a notebook's first cell clean. Errors still surface: Python
raises them.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """What is written to file descriptor 2 in this block goes nowhere.

    The log level that covers TensorFlow's later messages is set too, and its fast kernels, which
    are off by default on AMD: embedding and training become about 1.5 times as fast there.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
        # A notebook that trains one small model per fold is told each time that it traces again.
        logging.getLogger("tensorflow").setLevel("ERROR")
