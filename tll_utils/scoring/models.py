"""One saved model per system: from images of any size to an embedding, or to a score."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np

from tll_utils.features import fronts
from tll_utils.scoring.scorers import CosineScorer, DistanceScorer, NetworkScorer, Scorer, cosine_of

_KINDS = (CosineScorer, DistanceScorer, NetworkScorer)


def can_compose(front: fronts.Front | None, scorers: Sequence[object]) -> bool:
    """Whether `compose` can make a model: the way from images is known, and so are the scorers."""
    kinds = {type(scorer) for scorer in scorers}
    return front is not None and len(kinds) <= 1 and kinds <= set(_KINDS)


def compose(front: fronts.Front, scorers: Sequence[Scorer]) -> keras.Model:
    """Joins how arrays are made of images with what the folds' scorers make of the arrays.

    Cosines become a model of one image, `(batch, h, w, 3)` → `(batch, folds · d)`: the unit-norm
    embeddings of all folds, joined and divided by √folds. The cosine of two such vectors is the
    mean of the folds' cosines, and they can be stored in an index. Distances and networks become
    a model of two images, inputs `{"left", "right"}` → `(batch, 1)`: the mean of the folds' scores.

    The model holds what `Run.cross_validate` scores the test queries with. It can be saved as
    `.keras` and read in another process after `import tll_utils`, in safe mode.

    Args:
        front: How an image becomes what the encoders take; see `features.fronts`.
        scorers: One per fold, all of a kind, as of `cosine_of`. None at all means frozen
            features: their cosine.

    Returns:
        The model; images are RGB in [0, 255] of any size.

    Raises:
        ValueError: If a scorer is a function of your own, or if they are of different kinds; see
            `can_compose`.
    """
    scorers = scorers or (cosine_of(),)
    if not can_compose(front, scorers):
        names = sorted({type(scorer).__name__ for scorer in scorers})
        raise ValueError(
            "Expected a front, and scorers of one kind made by cosine_of, distance_of or "
            f"similarity_of. Received: front={front}, scorers of type {', '.join(names)}"
        )
    network = fronts.build(front)
    taken = _identities(network)
    encoders = [
        _owning(_encoder(scorer, fold, network.output), taken)
        for fold, scorer in enumerate(scorers)
    ]
    if isinstance(scorers[0], CosineScorer):
        return _embedding(network, encoders)
    comparers = [
        _owning(_comparer(scorer, fold, encoders[fold].output), taken)
        for fold, scorer in enumerate(scorers)
    ]
    return _score(network, encoders, comparers)


def _embedding(network: keras.Model, encoders: Sequence[keras.Model]) -> keras.Model:
    images = keras.Input((None, None, 3), name="image")
    features = network(images)
    unit = [
        keras.layers.UnitNormalization(dtype="float32", name=f"unit_{fold}")(encoder(features))
        for fold, encoder in enumerate(encoders)
    ]
    joined = _merged(unit, keras.layers.Concatenate)
    scale = keras.layers.Rescaling(1 / np.sqrt(len(unit)), dtype="float32", name="embedding")
    return keras.Model(images, scale(joined))


def _score(
    network: keras.Model, encoders: Sequence[keras.Model], comparers: Sequence[keras.Model]
) -> keras.Model:
    images = {side: keras.Input((None, None, 3), name=side) for side in ("left", "right")}
    features = {side: network(image) for side, image in images.items()}
    scores = [
        comparer({side: encoder(features[side]) for side in features})
        for encoder, comparer in zip(encoders, comparers, strict=True)
    ]
    return keras.Model(images, _merged(scores, keras.layers.Average))


def _encoder(scorer: Scorer, fold: int, features: keras.KerasTensor) -> keras.Model:
    """Puts a fold's encoder into a model with a name of its own: all may be called `encoder`."""
    encoder = scorer.encoder or keras.layers.Identity(dtype="float32")
    inputs = keras.Input(features.shape[1:])
    return keras.Model(inputs, encoder(inputs), name=f"encoder_of_fold_{fold}")


def _comparer(scorer: Scorer, fold: int, embedding: keras.KerasTensor) -> keras.Model:
    """Embeddings `left` and `right` → score `(batch, 1)`, likewise named after its fold."""
    sides = {side: keras.Input(embedding.shape[1:], name=side) for side in ("left", "right")}
    if isinstance(scorer, NetworkScorer):
        score = scorer.network(sides)
    else:
        # Not `ops.norm`, which in a saved model has a list for its axis; JAX refuses lists.
        squares = keras.ops.square(sides["left"] - sides["right"])
        score = -keras.ops.sqrt(keras.ops.sum(squares, axis=-1, keepdims=True))
    score = keras.ops.cast(score, "float32")  # half precision would round close scores to ties
    return keras.Model(sides, score, name=f"score_of_fold_{fold}")


def _owning(model: keras.Model, taken: set[int]) -> keras.Model:
    """Copies a model that shares weights with one before it, as folds share a frozen backbone.

    Keras writes a layer that two nested models share once, and can't read it back into both.
    """
    if taken & _identities(model):
        copy = keras.models.clone_model(model)
        copy.set_weights(model.get_weights())
        model = copy
    taken |= _identities(model)
    return model


def _identities(model: keras.Model) -> set[int]:
    return {id(variable) for variable in model.variables}


def _merged(
    tensors: Sequence[keras.KerasTensor], layer: Callable[..., keras.layers.Layer]
) -> keras.KerasTensor:
    return tensors[0] if len(tensors) == 1 else layer(dtype="float32")(tensors)
