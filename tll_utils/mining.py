"""Negatives that the current model finds hard, from embeddings.

A pass costs one embedding of every training image and one matrix product; no pair is ever put
through the network.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np


class Mining(keras.callbacks.Callback):
    """Looks for hard negatives at the start of some epochs; give it to `fit` and to the batches.

    Args:
        mine: `mine(epoch)` → int `(n, k)`, for each left of the pool the pairs whose rights are
            hard for the model as it is now.
        start: Int, the first epoch that mines; before it, any other right is a negative.
        every: Int, epochs for which mined negatives are kept.

    Attributes:
        negatives: What was mined last; `None` before that.
    """

    def __init__(self, mine: Callable[[int], np.ndarray], *, start: int = 0, every: int = 1):
        super().__init__()
        self.mine, self.start, self.every = mine, start, every
        self.negatives: np.ndarray | None = None

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        if epoch >= self.start and (epoch - self.start) % self.every == 0:
            self.negatives = np.asarray(self.mine(epoch))

    def get_state(self) -> dict[str, np.ndarray]:
        """What a training that goes on needs to know of the epochs before."""
        return {} if self.negatives is None else {"negatives": self.negatives}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        self.negatives = state.get("negatives")


def hardest_of_random(
    anchors: np.ndarray,
    positives: np.ndarray,
    *,
    groups: np.ndarray,
    num_random: int = 200,
    seed: int = 0,
) -> np.ndarray:
    """Picks, for each left, the most similar of some random rights that are not its match.

    One embedding of every image and one matrix product; no pair goes through the network.

    Args:
        anchors: Float `(n, d)`, embeddings of the lefts.
        positives: Float `(n, d)`, embeddings of their matches, row by row.
        groups: Int `(n,)`; near-duplicates of the match are no negatives.
        num_random: Int, rights drawn per left; more than there are means all of them.
        seed: Int.

    Returns:
        Int `(n, 1)`: row of the hardest right of each left.

    Raises:
        ValueError: If some left has no right outside its group.

    Example:
        >>> lefts = np.array([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]])
        >>> hardest_of_random(lefts, lefts, groups=np.arange(3)).tolist()
        [[2], [2], [0]]
    """
    distance = squared_distances(anchors, positives)
    allowed = _allowed(groups)
    ticket = np.random.default_rng(seed).random(distance.shape)
    ticket[~allowed] = np.inf
    # The `num_random` smallest tickets of a row are its sample without replacement.
    k = min(num_random, ticket.shape[1])
    drawn = allowed & (ticket <= np.partition(ticket, k - 1, axis=1)[:, k - 1 : k])
    return np.where(drawn, distance, np.inf).argmin(axis=1)[:, None]


def margin_violating(
    anchors: np.ndarray, positives: np.ndarray, *, margin: float, groups: np.ndarray, seed: int = 0
) -> np.ndarray:
    """Picks, for each left, one of the rights less than `margin` farther away than its match.

    A left whose match wins by the margin everywhere would teach a triplet loss nothing; it gets
    its nearest right that is not the match.

    Args:
        anchors, positives, groups, seed: As of `hardest_of_random`; unit norm for triplets.
        margin: Float, in squared L2 distance.

    Returns:
        Int `(n, 1)`: rows of the rights.

    Raises:
        ValueError: If some left has no right outside its group.

    Reference:
        Schroff et al., 2015, FaceNet, section 3.2.
    """
    distance = squared_distances(anchors, positives)
    allowed = _allowed(groups)
    violating = allowed & (distance < np.diagonal(distance)[:, None] + margin)
    nearest = np.where(allowed, distance, np.inf).argmin(axis=1)
    violating[np.arange(len(nearest)), nearest] |= ~violating.any(axis=1)
    # The r-th violating right of a row is where the row's running count passes r.
    count = violating.cumsum(axis=1)
    wanted = np.random.default_rng(seed).integers(count[:, -1:])
    return (count > wanted).argmax(axis=1)[:, None]


def squared_distances(anchors: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Squared L2 distance of every left to every right: `(n, d)` and `(k, d)` → `(n, k)`."""
    anchors, positives = np.asarray(anchors), np.asarray(positives)
    squares = (anchors**2).sum(axis=1)[:, None] + (positives**2).sum(axis=1)
    return np.maximum(squares - 2 * anchors @ positives.T, 0)


def _allowed(groups: np.ndarray) -> np.ndarray:
    groups = np.asarray(groups)
    allowed = groups[:, None] != groups
    if not allowed.any(axis=1).all():
        raise ValueError("Every left needs a right outside its own group; the pool is too small.")
    return allowed
