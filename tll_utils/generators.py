"""Training examples drawn anew each epoch: pairs, triplets, candidate sets, right → left.

An example is a row of indices first. `draw(epoch)` gives the rows of an epoch from
`(seed, epoch)` alone, so that a resumed run and every worker draw the same; `fetch(*rows)` looks
up the images of one batch; `dataset` joins the two. Images stay in memory as bytes and only a
batch at a time becomes floats.
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
    """Looks up `pairs` rows: inputs `(batch, 2, …)` float32, labels `(batch,)`.

    left, right: arrays whose first axis counts the pairs: images as uint8, or features.
    """
    left, right = tf.convert_to_tensor(left), tf.convert_to_tensor(right)
    return lambda i, j, label: (_stack(tf.gather(left, i), tf.gather(right, j)), label)


def fetch_triplets(left, right):
    """Looks up `triplets` rows: inputs `(batch, 3, …)` float32, targets zeros `(batch,)`."""
    left, right = tf.convert_to_tensor(left), tf.convert_to_tensor(right)

    def fetch(anchor, positive, negative):
        images = tf.gather(left, anchor), tf.gather(right, positive), tf.gather(right, negative)
        return _stack(*images), tf.zeros(tf.shape(anchor))

    return fetch


def fetch_candidates(left, right):
    """Looks up `candidate_sets` rows: `(batch, 1 + m, …)` float32, query first, and the place."""
    left, right = tf.convert_to_tensor(left), tf.convert_to_tensor(right)

    def fetch(query, candidates, place):
        images = [tf.gather(left, query)[:, None], tf.gather(right, candidates)]
        return tf.cast(tf.concat(images, axis=1), tf.float32), place

    return fetch


def fetch_translations(source, target):
    """Looks up what an autoencoder maps to what, from `pairs(…, num_negatives=0)`.

    Returns inputs in [0, 255] and targets in [0, 1], both `(batch, h, w, c)` float32.
    """
    source, target = tf.convert_to_tensor(source), tf.convert_to_tensor(target)

    def fetch(i, j, label):
        inputs = tf.cast(tf.gather(source, i), tf.float32)
        return inputs, tf.cast(tf.gather(target, j), tf.float32) / 255.0

    return fetch


def _stack(*images):
    return tf.cast(tf.stack(images, axis=1), tf.float32)


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
        fetch: `fetch(*rows)` → `(inputs, targets)` of one batch of rows.
        batch_size: Int.
        epoch: `Epoch`, read at the start of each pass.
        augment: As from `images.augmenter`; changes every image of the inputs on its own. For
            training only.
        seed: Int, for `augment`.
        drop_remainder: Bool, leave a last incomplete batch out; replicas need it.

    Returns:
        `tf.data.Dataset` of `(inputs, targets)`; `shard(n, i)` gives worker i its batches.
    """
    example = draw(0)
    types = [array.dtype for array in example]
    size = len(example[0])
    num_batches = size // batch_size if drop_remainder else -(-size // batch_size)

    def draw_now():
        seeds = np.random.default_rng((seed, epoch.number)).integers(2**31, size=num_batches)
        return [*draw(epoch.number), seeds]

    def batches_of_epoch(_):
        *rows, seeds = tf.numpy_function(draw_now, [], [*types, np.int64])
        for drawn, array in zip(rows, example, strict=True):
            drawn.set_shape((None, *array.shape[1:]))
        rows = tf.data.Dataset.from_tensor_slices(tuple(rows))
        rows = rows.batch(batch_size, drop_remainder=drop_remainder)
        return tf.data.Dataset.zip(rows, tf.data.Dataset.from_tensor_slices(seeds))

    batches = tf.data.Dataset.range(1).flat_map(batches_of_epoch)
    batches = batches.apply(tf.data.experimental.assert_cardinality(num_batches))
    # Looking up bytes is quick: one thread, so that nothing depends on which batch comes first.
    batches = batches.map(lambda rows, seed: (*fetch(*rows), seed))
    if augment:
        batches = batches.map(lambda x, y, seed: (_each(augment, x, seed), y))
    else:
        batches = batches.map(lambda x, y, seed: (x, y))
    return pipeline.untuned(batches.prefetch(2))


def _each(augment, images, seed):
    """Augments the images of pairs, triplets or sets `(batch, k, h, w, c)` one by one."""
    shape = tf.shape(images)
    flat = augment(tf.reshape(images, (-1, *images.shape[-3:])), seed)
    return tf.ensure_shape(tf.reshape(flat, shape), images.shape)
