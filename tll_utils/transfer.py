"""Transfer learning: fine-tunes a Siamese network, then learns the similarity of its embeddings.

Everything takes arrays whose first axis counts the pairs. Whether they hold images, which go
through a backbone, or the stored features of a frozen one, only the embedding model knows.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tll_utils import backbones, features, generators, images, losses, scoring, training
from tll_utils.features import Views
from tll_utils.models import heads, siamese

NUM_RANDOM = 200  # rights among which report 001 looks for the hardest
NUM_HARDEST = 10  # of those, for an epoch to draw from
MINED_EPOCHS = 5  # for which mined negatives are kept


@dataclasses.dataclass(frozen=True)
class Source:
    """What a network starts from: images through a backbone, or the features stored of one.

    In both cases the outputs of the backbone's stages, averaged over their positions, are joined,
    as in report 001, and a head of one shape follows.

    Attributes:
        backbone: A key of `backbones.REGISTRY`.
        weights: As `backbones.resolve_weights` returns them.
        store_dir: Folder of the store of features; None means that images are read.
        size: `(height, width)` of the images; None = the backbone's own.
    """

    backbone: str
    weights: str
    store_dir: Path | None = None
    size: tuple[int, int] | None = None

    @property
    def stages(self) -> tuple[str, ...]:
        return backbones.get(self.backbone).stages

    @property
    def last_stage(self) -> str:
        """Where the last stage begins, for `trainable`: `"conv5"` of a ResNet, as in report 002."""
        return backbones.get(self.backbone).last_stage

    def views(self, dataset: Any, *, flip: bool = False, progress: bool = True, **options) -> Views:
        """Reads the inputs of a data set: uint8 `(n, h, w, 3)`, or features `(n, d)`.

        Args:
            dataset: From `data.load`.
            flip: Bool, features of the mirrored images.
            progress: Bool, show a bar.
            **options: Of `features.embed_dataset`, for stored features.
        """
        if self.store_dir is None:
            size = self.size or backbones.get(self.backbone).size
            # Resized as for the store, so that the backbone sees the same pixels on both roads.
            left, right, query, gallery = (
                images.load_all(paths, size=size, antialias=False, progress=progress)
                for paths in (
                    dataset.left_paths,
                    dataset.right_paths,
                    dataset.query_paths,
                    dataset.gallery_paths,
                )
            )
            return Views(left, right, query, gallery).map(lambda x: x[:, :, ::-1] if flip else x)
        stored = features.embed_dataset(
            dataset,
            self.backbone,
            weights=self.weights,
            store_dir=self.store_dir,
            taps=self.stages,
            size=self.size,
            flip=flip,
            progress=progress,
            **options,
        )
        parts = [stored[f"{tap}/avg"] for tap in self.stages]
        return Views(*(np.concatenate(role, axis=1) for role in zip(*parts, strict=True)))

    def embedding_model(
        self,
        views: Views,
        train: np.ndarray,
        *,
        embedding_dim: int = 128,
        dropout: float = 0.3,
        trainable: bool | str = False,
        seed: int = 0,
    ) -> keras.Model:
        """Builds a head on this source; its features are standardised by the training side.

        Args:
            views: From `views`.
            train: Int, the pairs of the training side.
            embedding_dim: Length of the unit-norm embedding.
            dropout: Of the head.
            trainable: Of the backbone, as in `backbones.build`; stored features can't be trained.
            seed: Int.

        Returns:
            A model from images or features to embeddings.
        """
        backbone, sides = None, [views.left[train], views.right[train]]
        if self.store_dir is None:
            net = backbones.build(
                self.backbone,
                weights=self.weights,
                size=views.left.shape[1:3],
                taps=self.stages,
                trainable=trainable,
                seed=seed,
            )
            backbone = heads.joined_features(net)
            sides = [siamese.embed(backbone, side, batch_size=32) for side in sides]
        known = np.concatenate(sides)
        head = heads.adaption_head(
            known.shape[1],
            embedding_dim=embedding_dim,
            dropout=dropout,
            standardise=(known.mean(axis=0), known.var(axis=0)),
            seed=seed,
        )
        return heads.embedding_model(head, backbone)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a Siamese network is fine-tuned; the defaults are those of report 001.

    Attributes:
        loss: `"contrastive"` on pairs, half of them matches, or `"triplet"`.
        margin: Of the loss.
        epochs: At most so many.
        batch_size: Pairs or triplets per step.
        learning_rate: Of Adam.
        patience: Epochs without a better validation loss before the end; None = run to the end.
    """

    loss: str = "contrastive"
    margin: float = 0.5
    epochs: int = 5
    batch_size: int = 64
    learning_rate: float = 1e-3
    patience: int | None = None

    def __post_init__(self):
        if self.loss not in ("contrastive", "triplet"):
            raise ValueError(f"`loss` must be 'contrastive' or 'triplet'. Received: {self.loss!r}")


