"""Trains networks from scratch by a recipe and turns them into scorers of candidates."""

import dataclasses
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tll_utils import generators, images, mining, scoring, training
from tll_utils.models import autoencoder, siamese

HEADS = ("classifier", "distance", "pair", "triplet")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """All that tells one Siamese system from another.

    Attributes:
        encoder: Options of `siamese.encoder`; on vectors, of `autoencoder.encoding_head`.
        head: What the loss sees of an example: "classifier" a match probability, "distance" a
            distance, "pair" and "triplet" the embeddings.
        loss: Keras loss, or its name.
        num_negatives: Negatives per positive, for the first two heads.
        batch_size, epochs, learning_rate: Of Adam.
        patience: Epochs without improvement before the end; `None` = never stop early.
        augment: Options of `images.augmenter`; `None` = the images as they are.
        mined_epochs: Epochs after the others in which negatives are the hardest of 200 random.
        mirror: Whether an image's embedding is summed with that of its mirror image.
    """

    encoder: Mapping[str, Any]
    head: str
    loss: Any
    num_negatives: int = 1
    batch_size: int = 32
    epochs: int = 10
    learning_rate: float = 1e-3
    patience: int | None = None
    augment: Mapping[str, Any] | None = None
    mined_epochs: int = 0
    mirror: bool = False

    def __post_init__(self):
        if self.head not in HEADS:
            raise ValueError(f"`head` must be one of {HEADS}. Received: head={self.head!r}")


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """A trained network, its curves, and how it scores.

    Attributes:
        model: What was trained; saves to `.keras`.
        encoder: Its shared encoder, image → embedding.
        history: Figures per epoch, a dict of lists.
        scorer: `scorer(queries, gallery, candidates)` on images → `(n, m)`.
    """

    model: keras.Model
    encoder: keras.Model
    history: dict[str, list[float]]
    scorer: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def fit(recipe, left, right, train, *, groups, directory, seed=0):
    """Trains by a recipe. 15 % of the training side choose the best epoch.

    Args:
        recipe: `Recipe`.
        left, right: Images, uint8 `(pairs, h, w, c)` in [0, 255], or vectors `(pairs, d)`.
        train: Int, the pairs to train on; nothing else of `left` and `right` is looked at.
        groups: Int `(pairs,)`, near-duplicates.
        directory: For checkpoints, in a folder that is named after recipe, images and seed; a
            finished run found there is loaded.
        seed: Int.

    Returns:
        `Trained`.
    """
    directory = Path(directory) / _fingerprint(recipe, left[train], right[train], seed)
    keras.utils.set_random_seed(seed)
    on_vectors = left.ndim == 2
    build = autoencoder.encoding_head if on_vectors else siamese.encoder
    encoder = build(left.shape[1:], **recipe.encoder)
    model = _with_head(encoder, recipe.head)
    metrics = ["accuracy", keras.metrics.Recall(name="recall")]
    model.compile(
        keras.optimizers.Adam(recipe.learning_rate),
        recipe.loss,
        metrics=metrics if recipe.head == "classifier" else [],
        jit_compile=False,  # on a CPU, compiling these small networks costs more than it saves
    )
    pool, held = training.hold_out(train, groups, seed=seed)
    options = {"groups": groups, "seed": seed}
    history = _train(recipe, model, left, right, pool, held, options, directory, recipe.epochs)
    if recipe.mined_epochs:
        vectors = [_embed(encoder, side[pool], recipe.mirror) for side in (left, right)]
        hardest = mining.hardest_of_random(*vectors, groups=np.asarray(groups)[pool], seed=seed)
        options["negatives"] = pool[hardest]
        mined = _train(
            recipe, model, left, right, pool, held, options, directory / "mined",
            recipe.mined_epochs,
        )  # fmt: skip
        history = {name: values + mined[name] for name, values in history.items()}
    return Trained(model, encoder, history, _scorer(recipe, model, encoder))


def fit_autoencoder(left, right, train, *, groups, directory, options=None, epochs=15, seed=0):
    """Trains a convolutional autoencoder to draw the left image from the right one.

    Batches of 32 and binary cross-entropy as in report 002.

    Args:
        left, right: uint8 `(pairs, h, w, 1)` in [0, 255].
        train: Int, the pairs to train on; 15 % of them choose the best epoch.
        groups: Int `(pairs,)`, near-duplicates.
        directory: As for `fit`.
        options: Of `autoencoder.autoencoder`.
        epochs: Int.
        seed: Int.

    Returns:
        `Trained`, which scores by the cosine of the encodings.
    """
    options = dict(options or {})
    settings = {**options, "epochs": epochs}
    directory = Path(directory) / _fingerprint(settings, left[train], right[train], seed)
    keras.utils.set_random_seed(seed)
    model = autoencoder.autoencoder(left.shape[1:], **options)
    model.compile("adam", "binary_crossentropy", jit_compile=False)
    epoch = generators.Epoch()
    pool, held = training.hold_out(train, groups, seed=seed)
    data = [
        generators.dataset(
            generators.pairs(indices, num_negatives=0, seed=seed),
            generators.fetch_translations(right, left),
            batch_size=32,
            epoch=clock,
        )
        for indices, clock in ((pool, epoch), (held, generators.Epoch()))
    ]
    history = training.fit(
        model, data[0], validation=data[1], epoch=epoch, epochs=epochs, directory=directory,
        seed=seed,
    )  # fmt: skip
    encoder = autoencoder.encoder_of(model)
    return Trained(model, encoder, history, on_encodings(encoder, scoring.cosine_scores))


