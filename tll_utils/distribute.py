"""Picks the machine's `tf.distribute` strategy, and trains and embeds under any of them.

`fit` is a loop of its own because `keras.Model.fit` refuses several workers (Keras 3). One loop
serves every strategy: a CPU, one GPU, several GPUs, several machines, a TPU. Each step works on one
*global* batch; every replica takes its share of the rows, and the sum of the shares' gradients is
the gradient of the whole batch, so that the number of replicas does not change what is learned.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import urllib.error
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tll_utils import pipeline
from tll_utils import progress as progress_bars

# Names that the environment of a TPU host carries: without one, nobody waits for a resolver.
_TPU_MARKS = ("TPU_NAME", "TPU_WORKER_ID", "COLAB_TPU_ADDR", "TPU_ACCELERATOR_TYPE")


# -- the machine --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Machine:
    """What `choose` found: the strategy, the dtype policy, and a sentence that says so."""

    strategy: tf.distribute.Strategy
    precision: str = "float32"
    description: str = "default strategy"

    @property
    def num_replicas(self) -> int:
        """Replicas over all workers."""
        return self.strategy.num_replicas_in_sync

    @property
    def num_workers(self) -> int:
        """Processes that train together."""
        resolver = self.strategy.cluster_resolver
        return num_workers(resolver.cluster_spec().as_dict()) if resolver else 1

    @property
    def worker(self) -> int:
        """Index of this process among the workers; worker 0, the chief, writes the files."""
        resolver = self.strategy.cluster_resolver
        if self.num_workers < 2 or resolver.task_type == "chief":
            return 0
        return resolver.task_id + len(resolver.cluster_spec().as_dict().get("chief", []))

    @property
    def is_chief(self) -> bool:
        return self.worker == 0


def choose(
    *,
    environ: Mapping[str, str] = os.environ,
    mixed_precision: bool = True,
    say: Callable[[str], None] = print,
) -> Machine:
    """Picks the strategy of this machine and says which.

    A TPU if there is one; else several workers if `TF_CONFIG` names them; else all GPUs if there
    is more than one; else the default strategy. Call it first in a program of several workers:
    their strategy must exist before TensorFlow runs anything.

    Args:
        environ: Where `TF_CONFIG` and the TPU's marks are looked up.
        mixed_precision: Whether to use 16-bit floats where the device is fast with them: bfloat16
            on TPU and on GPUs of compute capability 8 and more, float16 on 7.
        say: Receives the sentence, and one more if a TPU was announced but did not answer.

    Raises:
        ValueError: If `TF_CONFIG` is not what TensorFlow expects.
    """
    machine = _tpu(environ, say) or _several_workers(environ) or _local()
    precision = _fast_precision(machine.strategy) if mixed_precision else "float32"
    description = f"{machine.description}, {precision}"
    say(description)
    return Machine(machine.strategy, precision, description)


def _tpu(environ, say) -> Machine | None:
    if not any(environ.get(mark) for mark in _TPU_MARKS):
        return None
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
    return Machine(
        strategy, description=f"TPU with {strategy.num_replicas_in_sync} cores: TPUStrategy"
    )


def _several_workers(environ) -> Machine | None:
    text = environ.get("TF_CONFIG")
    if not text:
        return None
    try:
        config = json.loads(text)
        cluster, task = config.get("cluster", {}), config.get("task", {})
        count = num_workers(cluster)
        known = {(kind, i) for kind, hosts in cluster.items() for i in range(len(hosts))}
    except (json.JSONDecodeError, AttributeError, TypeError) as error:
        raise ValueError(
            'TF_CONFIG must be JSON like {"cluster": {"worker": ["host0:12345", "host1:12345"]}, '
            f'"task": {{"type": "worker", "index": 0}}}}. Received: {text!r}'
        ) from error
    if count < 2:
        return None
    if (task.get("type"), task.get("index")) not in known:
        raise ValueError(
            "TF_CONFIG's task must be one of the cluster's own: type and index of this machine. "
            f"Expected one of {sorted(known)}. Received: {task}"
        )
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    return Machine(
        strategy,
        description=f"worker {task['index'] + 1} of {count}, "
        f"{strategy.num_replicas_in_sync} replicas in all: MultiWorkerMirroredStrategy",
    )


def num_workers(cluster: Mapping[str, list[str]]) -> int:
    """Counts the training processes of a TF_CONFIG cluster: the chief and the workers."""
    return len(cluster.get("chief", [])) + len(cluster.get("worker", []))


def _local() -> Machine:
    gpus = tf.config.list_logical_devices("GPU")
    if len(gpus) > 1:
        return Machine(
            tf.distribute.MirroredStrategy(), description=f"{len(gpus)} GPUs: MirroredStrategy"
        )
    device = "one GPU" if gpus else "CPU"
    return Machine(tf.distribute.get_strategy(), description=f"{device}: default strategy")


def _fast_precision(strategy) -> str:
    if isinstance(strategy, tf.distribute.TPUStrategy):
        return "mixed_bfloat16"
    details = [
        tf.config.experimental.get_device_details(gpu)
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    capability = min((d.get("compute_capability", (0, 0)) for d in details), default=(0, 0))
    if capability >= (8, 0):
        return "mixed_bfloat16"
    return "mixed_float16" if capability >= (7, 0) else "float32"


@contextlib.contextmanager
def building(machine: Machine):
    """Scope in which a model's variables belong to the machine's replicas, in its precision."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(machine.precision)
    try:
        with machine.strategy.scope():
            yield
    finally:
        keras.config.set_dtype_policy(policy)


