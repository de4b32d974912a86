"""Training examples drawn anew each epoch: pairs, triplets, candidate sets, right → left.

An example is a row of indices first. `draw(epoch)` gives the rows of an epoch from
`(seed, epoch)` alone, so that a resumed run and every worker draw the same; `fetch(*rows)` looks
up the images of one batch; `dataset` joins the two. Images stay in memory once, as bytes, and
only a batch at a time becomes floats.
"""

import keras
import numpy as np
import tensorflow as tf

from tll_utils import pipeline

# -- draw: which examples ------------------------------------------------------------------------


def pairs(pool, *, num_negatives=1, groups=None, negatives=None, seed=0):
    """Draws each left with its match and with rights that are not.

    Args:
        pool: Int `(n,)`, indices of the pairs to train on; negatives come from nowhere else.
        num_negatives: Int >= 0, negatives per positive; 0 gives the matches alone.
        groups: Int `(all pairs,)`; near-duplicate images share a group, and no negative comes
            from the anchor's own. Defaults to one group per pair.
        negatives: Int `(n, k)` with k >= `num_negatives`, mined rights per left to draw from in
            place of all others. See `mining`.
        seed: Int.

    Returns:
        `draw(epoch)` → left, right, label: int, int and float32, each
        `(n · (1 + num_negatives),)`, shuffled; label 1 = match.
    """
    pool = np.asarray(pool)
    choose = _chooser(pool, groups, negatives, num_negatives)

    def draw(epoch):
        rng = np.random.default_rng((seed, epoch))
        left = np.repeat(pool, 1 + num_negatives)
        right = np.hstack([pool[:, None], choose(rng)]).ravel()
        label = np.tile(np.float32([1] + [0] * num_negatives), len(pool))
        order = rng.permutation(len(left))
        return left[order], right[order], label[order]

    return draw


def triplets(pool, *, groups=None, negatives=None, seed=0):
    """Draws each left with its match and one right that is not; see `pairs`.

    Returns:
        `draw(epoch)` → anchor, positive, negative: int, each `(n,)`, shuffled.
    """
    pool = np.asarray(pool)
    choose = _chooser(pool, groups, negatives, 1)

    def draw(epoch):
        rng = np.random.default_rng((seed, epoch))
        rows = np.stack([pool, pool, choose(rng)[:, 0]])
        return tuple(rows[:, rng.permutation(len(pool))])

    return draw


def candidate_sets(pool, *, m=20, groups=None, seed=0):
    """Draws each left with m rights, its match among them at a random place; see `pairs`.

    Returns:
        `draw(epoch)` → query int `(n,)`, candidates int `(n, m)`, place of the match int `(n,)`.
    """
    pool = np.asarray(pool)
    choose = _chooser(pool, groups, None, m - 1)

    def draw(epoch):
        rng = np.random.default_rng((seed, epoch))
        candidates = rng.permuted(np.hstack([pool[:, None], choose(rng)]), axis=1)
        place = (candidates == pool[:, None]).argmax(axis=1)
        order = rng.permutation(len(pool))
        return pool[order], candidates[order], place[order]

    return draw


def _chooser(pool, groups, negatives, k):
    """Returns `choose(rng)` → int `(n, k)`, k different negatives for each left of the pool."""
    if negatives is not None:
        negatives = np.asarray(negatives).reshape(len(pool), -1)
        if negatives.shape[1] < k:
            raise ValueError(
                f"Each left needs {k} mined negatives to draw from. "
                f"Received: negatives of shape {negatives.shape}"
            )
        return lambda rng: rng.permuted(negatives, axis=1)[:, :k]
    groups = pool if groups is None else np.asarray(groups)[pool]
    # With each group in one block, "anything but my group" is a shift past that block.
    order = np.argsort(groups, kind="stable")
    _, start, size = np.unique(groups[order], return_index=True, return_counts=True)
    group_of = np.unique(groups, return_inverse=True)[1]
    start, size = start[group_of], size[group_of]
    others = len(pool) - size
    if others.min(initial=len(pool)) < k:
        raise ValueError(
            f"A left of the pool has {others.min()} rights outside its own group; {k} negatives "
            "were asked for. Use a larger pool or fewer negatives."
        )

    def choose(rng):
        if k == 1:
            place = rng.integers(others)[:, None]
        else:
            rows = [rng.choice(count, k, replace=False) for count in others]
            place = np.array(rows, np.int64).reshape(len(pool), k)
        return pool[order[place + size[:, None] * (place >= start[:, None])]]

    return choose


