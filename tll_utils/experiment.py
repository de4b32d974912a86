"""What every notebook starts with: settings, data, one evaluation protocol, one way to report."""

from __future__ import annotations

from tll_utils import quiet  # noqa: F401  first, so that TensorFlow loads in silence

# isort: split
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from tll_utils import backbones, data, features, results, sample, scoring, submission
from tll_utils.features import Views
from tll_utils.settings import Settings, project_dir

NUM_FOLDS = {"quick": 2, "cpu": 4, "full": 4}
NUM_CANDIDATES = 20
QUICK_SIZE = (128, 128)  # height and width of images for backbones: a third of the work of 224

# Scores candidate lists: (queries, gallery, candidates (n, m)) → (n, m), higher = more alike.
Scorer = Callable[[Any, Any, np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Protocol:
    """The evaluation that all systems share.

    Attributes:
        folds: Int `(pairs,)`; near-duplicate images lie in one fold.
        groups: Int `(pairs,)`; pairs that share a near-duplicate image share a group.
        candidates: Int `(pairs, m)`; the candidate rights of each left, as pair indices.
        true_place: Int `(pairs,)`; the column of the match.
    """

    folds: np.ndarray
    groups: np.ndarray
    candidates: np.ndarray
    true_place: np.ndarray

    @classmethod
    def draw(cls, groups: np.ndarray, *, num_folds: int, m: int, seed: int) -> Protocol:
        """Assigns folds and draws one candidate list per pair, of at most `m`."""
        folds = data.assign_folds(groups, num_folds=num_folds, seed=seed)
        # A small data set offers fewer distractors: the lists shrink, and every row says so.
        largest_group = np.bincount(groups).max()
        m = max(2, min(m, np.bincount(folds).min() - largest_group + 1))
        candidates, true_place = scoring.draw_candidates(folds, m=m, seed=seed, groups=groups)
        return cls(folds, groups, candidates, true_place)

    @property
    def m(self) -> int:
        return self.candidates.shape[1]

    @property
    def num_folds(self) -> int:
        return int(self.folds.max()) + 1

    def splits(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields `(train, valid)` pair indices, fold by fold."""
        for fold in range(self.num_folds):
            yield np.flatnonzero(self.folds != fold), np.flatnonzero(self.folds == fold)


@dataclasses.dataclass(frozen=True, eq=False)
class Scores:
    """What a system says of the training pairs and of the test queries.

    Attributes:
        oof: Float `(pairs, m)`: out of fold, each pair scored by a model that never saw it.
        test: Float `(queries, m_test)`.
        rows: Int; the pairs whose `oof` row counts. The others hold NaN.
        seconds: What fitting and scoring took, from stored features or loaded images.
    """

    oof: np.ndarray
    test: np.ndarray
    rows: np.ndarray
    seconds: float = 0.0


class Experiment:
    """One notebook's run: its data, its protocol and its results. Made by `start`."""

    def __init__(self, notebook: str, settings: Settings, dataset: data.Dataset):
        self.notebook, self.settings, self.dataset = notebook, settings, dataset
        # Decided before the protocol hashes its images: a bad folder must not cost a wait.
        _require_writable(settings.out_dir)
        self.protocol = Protocol.draw(
            self._groups(), num_folds=NUM_FOLDS[settings.profile], m=NUM_CANDIDATES, seed=self.seed
        )
        self._weights: dict[str, str] = {}

    profile = property(lambda self: self.settings.profile)
    seed = property(lambda self: self.settings.seed)
    out_dir = property(lambda self: self.settings.out_dir)
    is_quick = property(lambda self: self.profile == "quick")
    models_dir = property(lambda self: _made(self.out_dir / "models"))
    logs_dir = property(lambda self: _made(self.out_dir / "logs"))

    def __str__(self) -> str:
        what = "synthetic sample data" if self.dataset.name == "sample" else "data"
        return (
            f"{self.notebook}: profile {self.profile}, {what} {self.dataset.name!r} with "
            f"{len(self.dataset.pairs)} pairs and {len(self.dataset.query_paths)} test queries; "
            f"{self.protocol.num_folds} folds, m = {self.protocol.m}, seed {self.seed}"
        )

    def pick(self, *, quick, cpu, full):
        """Returns the value of the current profile."""
        return {"quick": quick, "cpu": cpu, "full": full}[self.profile]

    # Features -----------------------------------------------------------------------------------

    def weights_of(self, backbone: str) -> str:
        """Which weights a backbone gets in this run: `"imagenet"`, a file, or `"random"`."""
        if backbone not in self._weights:
            self._weights[backbone] = backbones.resolve_weights(
                backbone, weights=self.settings.weights, profile=self.profile
            )
        return self._weights[backbone]

    def image_size(self, backbone: str) -> tuple[int, int]:
        """Height and width at which a backbone sees the images: its own, in `quick` less."""
        return QUICK_SIZE if self.is_quick else backbones.get(backbone).size

    def embed(self, backbone: str, **options) -> dict[str, Views]:
        """Embeds all images of the data set through the store; see `features.embed_dataset`."""
        return features.embed_dataset(
            self.dataset,
            backbone,
            weights=self.weights_of(backbone),
            size=self.image_size(backbone),
            store_dir=self.out_dir / "features",
            seed=self.seed,
            **options,
        )

    # Evaluation ---------------------------------------------------------------------------------

    def score_frozen(self, views: Views, similarity: Scorer = scoring.cosine_scores) -> Scores:
        """Scores features that nothing was fitted on; `views` as from `embed`."""
        start = time.monotonic()
        return Scores(
            oof=similarity(views.left, views.right, self.protocol.candidates),
            test=similarity(views.query, views.gallery, self.dataset.candidate_index),
            rows=np.arange(len(self.dataset.pairs)),
            seconds=time.monotonic() - start,
        )

    def cross_validate(
        self,
        fit: Callable[[np.ndarray, int], Scorer],
        views: Views,
        *,
        folds: Sequence[int] | None = None,
    ) -> Scores:
        """Fits on all folds but one, scores that one; the test scores are the models' mean.

        Args:
            fit: `fit(train_indices, fold)` returns a scorer. It sees the training side alone.
            views: Arrays of left, right, query and gallery; features or images.
            folds: The folds to run. Defaults to all.
        """
        start = time.monotonic()
        splits = dict(enumerate(self.protocol.splits()))
        chosen = list(splits) if folds is None else list(folds)
        oof = np.full(self.protocol.candidates.shape, np.nan, np.float32)
        test = np.zeros(self.dataset.candidate_index.shape, np.float32)
        for fold in chosen:
            train, valid = splits[fold]
            scorer = fit(train, fold)
            oof[valid] = scorer(views.left[valid], views.right, self.protocol.candidates[valid])
            test += scorer(views.query, views.gallery, self.dataset.candidate_index) / len(chosen)
        rows = np.flatnonzero(np.isin(self.protocol.folds, chosen))
        return Scores(oof, test, rows, seconds=time.monotonic() - start)

    def hits(self, scores: Scores, k: int = 2) -> np.ndarray:
        """Marks the scored pairs whose match ranks in the top `k`. Bool `(len(scores.rows),)`."""
        rows = scores.rows
        return scoring.top_k_hits(scores.oof[rows], self.protocol.true_place[rows], k)

    def summarise(self, scores: Scores) -> dict[str, float]:
        """Top-1, top-2 and top-5 with the 95 % interval of top-2, and what they were taken on."""
        low, high = scoring.wilson_interval(self.hits(scores))
        return {
            "n": len(scores.rows),
            "m": self.protocol.m,
            **{f"top_{k}": float(np.mean(self.hits(scores, k))) for k in (1, 2, 5)},
            "low": low,
            "high": high,
        }

    # Reporting ----------------------------------------------------------------------------------

    def record(
        self,
        system: str,
        scores: Scores,
        *,
        backbone: str = "",
        weights: str | None = None,
        protocol: str = "per query",
    ) -> dict:
        """Writes a system's CSV and its scores, and adds its row to `results.json`.

        Args:
            system: Snake-case name; the CSV is called the same.
            scores: From `cross_validate` or `score_frozen`.
            backbone: Registry names joined by `+`, empty if none is used.
            weights: Defaults to the weights of `backbone`, `"none"` without one.
            protocol: `"per query"`, or `"whole set"` for a system that looks at all queries.

        Returns:
            The row.
        """
        if not system.isidentifier() or system != system.lower():
            raise ValueError(f"A system's name must be snake_case. Received: {system!r}")
        summary = self.summarise(scores)  # refuses NaN before anything is written
        if weights is None:
            used = {self.weights_of(name) for name in backbone.split("+") if name}
            weights = "+".join(sorted(used)) or "none"
        num_folds = len(np.unique(self.protocol.folds[scores.rows]))
        row = {
            "system": system,
            "notebook": self.notebook,
            "split": f"{num_folds} of {self.protocol.num_folds} folds, out of fold",
            **summary,
            "seed": self.seed,
            "seconds": round(scores.seconds, 1),
            "backbone": backbone,
            "weights": weights,
            "data": self.dataset.name,
            "profile": self.profile,
            "protocol": protocol,
        }
        submission.write(self.out_dir / f"{system}.csv", self.dataset.candidates, scores.test)
        self._save_scores(system, scores)
        results.write(self.out_dir, [row])
        return row

    def load_scores(self, system: str) -> Scores:
        """Reads the scores that `record` stored.

        Raises:
            KeyError: If there are none that belong to this data set and protocol.
        """
        path = self._scores_path(system)
        if not path.is_file():
            raise KeyError(f"No scores of {system!r}; run its notebook first.")
        with np.load(path) as stored:
            if not (
                np.array_equal(stored["candidates"], self.protocol.candidates)
                and np.array_equal(stored["candidate_index"], self.dataset.candidate_index)
                and stored["data"] == f"{self.dataset.name} {self.profile}"
            ):
                raise KeyError(f"The scores of {system!r} belong to another data set or seed.")
            arrays = (stored[name] for name in ("oof", "test", "rows"))
            return Scores(*arrays, seconds=float(stored["seconds"]))

    def recorded(self) -> list[str]:
        """Names of the systems with scores of this data set and protocol, as in `results.json`."""
        names = []
        for row in results.read(self.out_dir):
            try:
                self.load_scores(row["system"])
            except KeyError:
                continue
            names.append(row["system"])
        return names

    def table(self, systems: Sequence[str] | None = None) -> pd.DataFrame:
        """The results of this data set and profile so far, best top-2 first."""
        rows = results.of_run(self.out_dir, data=self.dataset.name, profile=self.profile)
        return results.leaderboard(
            [row for row in rows if systems is None or row["system"] in systems]
        )

    def _scores_path(self, system: str) -> Path:
        return self.out_dir / "scores" / f"{system}.npz"

    def _save_scores(self, system: str, scores: Scores) -> None:
        path = self._scores_path(system)
        beside = _made(path.parent) / f".{system}.npz"
        np.savez_compressed(
            beside,
            **dataclasses.asdict(scores),
            candidates=self.protocol.candidates,
            candidate_index=self.dataset.candidate_index,
            data=f"{self.dataset.name} {self.profile}",
        )
        beside.replace(path)

    def _groups(self) -> np.ndarray:
        return data.near_duplicate_groups(self.dataset.left_paths, self.dataset.right_paths)


def start(notebook: str, settings: Settings | None = None) -> Experiment:
    """Opens the data set the settings name and seeds everything.

    In the `quick` profile without a data folder, the sample data set is drawn first.

    Args:
        notebook: The notebook's file name without its ending.
        settings: Defaults to those of the environment.

    Raises:
        SettingsError, DataError: If a setting or the data set cannot be used.
    """
    settings = settings or Settings.from_environment()
    for name in settings.backbones:
        backbones.get(name)
    # Same seed, same numbers: without deterministic kernels the last digits differ from run to run.
    keras.utils.set_random_seed(settings.seed)
    tf.config.experimental.enable_op_determinism()
    return Experiment(notebook, settings, data.load(data_dir_of(settings)))


def data_dir_of(settings: Settings) -> Path:
    """The data folder of a run; draws the sample data set if `quick` was given none."""
    if settings.data_dir is None and settings.profile == "quick":
        return sample.ensure(project_dir() / "data" / "sample")
    found = data.find(settings.data_dir)
    if settings.data_dir is None and (found / sample.MARKER).is_file():
        raise data.DataError(
            f"The {settings.profile} profile is for the real data, and {found} holds the drawn "
            "sample. Set TLL_DATA_DIR (or --data) to the real data; name the sample there to run "
            "this profile on it."
        )
    return found


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _require_writable(directory: Path) -> None:
    submission.replace_text(directory / ".writable", "")
    (directory / ".writable").unlink()
