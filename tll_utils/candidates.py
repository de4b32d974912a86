"""Trains the candidate network: fresh candidate sets every epoch, on stored features or images.

Both roads run `distribute.fit` on the graphs of `models.dual` with the same head and loss.
"""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from scipy import linalg

from tll_utils import adaption, backbones, distribute, images, losses, scoring, training
from tll_utils.features import POOLINGS, Views
from tll_utils.models import dual


def join_views(parts: Mapping[str, Sequence[Mapping[str, Views]]]) -> tuple[Views, list[int]]:
    """Lays the features of one or two backbones side by side, as `dual.feature_head` takes them.

    Args:
        parts: For each backbone one or more results of `Experiment.embed` with the same keys, as
            of the images and of their mirror images: these are averaged.

    Returns:
        The joined `Views`, and the number of features of each backbone.
    """
    blocks = []
    for versions in parts.values():
        means = [_mean([version[key] for version in versions]) for key in versions[0]]
        blocks.append(Views(*(np.concatenate(role, axis=1) for role in zip(*means, strict=True))))
    joined = Views(*(np.concatenate(role, axis=1) for role in zip(*blocks, strict=True)))
    return joined, [block.left.shape[1] for block in blocks]


def _mean(versions: Sequence[Views]) -> Views:
    return Views(*(sum(role) / len(versions) for role in zip(*versions, strict=True)))


def start_from_pairs(
    head: keras.Model, left: np.ndarray, right: np.ndarray, *, shrinkage: float = 0.3
) -> keras.Model:
    """Sets a fresh head to the closed-form solution that training starts from.

    Each backbone's features are standardised; its projection becomes their principal components,
    whitened within pairs (`adaption.within_pair_whitening`). The second projection is turned to
    agree with the first, which changes no cosine but lets an average mean something. Projections
    so found are frozen: with thousands of features and few pairs, training them only overfits.

    Args:
        head: From `dual.feature_head`; changed in place.
        left, right: Features of matching images, `(pairs, sum(dims))`, of the training side only.
        shrinkage: In (0, 1]; see `adaption.within_pair_whitening`.

    Returns:
        The head.
    """
    start, first = 0, None
    for i in range(sum(layer.name.startswith("standardise_") for layer in head.layers)):
        standardise, project = head.get_layer(f"standardise_{i}"), head.get_layer(f"project_{i}")
        block = slice(start, start + standardise.mean.shape[0])
        start = block.stop
        raw = np.concatenate([left[:, block], right[:, block]]).astype(np.float32)
        rooted = keras.ops.convert_to_numpy(dual.signed_root(raw))
        deviation = rooted.std(axis=0)
        # A unit that hardly ever fires must not be blown up to the size of the others.
        scale = 1 / np.maximum(deviation, 0.05 * deviation.mean() + 1e-6)
        standardise.set_weights([rooted.mean(axis=0), scale])
        sides = np.split(keras.ops.convert_to_numpy(standardise(raw)), 2)
        components = adaption.principal_components(*sides, project.units)
        reduced = [components(side) for side in sides]
        whitening = adaption.within_pair_whitening(*reduced, shrinkage=shrinkage)
        # The chain is one affine map: its value at 0 is the bias, at the unit vectors the kernel.
        size = components.scale.shape[1]  # below `units` if there are few pairs
        kernel, bias = np.zeros(project.kernel.shape, np.float32), np.zeros(project.units)
        offset = whitening(np.zeros((1, size), np.float32))
        matrix = whitening(np.eye(size, dtype=np.float32)) - offset
        kernel[:, :size] = components.scale @ matrix
        bias[:size] = offset[0] - components.mean @ kernel[:, :size]
        projections = scoring.unit_norm(np.concatenate(sides) @ kernel + bias)
        first = projections if first is None else first
        turn, _ = linalg.orthogonal_procrustes(projections, first)
        project.set_weights([kernel @ turn, bias @ turn])
        project.trainable = False
    return head


