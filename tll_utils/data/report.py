"""Looks at every image of a data set and says what is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tll_utils.data.dataset import Dataset
from tll_utils.data.duplicates import (
    Look,
    exact_duplicates,
    look_at,
    near_duplicates,
    number_groups,
)
from tll_utils.data.tables import counted


@dataclass(frozen=True)
class Report:
    """What `inspect` found; `str(report)` is for people.

    Attributes:
        name, root: Of the data set.
        counts: Number of pairs, queries, candidates per query, gallery images and images.
        sizes: How often each (width, height) occurs.
        modes: How often each Pillow mode occurs; all but "RGB" are converted.
        unreadable: One message per image that cannot be used.
        exact_duplicates: Groups of files with equal bytes.
        near_duplicates: Groups of files that look the same, those of equal bytes among them.
    """

    name: str
    root: Path
    counts: dict[str, int]
    sizes: Counter[tuple[int, int]]
    modes: Counter[str]
    unreadable: tuple[str, ...]
    exact_duplicates: tuple[tuple[Path, ...], ...]
    near_duplicates: tuple[tuple[Path, ...], ...]

    @property
    def num_converted(self) -> int:
        """Images that are not RGB in their files."""
        return sum(count for mode, count in self.modes.items() if mode != "RGB")

    def __str__(self) -> str:
        sizes = Counter({f"{w}×{h}": count for (w, h), count in self.sizes.items()})
        lines = [f"{self.root} ({self.name})"]
        lines += [f"  {what:22}{count}" for what, count in self.counts.items()]
        lines += [
            f"  {'sizes, width×height':22}{_listed(sizes)}",
            f"  {'modes':22}{_listed(self.modes)} ({self.num_converted} converted to RGB)",
        ]
        for what, groups in (
            ("exact duplicates", self.exact_duplicates),
            ("near-duplicates", self.near_duplicates),
        ):
            found = counted(len(groups), "group"), counted(sum(map(len, groups)), "image")
            lines += [f"  {what:22}{' of '.join(found)}"]
        lines += [f"  {'unreadable':22}{len(self.unreadable)}"]
        lines += [f"    {problem}" for problem in self.unreadable]
        return "\n".join(lines)


def inspect(dataset: Dataset, *, progress: bool = True) -> Report:
    """Decodes every image of a data set and reports what is there and what is wrong.

    Args:
        dataset: As read by `load`.
        progress: Show a bar. Defaults to `True`.
    """
    paths = [
        *dataset.left_paths,
        *dataset.right_paths,
        *dataset.query_paths,
        *dataset.gallery_paths,
    ]
    looks = look_at(paths, progress=progress)
    good = [look for look in looks if not look.error]
    exact = exact_duplicates(good)
    return Report(
        name=dataset.name,
        root=dataset.root,
        counts={
            "pairs": dataset.num_pairs,
            "queries": dataset.num_queries,
            "candidates per query": dataset.m,
            "gallery": len(dataset.gallery_paths),
            "images": len(paths),
        },
        sizes=Counter(look.size for look in good),
        modes=Counter(look.mode for look in good),
        unreadable=tuple(look.error for look in looks if look.error),
        exact_duplicates=_groups_of_files(good, exact),
        near_duplicates=_groups_of_files(good, exact + near_duplicates(good)),
    )


def _groups_of_files(
    looks: Sequence[Look], edges: Iterable[tuple[int, int]]
) -> tuple[tuple[Path, ...], ...]:
    groups: dict[int, list[Path]] = {}
    for look, label in zip(looks, number_groups(len(looks), edges).tolist(), strict=True):
        groups.setdefault(label, []).append(look.path)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def _listed(counter: Counter[str], shown: int = 5) -> str:
    parts = [f"{what}: {count}" for what, count in counter.most_common(shown)]
    rest = len(counter) - shown
    return ", ".join(parts) + (f" and {rest} more" if rest > 0 else "")