# -- the training loop --------------------------------------------------------------------------


@dataclass(eq=False)
class Training:
    """A finished training.

    `history` has one dict per epoch: `epoch` from 1, `loss`, and what `validate` returned. `model`
    carries the weights of the best epoch when there was something to choose it by, else the last.
    """

    model: keras.Model
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0


def fit(
    machine: Machine,
    build: Callable[[], keras.Model],
    *,
    loss: Callable,
    draw: Callable[[int], tuple[np.ndarray, ...]],
    fetch: Callable[..., tuple[Any, Any]],
    batch_size: int,
    epochs: int,
    optimizer: Callable[[], keras.optimizers.Optimizer] = keras.optimizers.Adam,
    validate: Callable[[keras.Model], dict[str, float]] | None = None,
    monitor: str = "val_top_2_accuracy",
    checkpoint_path: str | os.PathLike | None = None,
    best_path: str | os.PathLike | None = None,
    log_path: str | os.PathLike | None = None,
    tensorboard_dir: str | os.PathLike | None = None,
    progress: bool = True,
) -> Training:
    """Trains a model on one replica or many with the same result.

    Args:
        machine: From `choose`.
        build: Returns the model; called in the strategy's scope. Seed its initialisers.
        loss: `loss(targets, outputs)` → one value per row; or a `keras.losses.Loss`, whose `call`
            gives that. The mean over the *global* batch is minimised, plus the model's own
            regularisation losses.
        draw: `draw(epoch)` → arrays of equal length, one row per example, in the order to be
            trained on; from the epoch's number alone, so that every worker and every resumed run
            draws the same. Usually integers that say which images to take.
        fetch: `fetch(*rows)` → `(inputs, targets)`: turns the rows of one replica's batch into
            tensors; runs inside `tf.data`. Only a worker's own rows are ever fetched.
        batch_size: Rows per step over all replicas; rows that do not fill a batch are left out.
        epochs: Number of epochs in all, those before a resume included.
        optimizer: Makes the optimizer; called in the strategy's scope.
        validate: `validate(model)` → metrics of the epoch, such as `val_top_2_accuracy`.
        monitor: The metric (higher = better) whose best epoch is kept; the first of equals.
        checkpoint_path: `.npz` written by the chief after each epoch. If it is there at the start,
            training goes on from it; the workers need no common disk.
        best_path: `.keras` file of the best epoch's model, written by the chief.
        log_path: CSV with one line per epoch, written by the chief.
        tensorboard_dir: Where to write TensorBoard scalars, if at all.
        progress: Whether to show a bar.

    Returns:
        The `Training`: model, history and best epoch.

    Raises:
        ValueError: If the replicas cannot share a batch evenly, an epoch holds less than one
            batch, or the checkpoint belongs to another model.
        FloatingPointError: If the loss of an epoch is not a finite number.
    """
    strategy, replicas = machine.strategy, machine.num_replicas
    if batch_size % replicas:
        raise ValueError(
            f"batch_size must be a multiple of the {replicas} replicas. Received: {batch_size}"
        )
    with building(machine):
        model, optimizer = build(), optimizer()
        # Keras would sum the replicas' gradients only after each has clipped its own and looked
        # for overflow alone. The step sums them first, so the optimizer must not do it again.
        optimizer._all_reduce_sum_gradients = lambda gradients_and_variables: (
            gradients_and_variables
        )
        if machine.precision == "mixed_float16":
            # Small gradients vanish in float16 unless the loss is scaled up first.
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        optimizer.build(model.trainable_variables)
    state = _State(model, optimizer, machine, checkpoint_path)
    state.restore()
    step = _train_step(model, optimizer, loss, strategy, batch_size)
    batches = iter(_batches(machine, draw, fetch, batch_size, range(state.epoch, epochs)))
    compiled = None
    num_steps = _num_steps(draw, batch_size) if state.epoch < epochs else 0
    logs = _Logs(log_path, tensorboard_dir) if machine.is_chief else None

    shown = progress and machine.is_chief
    bar = progress_bars.bar(range(state.epoch, epochs), desc="train", unit=" epochs", shown=shown)
    for _ in bar:
        # Summing on the device keeps the host from waiting on every step.
        total = 0.0
        for _ in range(num_steps):
            batch = next(batches)
            # Traced by hand: TensorFlow would take a second training for a mistake, and warn.
            compiled = compiled or step.get_concrete_function(*batch)
            total += compiled(*batch)
        record = {"epoch": state.epoch + 1, "loss": float(total) / num_steps}
        if not np.isfinite(record["loss"]):
            raise FloatingPointError(
                f"The loss of epoch {record['epoch']} is {record['loss']}: lower the learning rate."
            )
        record |= {k: float(v) for k, v in (validate(model) if validate else {}).items()}
        if state.finish_epoch(record, monitor) and best_path and machine.is_chief:
            save_model(model, best_path)
        if logs:
            logs.write(state.history)
        state.save()
        bar.set_postfix({k: f"{v:.3f}" for k, v in record.items() if k != "epoch"})
    state.restore_best()
    return Training(model, state.history, state.best_epoch)