def draw_rows(
    pairs: np.ndarray,
    groups: np.ndarray,
    *,
    num_candidates: int | None,
    batch_size: int,
    seed: int,
    epoch: int,
) -> tuple[np.ndarray, ...]:
    """Draws an epoch: every training pair once, in a new order, with new candidates.

    Args:
        pairs: Int `(n,)`, indices of the training pairs: all candidates are rights of theirs.
        groups: Int, one per pair of the data set; see `scoring.draw_candidates`.
        num_candidates: m; None = the rights of the batch.
        batch_size: Rows that one replica sees at once; matters for `num_candidates=None` only.
        seed, epoch: Together they determine the draw.

    Returns:
        query: Int `(n,)`, the pair whose left image asks.
        candidates: Int `(n, m)` pairs whose right images are offered; `(n,)` without m.
        place: Int `(n,)`, which of them is the match.
    """
    order = np.random.default_rng([seed, epoch, 0]).permutation(len(pairs))
    if num_candidates is None:
        return pairs[order], pairs[order], np.arange(len(pairs)) % batch_size
    chosen, place = scoring.draw_candidates(
        np.zeros(len(pairs), int), m=num_candidates, seed=[seed, epoch, 1], groups=groups[pairs]
    )
    return pairs[order], pairs[chosen[order]], place[order]


def image_encoder(
    head: keras.Model,
    keys: Mapping[str, Sequence[str]],
    *,
    weights: Mapping[str, str],
    size: tuple[int, int] | None = None,
    mirror: bool = False,
    trainable: bool | str = False,
) -> keras.Model:
    """Puts a head onto its backbones, so that it takes images; see `dual.image_encoder`.

    Args:
        head: From `dual.feature_head`; its dims are those of the features below.
        keys: For each backbone, in the head's order, its features, each `"tap/pooling"`.
        weights: For each backbone what `backbones.resolve_weights` returns.
        size: `(height, width)` of the images. Defaults to that of the first backbone.
        mirror: Whether features are averaged with those of the mirrored image.
        trainable: What of the backbones is trained; see `backbones.build`.
    """
    size = size or backbones.get(next(iter(keys))).size
    networks = []
    for name, wanted in keys.items():
        taps = list(dict.fromkeys(key.rsplit("/", 1)[0] for key in wanted))
        options = {"weights": weights[name], "size": size, "taps": taps, "trainable": trainable}
        networks.append((backbones.build(name, **options), wanted))
    return dual.image_encoder(head, networks, poolings=POOLINGS, mirror=mirror)


def embed(encoder: keras.Model, inputs: np.ndarray, *, batch_size: int = 256) -> np.ndarray:
    """Runs an encoder over its inputs, each once. Returns float32 `(n, d)`."""
    batches = [inputs[i : i + batch_size] for i in range(0, len(inputs), batch_size)]
    run = [encoder(batch, training=False) for batch in batches]
    return np.concatenate([keras.ops.convert_to_numpy(rows) for rows in run])


def load_images(paths: Sequence[Path], *, size: tuple[int, int]) -> np.ndarray:
    """Reads images for an image encoder. Returns float32 RGB in [0, 255] `(n, h, w, 3)`."""
    return np.stack([images.decode(str(path), size=size) for path in paths]).astype(np.float32)


def fetch_images(
    lefts: Sequence[str], rights: Sequence[str], *, size: tuple[int, int]
) -> Callable[..., tuple]:
    """The `fetch` of `distribute.fit` on images: from `draw_rows` to decoded batches.

    Args:
        lefts, rights: Image files of the pairs.
        size: `(height, width)` to resize to.
    """
    lefts, rights = tf.constant(lefts), tf.constant(rights)

    def load(paths):
        flat = tf.reshape(paths, [-1])
        pixels = tf.map_fn(
            lambda path: tf.cast(images.decode(path, size=size), tf.float32),
            flat,
            fn_output_signature=tf.TensorSpec((*size, 3), tf.float32),
        )
        return tf.reshape(pixels, (*paths.shape, *size, 3))

    def fetch(query, candidates, place):
        return {
            "query": load(tf.gather(lefts, query)),
            "candidates": load(tf.gather(rights, candidates)),
        }, place

    return fetch


def scorer_of(encoder: keras.Model) -> Callable[..., np.ndarray]:
    """A scorer for `Experiment.cross_validate`: `(1 + cosine) / 2` of embeddings, in [0, 1]."""

    def score(queries, gallery, candidates):
        pair = embed(encoder, queries), embed(encoder, gallery)
        return (1 + scoring.cosine_scores(*pair, candidates)) / 2

    return score


