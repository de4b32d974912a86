"""Training examples drawn anew each epoch: pairs, triplets, candidate sets, right → left.

An example is a row of indices first; a batch looks its images or features up when it is asked for.
Batch i of epoch e follows from `(seed, e, i)` alone, so that a training that was killed and started
again, and every worker of several, sees the same examples. Images stay in memory once, as bytes.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import keras
import numpy as np

from tll_utils import fingerprint
from tll_utils.mining import Mining

Augment = Callable[[np.ndarray, np.random.Generator], np.ndarray]
Rows = tuple[np.ndarray, ...]


class Sides(Protocol):
    """Anything with the two sides of all pairs, such as `features.Views`."""

    left: Any
    right: Any


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """One kind of examples.

    Attributes:
        draw: `draw(epoch)` → arrays of equal length, one row per example.
        look_up: `look_up(*rows)` → `(inputs, targets)` of some rows.
        sources: Arrays that the examples are made of, each with its rows that are used.
        mining: What `draw` takes its negatives from.
    """

    draw: Callable[[int], Rows]
    look_up: Callable[..., tuple[np.ndarray, np.ndarray]]
    sources: Sequence[tuple[Any, np.ndarray]] = ()
    mining: Mining | None = None


class Batches(keras.utils.PyDataset):
    """The batches of one epoch after the other; what `pairs`, `triplets` and the others return.

    Attributes:
        epoch: Int; `training.fit` sets it before each epoch. Keras's own `fit`, which tells a data
            set only that an epoch has ended, takes one epoch after the other.
        size: Int, examples of an epoch that are used.
        batch_size: Int.
    """

    def __init__(
        self,
        examples: Examples,
        *,
        batch_size: int,
        augment: Augment | None = None,
        seed: int = 0,
        fixed: bool = False,
        drop_remainder: bool = False,
    ):
        """Joins what is drawn with what is looked up.

        Args:
            examples: What is drawn, and how it is looked up.
            batch_size: Int; fewer where there are not so many examples.
            augment: As from `images.augmenter`; changes each image on its own. Training only.
            seed: Int, for `augment`.
            fixed: Bool, always the examples of epoch 0: for validation, whose curve would
                tremble with the draw.
            drop_remainder: Bool, leave a last incomplete batch out.
        """
        super().__init__()
        self._examples, self._augment = examples, augment
        self._seed, self._fixed = seed, fixed
        self._drawn: tuple[int, np.ndarray | None, Rows] | None = None
        self.epoch = 0
        count = len(examples.draw(0)[0])
        if count < 1 or batch_size < 1:
            raise ValueError(
                "There must be at least one example, and one in a batch. "
                f"Received: {count} examples, batch_size={batch_size}"
            )
        self.batch_size = min(batch_size, count)
        self.drop_remainder = drop_remainder or count % self.batch_size == 0
        self.size = count // self.batch_size * self.batch_size if drop_remainder else count

    @property
    def num_batches(self) -> int:
        return -(-self.size // self.batch_size)

    def on_epoch_end(self) -> None:
        """Keras calls this after each epoch."""
        self.epoch += 1

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        epoch = 0 if self._fixed else self.epoch
        rows = slice(index * self.batch_size, min((index + 1) * self.batch_size, self.size))
        # Copies: TensorFlow may compute in place in the arrays that it is given.
        drawn = (column[rows].copy() for column in self._rows_of(epoch))
        inputs, targets = self._examples.look_up(*drawn)
        if self._augment is not None:
            rng = np.random.default_rng((self._seed, epoch, 1, index))  # not the stream of `draw`
            # The images of an example, (batch, k, …), are changed one by one.
            changed = self._augment(inputs.reshape(-1, *inputs.shape[2:]), rng)
            inputs = changed.reshape(*inputs.shape[:2], *changed.shape[1:])
        return inputs, targets

    def _rows_of(self, epoch: int) -> Rows:
        """Draws each epoch once, and again if other negatives were mined in between."""
        mining = self._examples.mining
        mined = mining.negatives if mining else None
        drawn = self._drawn  # one look: a thread that reads ahead may replace it
        if drawn is None or drawn[0] != epoch or drawn[1] is not mined:
            drawn = self._drawn = (epoch, mined, self._examples.draw(epoch))
        return drawn[2]

    def fingerprint(self) -> str:
        """Changes with whatever the examples depend on: data, indices, seed and settings."""
        checksum = 0
        for array in self._examples.draw(0):
            checksum = zlib.crc32(np.ascontiguousarray(array).data, checksum)
        for array, used in self._examples.sources:
            for start in range(0, len(used), 256):  # a copy of all images at once may not fit
                part = np.ascontiguousarray(array[used[start : start + 256]])
                checksum = zlib.crc32(repr((part.shape, part.dtype)).encode(), checksum)
                checksum = zlib.crc32(part.data, checksum)
        augment = fingerprint.of_code(self._augment)
        augment += fingerprint.of_values(getattr(self._augment, "__dict__", {}))
        settings = (self.batch_size, self.size, self._seed, self._fixed, augment)
        return f"{zlib.crc32(repr(settings).encode(), checksum):08x}"


# -- the kinds of examples -------------------------------------------------------------------------


def pairs(
    views: Sides,
    indices: np.ndarray,
    *,
    groups: np.ndarray,
    num_negatives: int = 1,
    negatives: np.ndarray | Mining | None = None,
    seed: int = 0,
    **options: Any,
) -> Batches:
    """Draws each left with its match and with rights that are not.

    Args:
        views: `left` and `right`, arrays whose first axis counts all pairs.
        indices: Int `(n,)`, the pairs to train on; negatives come from nowhere else.
        groups: Int `(all pairs,)`; near-duplicates share a group, and no negative comes from the
            anchor's own.
        num_negatives: Int >= 1, negatives per positive.
        negatives: Int `(n, k)`, pairs whose rights to draw from in place of all others; or a
            `Mining`, which finds them anew.
        seed: Int.
        **options: Of `Batches`: `batch_size`, `augment`, `fixed`, `drop_remainder`.

    Returns:
        Batches of inputs `(batch, 2, …)` and labels `(batch,)`, 1 = match, shuffled.
    """
    indices = np.asarray(indices)
    choose = _chooser(indices, groups, negatives, num_negatives)

    def draw(epoch: int) -> Rows:
        rng = np.random.default_rng((seed, epoch))
        left = np.repeat(indices, 1 + num_negatives)
        right = np.hstack([indices[:, None], choose(rng)]).ravel()
        label = np.tile(np.array([1] + [0] * num_negatives, np.float32), len(indices))
        order = rng.permutation(len(left))
        return left[order], right[order], label[order]

    def look_up(left: np.ndarray, right: np.ndarray, label: np.ndarray) -> tuple:
        return np.stack([views.left[left], views.right[right]], axis=1), label

    examples = Examples(draw, look_up, _sources(views, indices, groups), _mining(negatives))
    return Batches(examples, seed=seed, **options)


def triplets(
    views: Sides,
    indices: np.ndarray,
    *,
    groups: np.ndarray,
    negatives: np.ndarray | Mining | None = None,
    seed: int = 0,
    **options: Any,
) -> Batches:
    """Draws each left with its match and one right that is not; arguments as of `pairs`.

    Returns:
        Batches of inputs `(batch, 3, …)`, anchor, positive, negative, and targets that no loss
        looks at, `(batch,)`.
    """
    indices = np.asarray(indices)
    choose = _chooser(indices, groups, negatives, 1)

    def draw(epoch: int) -> Rows:
        rng = np.random.default_rng((seed, epoch))
        rows = np.stack([indices, choose(rng)[:, 0]])
        return tuple(rows[:, rng.permutation(len(indices))])

    def look_up(anchor: np.ndarray, negative: np.ndarray) -> tuple:
        sides = views.left[anchor], views.right[anchor], views.right[negative]
        return np.stack(sides, axis=1), np.zeros(len(anchor), np.float32)

    examples = Examples(draw, look_up, _sources(views, indices, groups), _mining(negatives))
    return Batches(examples, seed=seed, **options)


def matches(views: Sides, indices: np.ndarray, *, seed: int = 0, **options: Any) -> Batches:
    """Draws the matching pairs alone, in a new order each epoch; arguments as of `pairs`.

    For a softmax over the batch, in which every other pair is a negative. A last incomplete
    batch, which would offer fewer of them, is left out.

    Returns:
        Batches of inputs `(batch, 2, …)` and targets that no loss looks at, `(batch,)`.
    """
    indices = np.asarray(indices)

    def draw(epoch: int) -> Rows:
        return (np.random.default_rng((seed, epoch)).permutation(indices),)

    def look_up(rows: np.ndarray) -> tuple:
        sides = views.left[rows], views.right[rows]
        return np.stack(sides, axis=1), np.zeros(len(rows), np.float32)

    options = {"drop_remainder": True, **options}
    return Batches(Examples(draw, look_up, _sources(views, indices)), seed=seed, **options)


def candidate_sets(
    views: Sides,
    indices: np.ndarray,
    *,
    groups: np.ndarray,
    m: int = 20,
    seed: int = 0,
    **options: Any,
) -> Batches:
    """Draws each left with m rights, its match among them at a random place; see `pairs`.

    Returns:
        Batches of inputs `(batch, 1 + m, …)`, the query first, and the place of the match among
        the candidates, int `(batch,)`.
    """
    indices = np.asarray(indices)
    choose = _chooser(indices, groups, None, m - 1)

    def draw(epoch: int) -> Rows:
        rng = np.random.default_rng((seed, epoch))
        candidates = rng.permuted(np.hstack([indices[:, None], choose(rng)]), axis=1)
        place = (candidates == indices[:, None]).argmax(axis=1)
        order = rng.permutation(len(indices))
        return indices[order], candidates[order], place[order]

    def look_up(query: np.ndarray, candidates: np.ndarray, place: np.ndarray) -> tuple:
        return np.concatenate([views.left[query][:, None], views.right[candidates]], axis=1), place

    sources = _sources(views, indices, groups)
    return Batches(Examples(draw, look_up, sources), seed=seed, **options)


def translations(
    source: np.ndarray, target: np.ndarray, indices: np.ndarray, *, seed: int = 0, **options: Any
) -> Batches:
    """Draws what an autoencoder maps to what; arguments as of `pairs`.

    Args:
        source, target: uint8 images of all pairs, `(pairs, h, w, c)`.

    Returns:
        Batches of inputs in [0, 255] and targets in [0, 1], both `(batch, h, w, c)`.
    """
    indices = np.asarray(indices)

    def draw(epoch: int) -> Rows:
        return (np.random.default_rng((seed, epoch)).permutation(indices),)

    def look_up(rows: np.ndarray) -> tuple:
        return source[rows], np.float32(1 / 255) * target[rows]

    sources = [(source, indices), (target, indices)]
    return Batches(Examples(draw, look_up, sources), seed=seed, **options)


def _sources(
    views: Sides, indices: np.ndarray, groups: np.ndarray | None = None
) -> list[tuple[Any, np.ndarray]]:
    arrays = [views.left, views.right, *([] if groups is None else [np.asarray(groups)])]
    return [(array, indices) for array in arrays]


def _mining(negatives: np.ndarray | Mining | None) -> Mining | None:
    return negatives if isinstance(negatives, Mining) else None


def _chooser(
    indices: np.ndarray, groups: np.ndarray, negatives: np.ndarray | Mining | None, k: int
) -> Callable[[np.random.Generator], np.ndarray]:
    """Returns `choose(rng)` → int `(n, k)`, k different negatives for each left of the pool."""
    groups = np.asarray(groups)
    choose_any = _choose_any(indices, groups[indices], k)

    def choose(rng: np.random.Generator) -> np.ndarray:
        known = negatives.negatives if isinstance(negatives, Mining) else negatives
        if known is None:
            return choose_any(rng)
        known = np.asarray(known).reshape(len(indices), -1)
        if known.shape[1] < k:
            raise ValueError(
                f"Each left needs {k} mined negatives to draw from. "
                f"Received: negatives of shape {known.shape}"
            )
        # Rows of the pool, taken for pairs, would let in pairs that the model must not see.
        if not np.isin(known, indices).all() or (groups[known] == groups[indices, None]).any():
            raise ValueError(
                "Mined negatives must be pairs of the pool outside the left's own group. What "
                "`mining` returns are rows of the pool: `indices[rows]` are the pairs."
            )
        return rng.permuted(known, axis=1)[:, :k]

    return choose


def _choose_any(
    indices: np.ndarray, groups: np.ndarray, k: int
) -> Callable[[np.random.Generator], np.ndarray]:
    """Draws from all rights of the pool outside the left's own group."""
    # With each group in one block, "anything but my group" is a shift past that block.
    order = np.argsort(groups, kind="stable")
    _, start, size = np.unique(groups[order], return_index=True, return_counts=True)
    group_of = np.unique(groups, return_inverse=True)[1]
    start, size = start[group_of], size[group_of]
    others = len(indices) - size
    if others.min(initial=len(indices)) < k:
        raise ValueError(
            f"A left of the pool has {others.min()} rights outside its own group; {k} negatives "
            "were asked for. Use a larger pool or fewer negatives."
        )

    def choose(rng: np.random.Generator) -> np.ndarray:
        if k == 1:
            place = rng.integers(others)[:, None]
        else:
            rows = [rng.choice(count, k, replace=False) for count in others]
            place = np.array(rows, np.int64).reshape(len(indices), k)
        return indices[order[place + size[:, None] * (place >= start[:, None])]]

    return choose
