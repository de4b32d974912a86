"""Which devices are found, and what several of them refuse before anything starts."""

import gc
import json
import sys
import types
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from tll_utils import generators, machine
from tll_utils.errors import TrainingError

VIEWS = types.SimpleNamespace(left=np.eye(10, 3, dtype=np.float32), right=np.eye(10, 3))


def test_choose_says_what_it_chose():
    said = []
    found = machine.choose(environ={}, say=said.append)
    assert found.num_replicas == 1 and found.is_chief and found.precision == "float32"
    assert said == [found.description] and "default strategy" in said[0]


def test_choose_says_that_an_announced_tpu_does_not_answer():
    said = []
    found = machine.choose(environ={"TPU_NAME": "local"}, say=said.append)
    assert not isinstance(found.strategy, tf.distribute.TPUStrategy)
    assert "falling back" in said[0] and "tensorflow-tpu" in said[0] and "'local'" in said[0]
    assert said[1:] == [found.description]


@pytest.mark.parametrize("text", ["{", '{"cluster": 3}', "[]"])
def test_choose_refuses_a_malformed_tf_config_with_an_example(text):
    with pytest.raises(TrainingError, match="TF_CONFIG must be JSON like"):
        machine.choose(environ={"TF_CONFIG": text}, say=print)


def test_choose_refuses_a_tf_config_that_does_not_name_this_machine():
    config = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}
    with pytest.raises(TrainingError, match=r"Expected one of .*'index': 2"):
        machine.choose(environ={"TF_CONFIG": json.dumps(config)}, say=print)


def test_choose_takes_a_single_worker_for_an_ordinary_machine():
    config = {"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}
    found = machine.choose(environ={"TF_CONFIG": json.dumps(config)}, say=lambda text: None)
    assert found.num_replicas == 1 and "default strategy" in found.description


def test_choose_refuses_several_processes_of_jax(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setitem(sys.modules, "jax", types.SimpleNamespace(process_count=lambda: 2))
    with pytest.raises(TrainingError, match="JAX runs in 2 processes"):
        machine.choose(environ={}, say=print)


def fake_strategy(cluster, task_type=None, task_id=None):
    resolver = types.SimpleNamespace(
        cluster_spec=lambda: tf.train.ClusterSpec(cluster), task_type=task_type, task_id=task_id
    )
    return types.SimpleNamespace(cluster_resolver=resolver)


def test_num_workers_of_a_tpu_host_is_one():
    # Its resolver knows a cluster without workers.
    assert machine.num_workers(fake_strategy({})) == 1
    assert machine.num_workers(types.SimpleNamespace(cluster_resolver=None)) == 1


def test_only_the_first_worker_is_chief():
    workers = {"worker": ["a:1", "b:1"]}
    chief = {"chief": ["a:1"], "worker": ["b:1"]}
    for cluster, kind, index, expected in [
        (workers, "worker", 0, True),
        (workers, "worker", 1, False),
        (chief, "chief", 0, True),
        (chief, "worker", 0, False),
        ({}, None, None, True),
    ]:
        assert machine.Machine(fake_strategy(cluster, kind, index)).is_chief == expected


def test_scope_sets_the_precision_and_gives_it_back():
    found = machine.Machine(tf.distribute.get_strategy(), precision="mixed_bfloat16")
    before = keras.config.dtype_policy().name
    with pytest.raises(ZeroDivisionError), found.scope():
        assert keras.layers.Dense(1).compute_dtype == "bfloat16"
        _ = 1 / 0
    assert keras.config.dtype_policy().name == before


# -- what replicas refuse --------------------------------------------------------------------------


@pytest.fixture
def model():
    """As if built on two replicas of one machine."""
    return types.SimpleNamespace(
        distribute_strategy=types.SimpleNamespace(num_replicas_in_sync=2, cluster_resolver=None),
        steps_per_execution=1,
        optimizer=keras.optimizers.SGD(),
    )


def batches(size=4, **options):
    options = {"drop_remainder": True, **options}
    return generators.matches(VIEWS, np.arange(10), batch_size=size, **options)


def test_check_asks_for_batches_that_replicas_share_evenly(model):
    machine.check(model, batches(4))
    machine.check(model, batches(5 * 2, drop_remainder=False))  # one whole batch
    with pytest.raises(TrainingError, match=r"multiple of 2\. Received: batch_size=5"):
        machine.check(model, batches(5))
    with pytest.raises(TrainingError, match=r"drop_remainder=True .*drop_remainder=False"):
        machine.check(model, batches(4, drop_remainder=False))
    machine.check(model, batches(4), batches(3, drop_remainder=False))
    with pytest.raises(TrainingError, match=r"a row for each\. Received: batch_size=1"):
        machine.check(model, batches(4), batches(1))


def test_check_lets_one_replica_do_what_it_likes(model):
    model.distribute_strategy.num_replicas_in_sync = 1
    machine.check(model, batches(3, drop_remainder=False))


def test_check_refuses_what_hangs_or_fails_on_several_workers(model):
    model.steps_per_execution = 2
    machine.check(model, batches())
    workers = {"worker": ["a:1", "b:1"]}
    model.distribute_strategy.cluster_resolver = fake_strategy(workers).cluster_resolver
    with pytest.raises(TrainingError, match="set steps_per_execution=1"):
        machine.check(model, batches())
    model.steps_per_execution = 1
    machine.check(model, batches())
    model.optimizer = keras.optimizers.LossScaleOptimizer(model.optimizer)
    with pytest.raises(TrainingError, match="use mixed_bfloat16 or float32"):
        machine.check(model, batches())


def test_make_room_frees_a_model_that_nobody_uses():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    watched = weakref.ref(model)
    gc.disable()
    try:
        del model
        assert watched() is not None  # it refers to itself
        machine.make_room()
        assert watched() is None
    finally:
        gc.enable()