@dataclasses.dataclass(eq=False)
class HeadTraining:
    """Trains a head on stored features, one fold at a time: the `fit` of `cross_validate`.

    A part of the training side is held out to keep the best epoch by its top-2 accuracy, averaged
    over all candidate lists that could be drawn from it; the fold that is reported is not looked
    at. The best head goes to `models_dir/<name>_fold<i>.keras`, and `logs_dir/<name>_fold<i>.csv`
    has a line per epoch.

    Attributes:
        name: Of the system; in file names.
        views: Features of all pairs, from `join_views`.
        dims: Number of features of each backbone, from `join_views`.
        groups: Int `(pairs,)`, near-duplicate groups.
        join, units, dropout: See `dual.feature_head`.
        shrinkage: See `start_from_pairs`; None = start from random projections.
        loss: On scores in [0, 1] and the place of the match.
        num_candidates: m; None = all rights of the batch.
        batch_size, epochs, learning_rate: Of the training.
        machine: From `distribute.choose`.
        histories: Per fold, one dict per epoch; filled by the trainings.
        best_epochs: Per fold, the epoch whose head was kept; likewise.
    """

    name: str
    views: Views
    dims: Sequence[int]
    groups: np.ndarray
    models_dir: Path
    logs_dir: Path
    machine: distribute.Machine
    seed: int
    join: str = "concat"
    units: int = 512
    dropout: float = 0.3
    shrinkage: float | None = 0.3
    loss: keras.losses.Loss = dataclasses.field(default_factory=losses.CandidateSoftmaxLoss)
    num_candidates: int | None = None
    batch_size: int = 256
    epochs: int = 12
    learning_rate: float = 3e-4
    histories: dict[int, list[dict]] = dataclasses.field(default_factory=dict)
    best_epochs: dict[int, int] = dataclasses.field(default_factory=dict)

    def __call__(self, train: np.ndarray, fold: int) -> Callable[..., np.ndarray]:
        """Trains on the pairs `train` and returns a scorer."""
        # The graphs of the training before refer to themselves, and to a copy of the features.
        gc.collect()
        fitted, held_out = training.hold_out(train, self.groups, seed=self.seed)
        # Rows beyond the last full batch wait for another epoch's order; few pairs, small batch.
        replicas = self.machine.num_replicas
        batch_size = max(replicas, min(self.batch_size, len(fitted)) // replicas * replicas)
        left, right = tf.constant(self.views.left), tf.constant(self.views.right)

        def build():
            head = dual.feature_head(
                self.dims, join=self.join, units=self.units, dropout=self.dropout, seed=self.seed
            )
            if self.shrinkage is not None:
                pairs = self.views.left[fitted], self.views.right[fitted]
                start_from_pairs(head, *pairs, shrinkage=self.shrinkage)
            if self.num_candidates is None:
                return dual.in_batch_model(head)
            return dual.candidate_model(head, num_candidates=self.num_candidates)

        def validate(model):
            sides = (v[held_out] for v in (self.views.left, self.views.right))
            embeddings = [embed(dual.encoder_of(model), side) for side in sides]
            return {"val_top_2_accuracy": adaption.expected_top_k(*embeddings)}

        result = distribute.fit(
            self.machine,
            build,
            loss=self.loss,
            draw=lambda epoch: draw_rows(
                fitted,
                self.groups,
                num_candidates=self.num_candidates,
                batch_size=batch_size // replicas,
                seed=self.seed,
                epoch=epoch,
            ),
            fetch=lambda query, candidates, place: (
                {"query": tf.gather(left, query), "candidates": tf.gather(right, candidates)},
                place,
            ),
            batch_size=batch_size,
            epochs=self.epochs,
            optimizer=lambda: keras.optimizers.Adam(self.learning_rate),
            validate=validate,
            log_path=self.logs_dir / f"{self.name}_fold{fold}.csv",
        )
        self.histories[fold], self.best_epochs[fold] = result.history, result.best_epoch
        head = dual.encoder_of(result.model)
        if self.machine.is_chief:
            distribute.save_model(head, self.models_dir / f"{self.name}_fold{fold}.keras")
        return scorer_of(head)