# -- fetch: their images -------------------------------------------------------------------------


def fetch_pairs(left, right):
    """Looks up `pairs` rows: inputs `(batch, 2, …)`, labels `(batch,)`.

    left, right: arrays whose first axis counts the pairs: images as uint8, or features.
    """
    return lambda i, j, label: (np.stack([left[i], right[j]], axis=1), label)


def fetch_triplets(left, right):
    """Looks up `triplets` rows: inputs `(batch, 3, …)`, targets float32 zeros `(batch,)`."""

    def fetch(anchor, positive, negative):
        rows = np.stack([left[anchor], right[positive], right[negative]], axis=1)
        return rows, np.zeros(len(rows), np.float32)

    return fetch


def fetch_candidates(left, right):
    """Looks up `candidate_sets` rows: `(batch, 1 + m, …)`, the query first, and the place."""

    def fetch(query, candidates, place):
        return np.concatenate([left[query][:, None], right[candidates]], axis=1), place

    return fetch


def fetch_translations(source, target):
    """Looks up what an autoencoder maps to what, from `pairs(…, num_negatives=0)`.

    Returns inputs in [0, 255] and targets in [0, 1], both `(batch, h, w, c)`.
    """
    return lambda i, j, label: (source[i], np.float32(1 / 255) * target[j])


# -- dataset: both, in the rhythm of the epochs ----------------------------------------------------


class Epoch(keras.callbacks.Callback):
    """Tells the data sets made with it which epoch it is; goes into the callbacks of `fit`."""

    def __init__(self, number=0):
        super().__init__()
        self.number = number

    def on_epoch_begin(self, epoch, logs=None):
        self.number = epoch


def dataset(draw, fetch, *, batch_size, epoch, augment=None, seed=0, drop_remainder=False):
    """Makes the batches of whatever epoch it is when somebody begins to iterate.

    Args:
        draw: `draw(epoch)` → arrays of equal length, one row per example.
        fetch: `fetch(*rows)` → `(inputs, targets)` of one batch of rows, as arrays.
        batch_size: Int.
        epoch: `Epoch`, read at the start of each pass.
        augment: As from `images.augmenter`; changes every image of the inputs on its own. For
            training only.
        seed: Int, for `augment`.
        drop_remainder: Bool, leave a last incomplete batch out; replicas need it.

    Returns:
        `tf.data.Dataset` of `(inputs, targets)`, inputs as float32; `shard(n, i)` gives worker i
        its batches.
    """
    example = draw(0)
    size = len(example[0])
    num_batches = size // batch_size if drop_remainder else -(-size // batch_size)

    def batches_of_epoch():
        drawn = draw(epoch.number)
        rng = np.random.default_rng((seed, epoch.number, 1))  # not the stream that `draw` uses
        for start in range(0, num_batches * batch_size, batch_size):
            inputs, targets = fetch(*(rows[start : start + batch_size] for rows in drawn))
            yield _each(augment, inputs, rng) if augment else inputs, targets

    def spec(array):
        return tf.TensorSpec(
            (batch_size if drop_remainder else None, *array.shape[1:]), array.dtype
        )

    signature = tuple(map(spec, fetch(*(rows[:1] for rows in example))))
    batches = tf.data.Dataset.from_generator(batches_of_epoch, output_signature=signature)
    batches = batches.apply(tf.data.experimental.assert_cardinality(num_batches))
    # Bytes until here: a batch as floats is four times as large, and one ahead is enough.
    batches = batches.map(lambda inputs, targets: (tf.cast(inputs, tf.float32), targets))
    return pipeline.untuned(batches.prefetch(1))


def _each(augment, images, rng):
    """Augments the images of pairs, triplets or sets `(batch, k, h, w, c)` one by one."""
    return augment(images.reshape(-1, *images.shape[-3:]), rng).reshape(images.shape)
