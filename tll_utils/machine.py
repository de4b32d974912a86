"""The devices of this machine: which strategy they take, and what Keras needs on several of them.

TensorFlow: the default strategy, all GPUs, several workers, or a TPU. JAX: all devices by
`keras.distribution`. The only module besides `quiet` that imports either to train with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from tll_utils.errors import TrainingError
from tll_utils.generators import Batches

# Names that the environment of a TPU host carries: without one, nobody waits for a resolver.
_TPU_MARKS = ("TPU_NAME", "TPU_WORKER_ID", "COLAB_TPU_ADDR", "TPU_ACCELERATOR_TYPE")


@dataclass(frozen=True, eq=False)
class Machine:
    """What `choose` found.

    Attributes:
        strategy: The `tf.distribute` strategy; None with JAX.
        num_replicas: Replicas over all workers.
        precision: Keras dtype policy of models built in the scope.
        description: A sentence that says so.
    """

    strategy: Any = None
    num_replicas: int = 1
    precision: str = "float32"
    description: str = "one device"

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Models built and compiled in here belong to all replicas, in the machine's precision."""
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.precision)
        try:
            with self.strategy.scope() if self.strategy else contextlib.nullcontext():
                yield
        finally:
            keras.config.set_dtype_policy(policy)

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the files: true unless it is one worker of several."""
        return self.strategy is None or _worker(self.strategy) == 0


def choose(
    *,
    environ: Mapping[str, str] = os.environ,
    mixed_precision: bool = True,
    say: Callable[[str], None] = print,
) -> Machine:
    """Picks the strategy of this machine and says which.

    With TensorFlow a TPU if there is one; else several workers if `TF_CONFIG` names them; else all
    GPUs if there is more than one; else the default strategy. Call it first in a program of several
    workers: their strategy must exist before TensorFlow runs anything. With JAX all devices.

    Args:
        environ: Where `TF_CONFIG` and the TPU's marks are looked up.
        mixed_precision: Whether to use 16-bit floats where the device is fast with them: bfloat16
            on TPU and on GPUs of compute capability 8 and more, float16 on 7.
        say: Receives the sentence, and one more if a TPU was announced but did not answer.

    Raises:
        TrainingError: If `TF_CONFIG` is not what TensorFlow expects, or JAX has several processes.
    """
    if keras.backend.backend() == "jax":
        strategy, (replicas, device, precision) = None, _jax()
    else:
        strategy, device = _tpu(environ, say) or _several_workers(environ) or _local()
        replicas, precision = strategy.num_replicas_in_sync, _fast_precision(strategy)
    precision = precision if mixed_precision else "float32"
    description = f"{device}, {precision}"
    say(description)
    return Machine(strategy, replicas, precision, description)


def _jax() -> tuple[int, str, str]:
    import jax

    if jax.process_count() > 1:
        raise TrainingError(
            f"JAX runs in {jax.process_count()} processes, each of which would draw every example "
            "and write every file. Use one process, or TensorFlow with TF_CONFIG."
        )
    devices = jax.devices()
    first, count = devices[0], len(devices)
    several = count > 1
    if several:
        keras.distribution.set_distribution(keras.distribution.DataParallel())
    name = f"{first.platform.upper()} {first.device_kind}".replace("CPU cpu", "CPU")
    device = f"JAX on {count} × {name}: {'DataParallel' if several else 'one device'}"
    if first.platform == "tpu":
        return count, device, "mixed_bfloat16"
    capability = getattr(first, "compute_capability", "")  # NVIDIA's "8.0"; AMD's have names
    numbers = tuple(int(part) for part in capability.split(".") if part.isdigit())
    return count, device, _precision_of(numbers)


def _tpu(environ: Mapping[str, str], say: Callable[[str], None]) -> tuple[Any, str] | None:
    if not any(environ.get(mark) for mark in _TPU_MARKS):
        return None
    import urllib.error

    import tensorflow as tf

    name = environ.get("TPU_NAME") or environ.get("COLAB_TPU_ADDR") or "local"
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
        if name != "local":
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, tf.errors.OpError, urllib.error.URLError) as error:
        reason = str(error).splitlines()[0][:120]
        say(
            f"The environment announces a TPU ({name!r}) but TensorFlow cannot reach it: {reason} "
            "— falling back to this machine's own devices. TPUs need the tensorflow-tpu package; "
            "where the image carries JAX instead, set KERAS_BACKEND=jax."
        )
        return None
    strategy = tf.distribute.TPUStrategy(resolver)
    return strategy, f"TPU with {strategy.num_replicas_in_sync} cores: TPUStrategy"


def _several_workers(environ: Mapping[str, str]) -> tuple[Any, str] | None:
    text = environ.get("TF_CONFIG")
    if not text:
        return None
    try:
        config = json.loads(text)
        cluster, task = config.get("cluster", {}), config.get("task", {})
        known = {(kind, i) for kind, hosts in cluster.items() for i in range(len(hosts))}
        count = _num_workers(cluster)
    except (json.JSONDecodeError, AttributeError, TypeError) as error:
        raise TrainingError(
            'TF_CONFIG must be JSON like {"cluster": {"worker": ["host0:12345", "host1:12345"]}, '
            f'"task": {{"type": "worker", "index": 0}}}}. Received: {text!r}'
        ) from error
    if count < 2:
        return None
    if (task.get("type"), task.get("index")) not in known:
        raise TrainingError(
            "TF_CONFIG's task must be one of the cluster's own: type and index of this machine. "
            f"Expected one of {sorted(known)}. Received: {task}"
        )
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    return strategy, (
        f"worker {task['index'] + 1} of {count}, {strategy.num_replicas_in_sync} replicas in all: "
        "MultiWorkerMirroredStrategy"
    )


def _local() -> tuple[Any, str]:
    import tensorflow as tf

    gpus = tf.config.list_logical_devices("GPU")
    if len(gpus) > 1:
        return tf.distribute.MirroredStrategy(), f"{len(gpus)} GPUs: MirroredStrategy"
    return tf.distribute.get_strategy(), f"{'one GPU' if gpus else 'CPU'}: default strategy"


def _fast_precision(strategy: Any) -> str:
    import tensorflow as tf

    if isinstance(strategy, tf.distribute.TPUStrategy):
        return "mixed_bfloat16"
    details = [
        tf.config.experimental.get_device_details(gpu)
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    capability = min((d.get("compute_capability", (0, 0)) for d in details), default=(0, 0))
    precision = _precision_of(capability)
    # Several workers would wait for each other's loss scale forever.
    several = num_workers(strategy) > 1
    return "float32" if several and precision == "mixed_float16" else precision


def _precision_of(capability: tuple[int, ...]) -> str:
    """What a GPU of this compute capability is fast with; (0, 0) and () stand for none."""
    if capability >= (8, 0):
        return "mixed_bfloat16"
    return "mixed_float16" if capability >= (7, 0) else "float32"


def _num_workers(cluster: Mapping[str, list[str]]) -> int:
    """The training processes of a TF_CONFIG cluster: the chief and the workers."""
    return len(cluster.get("chief", [])) + len(cluster.get("worker", []))


def num_workers(strategy: Any) -> int:
    """Processes that train together; 1 also on a TPU host, whose cluster names no workers."""
    resolver = strategy.cluster_resolver
    return max(1, _num_workers(resolver.cluster_spec().as_dict())) if resolver else 1


def _worker(strategy: Any) -> int:
    """Index of this process among the workers; worker 0 is the chief."""
    resolver = strategy.cluster_resolver
    if num_workers(strategy) < 2 or resolver.task_type == "chief":
        return 0
    return resolver.task_id + len(resolver.cluster_spec().as_dict().get("chief", []))


def make_room() -> None:
    """Frees models that nobody uses any more, and gives the system back the memory that is free.

    A Keras model refers to itself: only the collector frees it. And what lies free between arrays
    in use, glibc gives back only if it is asked to.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)