def fine_tune(
    embedding_model: keras.Model,
    left: np.ndarray,
    right: np.ndarray,
    train: np.ndarray,
    recipe: Recipe,
    *,
    groups: np.ndarray,
    augment: Callable | None = None,
    mirrored: tuple[np.ndarray, np.ndarray] | None = None,
    seed: int = 0,
) -> dict[str, list[float]]:
    """Trains an embedding model in place; 15 % of the training pairs decide when to stop.

    Args:
        embedding_model: Model, image or features → unit-norm embedding. What is trainable in it
            is trained.
        left, right: Images `(pairs, h, w, 3)` in [0, 255], or features `(pairs, d)`.
        train: Int, the pairs of the training side.
        recipe: Loss and optimiser.
        groups: Int `(pairs,)`; no negative comes from the anchor's own group.
        augment: For images: as from `images.augmenter`, redrawn in each epoch.
        mirrored: For stored features: those of the mirrored left and right images, which join
            the training pairs. The validation part is never augmented.
        seed: Int.

    Returns:
        The losses per epoch, `loss` and `val_loss`.
    """
    keras.utils.set_random_seed(seed)
    train, held_out = training.hold_out(train, groups, seed=seed)
    if mirrored is not None:
        train = np.concatenate([train, train + len(left)])
        left, right = np.concatenate([left, mirrored[0]]), np.concatenate([right, mirrored[1]])
        groups = np.tile(groups, 2)
    if recipe.loss == "contrastive":
        model = siamese.pair_distance(embedding_model)
        loss = losses.ContrastiveLoss(margin=recipe.margin)
        draw, fetch = generators.pairs, generators.fetch_pairs(left, right)
    else:
        model = siamese.branches(embedding_model, 3)
        loss = losses.TripletLoss(margin=recipe.margin)
        draw, fetch = generators.triplets, generators.fetch_triplets(left, right)
    model.compile(keras.optimizers.Adam(recipe.learning_rate), loss)
    epoch, always_the_first = generators.Epoch(), generators.Epoch()
    batches = [
        generators.dataset(
            draw(pool, groups=groups, seed=seed),
            fetch,
            batch_size=recipe.batch_size,
            epoch=clock,
            augment=change,
            seed=seed,
        )
        for pool, clock, change in (
            (train, epoch, augment),
            (held_out, always_the_first, None),
        )
    ]
    callbacks = [epoch]
    if recipe.patience is not None:
        callbacks.append(
            keras.callbacks.EarlyStopping(patience=recipe.patience, restore_best_weights=True)
        )
    history = model.fit(
        batches[0],
        validation_data=batches[1],
        epochs=recipe.epochs,
        callbacks=callbacks,
        shuffle=False,  # the examples of an epoch are drawn shuffled
        verbose=0,
    )
    return history.history


def embedding_scorer(embedding_model: keras.Model, *, batch_size: int = 128) -> Callable:
    """Scores candidate lists by the cosine of embeddings, as experiments take it."""

    def score(queries, gallery, candidates):
        embed = (
            siamese.embed(embedding_model, x, batch_size=batch_size) for x in (queries, gallery)
        )
        return scoring.cosine_scores(*embed, candidates)

    return score


def per_fold(
    views: Any,
    make_model: Callable[[np.ndarray], keras.Model],
    recipe: Recipe,
    *,
    models: dict[int, keras.Model],
    histories: dict[int, Mapping] | None = None,
    **options,
) -> Callable:
    """Makes what `Experiment.cross_validate` fits in each fold: a fine-tuned embedding model.

    Args:
        views: Arrays with `left` and `right`.
        make_model: `make_model(train)` returns a fresh embedding model for the training side.
        recipe: Of the fine-tuning.
        models: Is filled with the embedding model of each fold.
        histories: Is filled with the losses of each fold.
        **options: Of `fine_tune`.
    """

    def fit_fold(train, fold):
        models[fold] = make_model(train)
        history = fine_tune(models[fold], views.left, views.right, train, recipe, **options)
        if histories is not None:
            histories[fold] = history
        return embedding_scorer(models[fold])

    return fit_fold