def _train_step(model, optimizer, loss, strategy, batch_size):
    per_row = loss.call if isinstance(loss, keras.losses.Loss) else loss
    variables = model.trainable_variables
    replicas = strategy.num_replicas_in_sync

    def replica_step(inputs, targets):
        with tf.GradientTape() as tape:
            rows = tf.cast(per_row(targets, model(inputs, training=True)), tf.float32)
            # Shares of the global mean: their sum over replicas is the loss of the whole batch.
            share = tf.reduce_sum(rows) / batch_size
            if model.losses:
                share += tf.add_n(model.losses) / replicas
            scaled = optimizer.scale_loss(share)
        gradients = tape.gradient(scaled, variables)
        if replicas > 1:
            context = tf.distribute.get_replica_context()
            gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        optimizer.apply(gradients, variables)
        return share

    @tf.function
    def step(inputs, targets):
        shares = strategy.run(replica_step, args=(inputs, targets))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, shares, axis=None)

    return step


# -- rows to replicas ---------------------------------------------------------------------------


def _num_steps(draw, batch_size):
    num_rows = len(draw(0)[0])
    if num_rows < batch_size:
        raise ValueError(
            f"An epoch must hold at least one batch of {batch_size} rows. Received: {num_rows}"
        )
    return num_rows // batch_size