# -- what `training` asks of a model's devices -----------------------------------------------------


def _strategy_of(model: keras.Model) -> Any:
    """The strategy of a model on the TensorFlow backend; else None."""
    return getattr(model, "distribute_strategy", None)


def num_replicas_of(model: keras.Model) -> int:
    """Devices that share the model's batches."""
    strategy = _strategy_of(model)
    if strategy:
        return strategy.num_replicas_in_sync
    distribution = keras.distribution.distribution()
    return distribution.device_mesh.devices.size if distribution else 1


def is_distributed(model: keras.Model) -> bool:
    """Whether a `tf.distribute` strategy has a copy of the model on each of several replicas.

    With JAX there is one model and one batch, which the compiler shares out.
    """
    return _strategy_of(model) is not None and num_replicas_of(model) > 1


def is_chief(model: keras.Model) -> bool:
    """Whether this process writes the files of a training."""
    strategy = _strategy_of(model)
    return strategy is None or _worker(strategy) == 0


def scope_of(model: keras.Model) -> contextlib.AbstractContextManager:
    """The scope in which the model's variables may be made and assigned, also of one replica."""
    strategy = _strategy_of(model)
    return contextlib.nullcontext() if strategy is None else strategy.scope()


def check(model: keras.Model, batches: Batches, validation: Batches | None = None) -> None:
    """Refuses what several replicas cannot do, before anything starts.

    Raises:
        TrainingError: If replicas cannot share a batch evenly, or the settings are known to fail.
    """
    replicas, strategy = num_replicas_of(model), _strategy_of(model)
    if replicas < 2:
        return
    if batches.batch_size % replicas or not batches.drop_remainder:
        raise TrainingError(
            f"{replicas} replicas share a batch evenly: set drop_remainder=True and a batch_size "
            f"that is a multiple of {replicas}. Received: batch_size={batches.batch_size}, "
            f"drop_remainder={batches.drop_remainder}"
        )
    if validation is not None and validation.batch_size < replicas:
        raise TrainingError(
            f"{replicas} replicas share each validation batch: there must be a row for each. "
            f"Received: batch_size={validation.batch_size}"
        )
    if strategy is None:
        return
    if num_workers(strategy) > 1 and model.steps_per_execution > 1:
        raise TrainingError("Several workers take one step at a time: set steps_per_execution=1.")
    if num_workers(strategy) > 1 and isinstance(
        model.optimizer, keras.optimizers.LossScaleOptimizer
    ):
        raise TrainingError(
            "Several workers wait for each other forever with mixed_float16: use mixed_bfloat16 "
            "or float32."
        )


