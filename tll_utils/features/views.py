"""Arrays by role, which remember how an image becomes one of their rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from tll_utils.features import fronts
from tll_utils.features.encoding import encode
from tll_utils.features.fronts import Front


@dataclasses.dataclass(frozen=True, eq=False)
class Views:
    """One array per role; the first axes are pairs, pairs, queries and gallery images.

    `left, right, query, gallery = views` works too.

    Attributes:
        left, right: Of the training pairs; row i of one matches row i of the other.
        query, gallery: Of the test set.
        front: How an image becomes a row, for saved models; `None` if that cannot be said in
            Keras layers.
    """

    left: Any
    right: Any
    query: Any
    gallery: Any
    front: Front | None = None

    def __iter__(self) -> Iterator[Any]:
        yield from (self.left, self.right, self.query, self.gallery)

    def map(self, function: Callable[[Any], Any]) -> Views:
        """Applies any function to each of the four arrays; the front is lost."""
        return Views(*map(function, self))

    def then(self, layer: keras.Layer) -> Views:
        """Applies a Keras layer or model to each of the four arrays, and notes it in the front."""
        front = None if self.front is None else fronts.Then(self.front, layer)
        left, right, query, gallery = (encode(layer, role) for role in self)
        return Views(left, right, query, gallery, front)


def join(views: Sequence[Views]) -> Views:
    """Puts features side by side, along the last axis."""
    return _combine(views, lambda roles: np.concatenate(roles, axis=-1), fronts.Joined)


def mean(views: Sequence[Views]) -> Views:
    """Averages features of equal shape, such as those of an image and of its mirror image."""
    return _combine(views, lambda roles: np.mean(roles, axis=0, dtype=np.float32), fronts.Mean)


def stack(views: Sequence[Views]) -> Views:
    """Stacks features of equal shape along a new axis 1: `(n, views, d)`."""
    return _combine(views, lambda roles: np.stack(roles, axis=1), fronts.Stacked)


def _combine(
    views: Sequence[Views],
    function: Callable[[Sequence[np.ndarray]], Any],
    front: Callable[[tuple[Front, ...]], Front],
) -> Views:
    if not views:
        raise ValueError("There are no views to combine. Received: views=[]")
    parts = tuple(view.front for view in views)
    known = [part for part in parts if part is not None]
    left, right, query, gallery = (function(roles) for roles in zip(*views, strict=True))
    joined = front(tuple(known)) if len(known) == len(parts) else None
    return Views(left, right, query, gallery, joined)