def fit_similarity(
    left: np.ndarray,
    right: np.ndarray,
    *,
    groups: np.ndarray,
    hard: bool = False,
    epochs: int = 40,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    margin: float = 0.5,
    seed: int = 0,
) -> keras.Model:
    """Trains the similarity network of report 001 on triplets of embeddings.

    Args:
        left, right: Embeddings of the training pairs, `(pairs, d)`.
        groups: Int `(pairs,)`; no negative comes from the anchor's own group.
        hard: Whether the second half of the epochs draws negatives from each left's
            `NUM_HARDEST` most convincing of 200 random ones, mined anew every `MINED_EPOCHS`.
            With the single hardest of all, as in the report, the network learns to call every
            pair the same: the loss then rests at the margin.
        epochs, batch_size, learning_rate: Of Adam; the report's are 40, 64 and 1e-3.
        margin: Of the triplet loss, in similarity.
        seed: Int.

    Returns:
        A model of `heads.similarity_network`.
    """
    keras.utils.set_random_seed(seed)
    network = heads.similarity_network(left.shape[1], seed=seed)
    model = heads.similarity_of_triplet(network)
    model.compile(keras.optimizers.Adam(learning_rate), losses.CandidateHingeLoss(margin=margin))
    fetch = generators.fetch_triplets(left, right)
    starts = [0, *range(epochs // 2, epochs, MINED_EPOCHS)] if hard else [0]
    for start, end in itertools.pairwise([*starts, epochs]):
        mined = None
        if start > 0:
            mined = hardest_by_similarity(network, left, right, groups=groups, seed=seed + start)
        epoch = generators.Epoch(start)
        draw = generators.triplets(np.arange(len(left)), groups=groups, negatives=mined, seed=seed)
        batches = generators.dataset(draw, fetch, batch_size=batch_size, epoch=epoch, seed=seed)
        model.fit(
            batches,
            initial_epoch=start,
            epochs=end,
            callbacks=[epoch],
            shuffle=False,
            verbose=0,
        )
    return network


def hardest_by_similarity(
    network: keras.Model,
    left: np.ndarray,
    right: np.ndarray,
    *,
    groups: np.ndarray,
    num_random: int = NUM_RANDOM,
    num_hardest: int = NUM_HARDEST,
    seed: int = 0,
) -> np.ndarray:
    """Picks for each left, of some random rights, the wrong ones the network is surest of.

    Args:
        network: A model of `heads.similarity_network`.
        left, right: Embeddings `(pairs, d)`.
        groups: Int `(pairs,)`; the anchor's own group is left out.
        num_random: Rights drawn per left, fewer if there are not so many.
        num_hardest: How many of them are kept; likewise.
        seed: Int.

    Returns:
        Int `(pairs, num_hardest)`, rows of `right`, the most convincing first.
    """
    groups = np.asarray(groups)
    own = groups[:, None] == groups
    tickets = np.random.default_rng(seed).random(own.shape)
    tickets[own] = np.inf
    count = min(num_random, int((~own).sum(axis=1).min()))
    candidates = np.argsort(tickets, axis=1)[:, :count]
    scores = heads.similarity_scores(network, left, right, candidates)
    hardest = np.argsort(-scores, axis=1, kind="stable")[:, :num_hardest]
    return np.take_along_axis(candidates, hardest, axis=1)


def similarity_per_fold(
    views: Any, models: Mapping[int, keras.Model], *, groups: np.ndarray, **options
) -> Callable:
    """Makes what `Experiment.cross_validate` fits: a similarity network on a fold's embeddings.

    Args:
        views: Arrays with `left` and `right`, as the embedding models take them.
        models: The embedding model of each fold, trained on its training side, from `per_fold`.
        groups: Int `(pairs,)`.
        **options: Of `fit_similarity`.
    """

    def fit_fold(train, fold):
        def embed(inputs):
            return siamese.embed(models[fold], inputs)

        network = fit_similarity(
            embed(views.left[train]), embed(views.right[train]), groups=groups[train], **options
        )
        return lambda queries, gallery, candidates: heads.similarity_scores(
            network, embed(queries), embed(gallery), candidates
        )

    return fit_fold