def on_encodings(encoder, scorer):
    """Turns a scorer of encodings into a scorer of images."""

    def score(queries, gallery, candidates):
        encoded = (siamese.embed(encoder, side) for side in (queries, gallery))
        return scorer(*encoded, candidates)

    return score


def cross_validate(run, system, recipe, views, *, folds=None):
    """Trains one network per fold of a notebook's run.

    Args:
        run: `experiment.Experiment`.
        system: Name of the folder under `run.models_dir`.
        recipe: `Recipe`.
        views: uint8 images of left, right, query and gallery.
        folds: The folds to run. Defaults to all.

    Returns:
        scores: As from `run.cross_validate`.
        trained: Dict from fold to `Trained`.
    """
    trained = {}

    def fit_fold(train, fold):
        trained[fold] = fit(
            recipe, views.left, views.right, train, groups=run.protocol.groups,
            directory=run.models_dir / system, seed=run.seed,
        )  # fmt: skip
        return trained[fold].scorer

    return run.cross_validate(fit_fold, views, folds=folds), trained


def _fingerprint(recipe, left, right, seed):
    """Eight digits that change with whatever the result depends on."""
    settings = dataclasses.asdict(recipe) if isinstance(recipe, Recipe) else recipe
    if isinstance(settings.get("loss"), keras.losses.Loss):
        settings["loss"] = keras.saving.serialize_keras_object(settings["loss"])
    digest = zlib.crc32(repr((settings, left.shape, seed)).encode())
    return f"{zlib.crc32(right.tobytes(), zlib.crc32(left.tobytes(), digest)):08x}"


def _train(recipe, model, left, right, pool, held, options, directory, epochs):
    """One call of `training.fit` on pairs or triplets; mined negatives for training only."""
    epoch = generators.Epoch()
    augment = None if recipe.augment is None else images.augmenter(**recipe.augment)
    softmax = recipe.head == "pair"
    data = {}
    for name, indices in (("train", pool), ("validation", held)):
        chosen = options if name == "train" else {**options, "negatives": None}
        if recipe.head == "triplet":
            draw = generators.triplets(indices, **chosen)
            fetch = generators.fetch_triplets(left, right)
        else:
            num_negatives = 0 if softmax else min(recipe.num_negatives, _most(indices, options))
            if chosen.get("negatives") is not None:
                num_negatives = 1
            draw = generators.pairs(indices, num_negatives=num_negatives, **chosen)
            fetch = generators.fetch_pairs(left, right)
        data[name] = generators.dataset(
            draw,
            fetch,
            batch_size=min(recipe.batch_size, len(draw(0)[0])),
            # Validation keeps one epoch's examples, or its curve would tremble with the draw.
            epoch=epoch if name == "train" else generators.Epoch(),
            augment=augment if name == "train" else None,
            seed=options["seed"],
            # A softmax over the batch needs batches of one size.
            drop_remainder=softmax and name == "train",
        )
    return training.fit(
        model,
        data["train"],
        validation=data["validation"],
        epoch=epoch,
        epochs=epochs,
        patience=recipe.patience,
        directory=directory,
        seed=options["seed"],
    )


def _most(indices, options):
    """How many negatives each left can have, on a validation side that may be tiny."""
    groups = np.asarray(options["groups"])[indices]
    return len(groups) - np.unique(groups, return_counts=True)[1].max()


def _with_head(encoder, head):
    if head == "classifier":
        return siamese.pair_classifier(encoder)
    if head == "distance":
        return siamese.pair_distance(encoder)
    return siamese.branches(encoder, 2 if head == "pair" else 3)


def _scorer(recipe, model, encoder):
    def score(queries, gallery, candidates):
        queries, gallery = (_embed(encoder, side, recipe.mirror) for side in (queries, gallery))
        if recipe.head == "classifier":
            return siamese.classifier_scores(model, queries, gallery, candidates)
        if recipe.head == "distance":
            return scoring.euclidean_scores(queries, gallery, candidates)
        return scoring.cosine_scores(queries, gallery, candidates)

    return score


def _embed(encoder, side, mirror):
    embeddings = siamese.embed(encoder, side)
    return embeddings + siamese.embed(encoder, side[:, :, ::-1]) if mirror else embeddings
