"""A damaged shard of features is noticed; in a file of its own, because it waits for Keras."""

import warnings

import numpy as np
import pytest
from fuzzing import case, spoiled_arrays, times
from hypothesis import given

HASHES = np.array([b"%032x" % i for i in range(6)])
FEATURES = {
    "hashes": HASHES,
    "a/avg": np.arange(48, dtype=np.int16).reshape(6, 8),
    "a/avg largest": np.arange(6, dtype=np.float32),
    "b/avg": np.ones((6, 5), np.int16),
    "b/avg largest": np.ones(6, np.float32),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store of a toy; loading Keras takes memory, which is not counted."""
    from tll_utils.features.store import Store

    return Store(tmp_path_factory.mktemp("store"), {"backbone": "toy"})


@times(20, 800)
@given(content=spoiled_arrays(FEATURES))
def test_spoiled_features_are_read_rightly_or_embedded_again(store, content):
    store.folder.mkdir(parents=True, exist_ok=True)
    shard = store.folder / "0.npz"
    shard.write_bytes(content)
    with warnings.catch_warnings(), case("stored features"):
        warnings.simplefilter("ignore")  # which says that the file is damaged
        table = store.read(HASHES, ["a/avg"], ["b/avg"])
        if table.has(["a/avg"]):
            features = table.pop("a/avg")
            assert len(features) == 6 and np.isfinite(features).all()