def take_steps_together(model: keras.Model, batches: Batches) -> None:
    """Lets one call do several steps: a small network else waits as long for Python as it works.

    A model that asks for a number of its own, or that has been fitted or evaluated before, keeps
    its number. So do large ones, which nobody could interrupt; epochs of few steps, which would
    not pay for the preparation; several replicas, for which Keras fails; and JAX, where nothing is
    gained.
    """
    if (
        keras.backend.backend() == "tensorflow"
        and num_replicas_of(model) == model.steps_per_execution == 1
        and model.train_function is model.test_function is None
        and model.count_params() < 2**21
        and batches.num_batches >= 8
    ):
        model.steps_per_execution = 16


def first_share(strategy: Any, batch: Any) -> Any:
    """One replica's share of a batch that is spread over replicas."""
    import tensorflow as tf

    return tf.nest.map_structure(lambda v: strategy.experimental_local_results(v)[0], batch)


def gather(rows: Any) -> Any:
    """All replicas' rows, in a replica's step; gradients flow back to where the rows came from."""
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1 or rows is None:
        return rows
    if rows.dtype in (tf.float16, tf.bfloat16):  # collectives do not know bfloat16
        rows = tf.cast(rows, tf.float32)
    # The copy lies on the replica's device. A batch fresh from the pipeline lies on none, and a
    # single replica of a worker would not know where to.
    return context.all_gather(tf.identity(rows), axis=0)


@contextlib.contextmanager
def mend_reduction(model: keras.Model) -> Iterator[None]:
    """Lets Keras average its figures over several workers while the block runs.

    Keras calls `strategy.reduce("MEAN", scalar, axis=0)`, and a scalar has no axis 0
    (keras-team/keras#20585). `tests/test_training.py` says when a release no longer needs this.
    """
    strategy = _strategy_of(model)
    if strategy is None or num_workers(strategy) < 2:
        yield
        return
    import tensorflow as tf
    from keras.src.backend.tensorflow import trainer

    original = trainer.reduce_per_replica

    def reduce_per_replica(values: Any, strategy: Any, reduction: str) -> Any:
        if reduction in ("auto", "mean"):
            return tf.nest.map_structure(lambda v: strategy.reduce("MEAN", v, axis=None), values)
        return original(values, strategy, reduction)

    trainer.reduce_per_replica = reduce_per_replica
    try:
        yield
    finally:
        trainer.reduce_per_replica = original
