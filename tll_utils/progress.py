"""One kind of progress bar for all long work, which the runner of the notebooks can silence."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm.auto import tqdm


def bar(iterable: Iterable[Any] | None = None, *, shown: bool = True, **options: Any) -> tqdm:
    """A bar that leaves no trace when it is done.

    tqdm's notebook bars do not listen to `TQDM_DISABLE` themselves, and inside a saved notebook a
    bar is noise.

    Args:
        iterable: What to walk over; without one, move the bar on with `update`.
        shown: Whether to show it, unless `TQDM_DISABLE` is set.
        **options: As of `tqdm`, such as `total`, `desc` and `unit`.
    """
    from tqdm.auto import tqdm  # not above: a search should not wait for it

    hidden = not shown or bool(os.environ.get("TQDM_DISABLE"))
    return tqdm(iterable, disable=hidden, leave=False, **options)