def _batches(machine, draw, fetch, batch_size, epochs):
    """One endless row of batches over all epochs: the pipeline is traced once per training."""
    signature = tuple(
        tf.TensorSpec((batch_size // machine.num_replicas, *rows.shape[1:]), rows.dtype)
        for rows in draw(0)
    )

    def shares_of(context):
        def shares():
            for epoch in epochs:
                yield from shares_of_worker(
                    draw(epoch),
                    batch_size=batch_size,
                    worker=context.input_pipeline_id,
                    num_workers=context.num_input_pipelines,
                    num_replicas=context.num_replicas_in_sync,
                )

        dataset = tf.data.Dataset.from_generator(shares, output_signature=signature)
        return pipeline.untuned(dataset.map(fetch).prefetch(2))

    return machine.strategy.distribute_datasets_from_function(shares_of)


def shares_of_worker(rows, *, batch_size, worker, num_workers, num_replicas):
    """Yields a worker's share of each global batch, one piece per replica of its own.

    Args:
        rows: Tuple of arrays of equal length; whole batches of them are used.
        batch_size: Rows of a global batch.
        worker: Index of the worker.
        num_workers: Number of workers.
        num_replicas: Number of replicas over all workers.

    Yields:
        Tuples of arrays of `batch_size / num_replicas` rows.
    """
    size = batch_size // num_replicas
    own = num_replicas // num_workers
    for start in range(0, len(rows[0]) - batch_size + 1, batch_size):
        for replica in range(worker * own, (worker + 1) * own):
            piece = slice(start + replica * size, start + (replica + 1) * size)
            yield tuple(array[piece] for array in rows)


def embed_in_shares(
    machine: Machine,
    embed: Callable[[Sequence[Path]], Mapping[str, np.ndarray]],
    paths: Sequence[Path],
) -> dict[str, np.ndarray]:
    """Shares the embedding of images out over the workers and the GPUs of each.

    Args:
        machine: From `choose`. Every worker calls this with the same paths.
        embed: `embed(paths)` → arrays with one row per path; say `features.embed` with its
            options bound. Called once per device, in threads, each with its own share.
        paths: All images.

    Returns:
        What `embed(paths)` returns, complete on every worker.
    """
    devices = [d.name for d in tf.config.list_logical_devices("GPU")] or [None]
    own = range(machine.worker, len(paths), machine.num_workers)
    shares = [own[i :: len(devices)] for i in range(len(devices))]

    def embed_share(device, share):
        with tf.device(device):
            return embed([paths[row] for row in share])

    # An empty share would not tell how long the rows of the others are.
    busy = [(device, share) for device, share in zip(devices, shares, strict=True) if len(share)]
    with ThreadPoolExecutor(len(devices)) as pool:
        parts = list(pool.map(embed_share, *zip(*busy, strict=True)))
    result = {}
    for key, first in parts[0].items():
        rows = np.zeros((len(paths), *first.shape[1:]), first.dtype)
        for (_, share), part in zip(busy, parts, strict=True):
            rows[list(share)] = part[key]
        result[key] = _sum_over_workers(machine, rows, contributes=True)
    return result


# -- checkpoints --------------------------------------------------------------------------------


class _State:
    """Everything a training needs to go on: variables, history, the best epoch's weights."""

    def __init__(self, model, optimizer, machine, path):
        self.model, self.machine = model, machine
        self.path = Path(path) if path else None
        self.variables = [*model.variables, *optimizer.variables]
        self.history: list[dict[str, float]] = []
        self.best_epoch = 0
        self.best_score = -np.inf
        self.best_weights: list[np.ndarray] | None = None

    @property
    def epoch(self) -> int:
        """Epochs behind us."""
        return len(self.history)

    def finish_epoch(self, record, monitor) -> bool:
        """Adds the epoch's record; says whether it is the best so far."""
        self.history.append(record)
        if record.get(monitor, -np.inf) <= self.best_score:
            return False
        self.best_epoch, self.best_score = record["epoch"], record[monitor]
        self.best_weights = self.model.get_weights()
        return True

    def restore_best(self):
        if self.best_weights is not None:
            with self.machine.strategy.scope():
                self.model.set_weights(self.best_weights)

    def save(self):
        if self.path is None or not self.machine.is_chief:
            return
        arrays = {f"variable{i}": np.asarray(v) for i, v in enumerate(self.variables)}
        arrays |= {f"best{i}": w for i, w in enumerate(self.best_weights or [])}
        notes = {"history": self.history, "best_epoch": self.best_epoch, "best": self.best_score}
        with replacing(self.path) as path:
            np.savez(path, notes=json.dumps(notes), **arrays)

    def restore(self):
        """Takes up the chief's checkpoint, on every worker, if there is one."""
        arrays = None
        if self.path is not None and self.machine.is_chief and self.path.exists():
            with np.load(self.path) as file:
                arrays = dict(file)
        notes = _from_chief(self.machine, None if arrays is None else str(arrays["notes"]))
        if notes is None:
            return
        notes = json.loads(notes)
        self.history = notes["history"]
        self.best_epoch, self.best_score = notes["best_epoch"], notes["best"]
        values = self._take(arrays, "variable", [np.asarray(v) for v in self.variables])
        with self.machine.strategy.scope():
            for variable, value in zip(self.variables, values, strict=True):
                variable.assign(value)
        if self.best_epoch:
            self.best_weights = self._take(arrays, "best", self.model.get_weights())

    def _take(self, arrays, prefix, current):
        if arrays is None:  # not the chief: the values come over the wire
            return [_from_chief_array(self.machine, value, False) for value in current]
        stored = [arrays[f"{prefix}{i}"] for i in range(sum(k.startswith(prefix) for k in arrays))]
        if [a.shape for a in stored] != [a.shape for a in current]:
            raise ValueError(
                f"{self.path} was written by another model or optimizer: it holds {len(stored)} "
                f"arrays that do not fit the {len(current)} here. Remove it to start anew."
            )
        return [_from_chief_array(self.machine, value, True) for value in stored]


def _from_chief(machine, text):
    """The chief's string, or None, on every worker."""
    if machine.num_workers < 2:
        return text
    data = np.frombuffer(b"" if text is None else text.encode(), np.uint8).astype(np.int32)
    length = int(_from_chief_array(machine, np.int32(len(data)), machine.is_chief))
    padded = data if machine.is_chief else np.zeros(length, np.int32)
    if not length:
        return None
    data = _from_chief_array(machine, padded, machine.is_chief)
    return data.astype(np.uint8).tobytes().decode()


def _from_chief_array(machine, value, is_chief):
    """The chief's array on every worker."""
    return _sum_over_workers(machine, value, contributes=is_chief)


def _sum_over_workers(machine, value, *, contributes):
    """Sums an array over the workers that contribute theirs; the others give its shape only."""
    if machine.num_workers < 2:
        return value
    per_worker = machine.num_replicas // machine.num_workers

    @tf.function
    def collect(value):
        def contribute(value):
            context = tf.distribute.get_replica_context()
            # A worker's replicas hold the same array: its first one speaks for it.
            speaks = tf.equal(context.replica_id_in_sync_group % per_worker, 0) & contributes
            return context.all_reduce(
                tf.distribute.ReduceOp.SUM, tf.where(speaks, value, tf.zeros_like(value))
            )

        return machine.strategy.run(contribute, args=(value,))

    result = machine.strategy.experimental_local_results(collect(tf.constant(value)))[0]
    return result.numpy()


@contextlib.contextmanager
def replacing(path: str | os.PathLike):
    """Gives a path to write to; it takes the place of `path` only once all is written."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.stem}.draft{path.suffix}")
    yield draft
    os.replace(draft, path)


def save_model(model: keras.Model, path: str | os.PathLike) -> None:
    """Saves a `.keras` model so that a reader never meets half a file."""
    with replacing(path) as draft:
        model.save(draft)


class _Logs:
    """One CSV line per epoch, rewritten whole so that a resumed run leaves no double lines."""

    def __init__(self, csv_path, tensorboard_dir):
        self.csv_path = csv_path
        self.writer = (
            tf.summary.create_file_writer(str(tensorboard_dir)) if tensorboard_dir else None
        )

    def write(self, history):
        if self.csv_path:
            with replacing(self.csv_path) as draft, open(draft, "w", newline="") as file:
                writer = csv.DictWriter(file, fieldnames=list(history[-1]))
                writer.writeheader()
                writer.writerows(history)
        if self.writer:
            with self.writer.as_default():
                for name, value in history[-1].items():
                    if name != "epoch":
                        # What `tf.summary.scalar` writes, without needing TensorBoard to do so.
                        value = tf.constant(value, tf.float32)
                        step = history[-1]["epoch"]
                        tf.summary.write(name, value, step=step, metadata=_scalar_metadata())
            self.writer.flush()


def _scalar_metadata():
    metadata = tf.compat.v1.SummaryMetadata(data_class=1)  # 1 = a time series of scalars
    metadata.plugin_data.plugin_name = "scalars"
    return metadata
