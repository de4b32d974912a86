"""What `fit` iterates: the batches as they were drawn, however many are asked for at once."""

import gc
import types
import weakref

import numpy as np
import pytest

from tll_utils import generators, pipeline

VIEWS = types.SimpleNamespace(left=np.eye(10, 3, dtype=np.float32), right=np.eye(10, 3))


def model(replicas=1):
    strategy = types.SimpleNamespace(num_replicas_in_sync=replicas)
    return types.SimpleNamespace(distribute_strategy=strategy)


def batches(size=4, **options):
    return generators.matches(VIEWS, np.arange(10), **{"batch_size": size, **options})


def test_shapes_are_static_where_all_batches_are_alike():
    dataset = pipeline.as_dataset(model(), batches(4))
    assert dataset.element_spec[0].shape == (4, 2, 3) and len(dataset) == 2
    dataset = pipeline.as_dataset(model(), batches(4, drop_remainder=False))
    assert dataset.element_spec[0].shape == (None, 2, 3) and len(dataset) == 3


@pytest.mark.parametrize("at_once", [1, 2, 3, 100])
@pytest.mark.parametrize("size", [1, 3, 4, 10])
@pytest.mark.parametrize("drop_remainder", [True, False])
def test_batches_are_those_of_the_epoch(at_once, size, drop_remainder, monkeypatch):
    whole = batches(size, drop_remainder=drop_remainder)
    monkeypatch.setattr(pipeline, "_BYTES_AT_ONCE", at_once * whole[0][0].nbytes)
    dataset = pipeline.as_dataset(model(), whole)
    for epoch in (0, 1):
        whole.epoch = epoch
        drawn = list(dataset.as_numpy_iterator())
        assert len(drawn) == len(dataset) == whole.num_batches
        for index, (inputs, targets) in enumerate(drawn):
            np.testing.assert_array_equal(inputs, whole[index][0])
            np.testing.assert_array_equal(targets, whole[index][1])


@pytest.mark.parametrize("at_once", [1, 100])
def test_validation_rows_that_replicas_cannot_share_are_left_out(at_once, monkeypatch):
    monkeypatch.setattr(pipeline, "_BYTES_AT_ONCE", at_once * 100)
    for size, expected in [(5, [4, 4]), (3, [2, 2, 2]), (4, [4, 4, 2])]:  # 3, 3, 3 and 1 left over
        dataset = pipeline.as_dataset(model(replicas=2), batches(size, drop_remainder=False))
        assert [len(inputs) for inputs, _ in dataset.as_numpy_iterator()] == expected


def test_images_are_forgotten_with_the_pipeline():
    image = np.zeros((10, 3), np.float32)
    views = types.SimpleNamespace(left=image, right=image.copy())
    known = weakref.ref(views.right)
    dataset = pipeline.as_dataset(model(), generators.matches(views, np.arange(10), batch_size=4))
    del views
    assert len(list(dataset)) == 2 and known() is not None  # they live as long as it does
    del dataset
    gc.collect()
    assert known() is None
