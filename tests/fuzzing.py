"""What `tests/fuzz` shares: how much is tried, what came of it, and how bytes are damaged.

`make test` tries a little of everything, `make fuzz` (TLL_FUZZ=full) much more by the same code.
"""

import contextlib
import io
import os
import signal
import time
from collections import Counter

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tll_utils.errors import TllError

FULL = os.environ.get("TLL_FUZZ") == "full"
SEED = os.environ.get("TLL_FUZZ_SEED", "0")
SECONDS = 5  # of processor time; no file may take longer

tally: dict[str, Counter] = {}  # area → how often it was tried, taken, refused


def times(small, full):
    """How many examples hypothesis draws: the same ones in every `make test`."""
    return settings(
        max_examples=full if FULL else small,
        derandomize=not FULL,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@contextlib.contextmanager
def case(area, *, names="", seconds=SECONDS):
    """One try: what happens in it is right, or a TllError that names what is wrong, and soon."""

    def late(*_):
        raise TimeoutError(f"more than {10 * seconds} s")

    count = tally.setdefault(area, Counter())
    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, 10 * seconds)  # a busy machine is no fault of the code
    begun = time.process_time()
    try:
        yield
        count["taken"] += 1
    except TllError as error:
        assert str(names) in str(error)
        count["refused"] += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.process_time() - begun < seconds
    count["tried"] += 1


@st.composite
def damaged(draw, contents):
    """One of some contents with a few bytes changed, cut, repeated, or put in."""
    content = draw(st.sampled_from(contents))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(content)))
        length = draw(st.sampled_from([1, 2, 4, 40]))
        content = draw(
            st.sampled_from(
                [
                    content[:at],
                    content[:at] + content[at + length :],
                    content[:at] + content[max(0, at - length) :],
                    content[:at] + bytes(length) + content[at + length :],
                    content[:at] + b"\xff" * length + content[at + length :],
                    content[:at] + draw(st.binary(max_size=8)) + content[at:],
                ]
            )
        )
    return content


@st.composite
def spoiled_arrays(draw, arrays):
    """An `.npz` file, arrays of which have another shape or type, or bytes that are others."""
    sound, arrays = arrays, dict(arrays)
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from(sorted(arrays)))
        array = np.asarray(sound[name])
        arrays[name] = draw(
            st.sampled_from(
                [
                    array[..., None],
                    array[:0] if array.ndim else array,
                    array.astype(str),
                    array.astype(float) * np.nan,
                    array.astype(float) + 1e30,
                    array.astype(bool),
                    np.array([{"code": print}, None], object),
                    np.zeros((300, 300)),
                ]
            )
        )
    content = io.BytesIO()
    (np.savez if draw(st.booleans()) else np.savez_compressed)(content, **arrays)
    content = content.getvalue()
    if draw(st.booleans()):  # an array that says it is larger than it is
        content = content.replace(b"(8, 4), }      ", b"(99999999, 9), }")
    return draw(damaged([content]))
