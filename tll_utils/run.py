"""What every notebook starts with: settings, data, one evaluation protocol, one way to report."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import keras
import numpy as np
import pandas as pd

from tll_utils import data, features, files, images, scoring, training
from tll_utils.data import sample
from tll_utils.errors import DataError, TllError
from tll_utils.features import Views
from tll_utils.machine import Machine, make_room
from tll_utils.protocol import Protocol, Scores
from tll_utils.scoring import Scorer, leaderboard, stored, submission
from tll_utils.settings import Settings, choose_networks, project_dir

NUM_FOLDS = {"quick": 2, "cpu": 4, "full": 4}
SPLIT_SEED = 0  # of folds and candidate lists: systems of all seeds are asked the same
NUM_CANDIDATES = 20
QUICK_SIZE = (128, 128)  # height and width of images for backbones: a third of the work of 224
SMOKE_PAIRS, SMOKE_QUERIES, SMOKE_FOLDS = 24, 12, 2

T = TypeVar("T")
# Fits on the pairs `train` of one fold; a model from features or images to embeddings means that
# their cosine is the score.
Fit = Callable[[np.ndarray, int], Scorer | keras.Model]


class Run:
    """One notebook's run: its data, its protocol and its results. Made by `start`."""

    def __init__(self, notebook: str, settings: Settings, dataset: data.Dataset):
        self.notebook, self.settings, self.dataset = notebook, settings, dataset
        self.profile, self.seed, self.out_dir = settings.profile, settings.seed, settings.out_dir
        # Decided before the protocol looks at its images: a bad folder must not cost a wait.
        files.require_writable(self.out_dir)
        what: dict[str, Any] = {"data": dataset.name, "profile": self.profile, "seeds": [self.seed]}
        leaderboard.refuse_overwriting(self.out_dir, [notebook], **what)
        groups = data.near_duplicate_groups(dataset.left_paths, dataset.right_paths)
        num_folds = SMOKE_FOLDS if settings.smoke else NUM_FOLDS[self.profile]
        self.protocol = Protocol.draw(
            groups, num_folds=num_folds, m=NUM_CANDIDATES, seed=SPLIT_SEED
        )
        for name in settings.backbones:  # a misspelled one is no sign that there are too few
            features.backbones.get(name)
        available = functools.partial(features.weights.available, weights=settings.weights)
        self.networks = choose_networks(notebook, settings, available=available)
        self._weights: dict[str, str] = {}

    def __str__(self) -> str:
        return f"{self.notebook}: profile {self.profile}, {self.caption()}"

    @property
    def is_sample(self) -> bool:
        return self.dataset.name == "sample"

    @property
    def groups(self) -> np.ndarray:
        """Near-duplicate groups of the pairs, int `(pairs,)`."""
        return self.protocol.groups

    @property
    def backbones(self) -> tuple[str, ...]:
        """The networks of this notebook in this run; see `settings.NETWORKS`."""
        return self.networks.networks

    @functools.cached_property
    def machine(self) -> Machine:
        """The devices there are, chosen when first asked for; says what it found."""
        return training.choose()

    def pick(self, *, quick: T, cpu: T, full: T, smoke: T | None = None) -> T:
        """Returns the value of the current profile; in a smoke test `smoke`, if there is one."""
        if self.settings.smoke and smoke is not None:
            return smoke
        return {"quick": quick, "cpu": cpu, "full": full}[self.profile]

    def caption(self) -> str:
        """What the numbers were measured on, for tables and figures."""
        what = "synthetic sample data" if self.is_sample else f"data {self.dataset.name!r}"
        return (
            f"{what}: {len(self.dataset.pairs)} pairs, {len(self.dataset.query_paths)} test "
            f"queries, {self.protocol.num_folds} folds, m = {self.protocol.m}, seed {self.seed}; "
            f"chance {scoring.chance(2, self.protocol.m):.3f}"
        )

    # What systems see -----------------------------------------------------------------------------

    def weights_of(self, backbone: str) -> str:
        """Which weights a backbone gets in this run: `"imagenet"`, a file, or `"random"`."""
        if backbone not in self._weights:
            self._weights[backbone] = features.backbones.resolve_weights(
                backbone, weights=self.settings.weights
            )
        return self._weights[backbone]

    def image_size(self, backbone: str) -> tuple[int, int]:
        """Height and width at which a backbone sees the images: its own, in `quick` less."""
        entry = features.backbones.get(backbone)
        if self.settings.smoke:
            return entry.min_size, entry.min_size
        fits = entry.min_size <= min(QUICK_SIZE)
        return QUICK_SIZE if self.profile == "quick" and fits else entry.size

    def looks(self, backbone: str) -> dict[str, Any]:
        """How this run has images embedded: options of `features.embed`."""
        what = {"weights": self.weights_of(backbone), "size": self.image_size(backbone)}
        how = {"store_dir": self.out_dir / "features", "engine": self.settings.engine}
        return {**what, **how, "seed": self.seed}

    def embed(self, backbone: str, **options: Any) -> dict[str, Views]:
        """Embeds all images of the data set through the store; see `features.embed_dataset`."""
        options = {**self.looks(backbone), **options}
        return features.embed_dataset(self.dataset, backbone, **options)

    def pixels(self, size: tuple[int, int], *, gray: bool = False, antialias: bool = True) -> Views:
        """Loads all images of the data set as bytes; see `features.pixels`."""
        return features.pixels(
            self.dataset, size=size, gray=gray, antialias=antialias, progress=False
        )

    def training_dir(self, system: str, fold: int) -> Path:
        """Folder in which the training of one fold keeps its state; see `training.fit`."""
        return self._folder("training") / f"{system}_fold{fold}"

    # Evaluation -----------------------------------------------------------------------------------

    def score_frozen(
        self, views: Views, similarity: Callable[..., np.ndarray] = scoring.cosine_scores
    ) -> Scores:
        """Scores features that nothing was fitted on; `views` as from `embed`."""
        start, lists = time.monotonic(), self.dataset.candidate_index
        return Scores(
            oof=similarity(views.left, views.right, self.protocol.candidates),
            score_test=lambda: similarity(views.query, views.gallery, lists),
            rows=np.arange(len(self.dataset.pairs)),
            seconds=time.monotonic() - start,
            scorers=(scoring.distance_of(),) if similarity is scoring.euclidean_scores else (),
            front=views.front,
        )

    def cross_validate(
        self, fit: Fit, views: Views, *, folds: Sequence[int] | None = None
    ) -> Scores:
        """Fits on all folds but one, scores that one; the test scores are the models' mean.

        What `fit` returns must not change afterwards: the test set is scored when it is asked for.

        Args:
            fit: `fit(train_indices, fold)` returns a scorer, or an encoder whose embeddings are
                compared by cosine. It sees the training side alone.
            views: Arrays of left, right, query and gallery; features or images.
            folds: The folds to run. Defaults to all.
        """
        start = time.monotonic()
        splits = dict(enumerate(self.protocol.splits()))
        chosen = list(splits) if folds is None else list(folds)
        oof = np.full(self.protocol.candidates.shape, np.nan, np.float32)
        scorers = []
        for fold in chosen:
            make_room()
            train, valid = splits[fold]
            fitted = fit(train, fold)
            scorer = scoring.cosine_of(fitted) if isinstance(fitted, keras.Layer) else fitted
            oof[valid] = scorer(views.left[valid], views.right, self.protocol.candidates[valid])
            scorers.append(scorer)
        rows = np.flatnonzero(np.isin(self.protocol.folds, chosen))
        seconds = time.monotonic() - start
        asked = views.query, views.gallery, self.dataset.candidate_index
        score_test = functools.partial(scoring.mean_scores, scorers, *asked)
        return Scores(oof, score_test, rows, seconds, tuple(scorers), views.front, views)

    def hits(self, scores: Scores, k: int = 2, *, rows: np.ndarray | None = None) -> np.ndarray:
        """Marks the scored pairs whose match ranks in the top `k`. Bool, one per row.

        rows: The pairs to look at. Defaults to all that the system has scored.
        """
        rows = scores.rows if rows is None else rows
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

    def compare(self, pairs: Mapping[str, tuple[Scores, Scores]]) -> pd.DataFrame:
        """Compares systems pair by pair, on the pairs that both have scored.

        Args:
            pairs: For each label, such as `"RGB − gray"`, two systems a and b.

        Returns:
            One row per label: the difference a − b in top-2 with its 95 % interval, the p-value
            of the exact McNemar test, corrected for the number of rows (Holm), and n.
        """
        found = {}
        for label, (a, b) in pairs.items():
            rows = np.intersect1d(a.rows, b.rows)
            hits = (self.hits(scores, rows=rows) for scores in (a, b))
            found[label] = scoring.paired_comparison(*hits, seed=self.seed)
        table = scoring.comparison_table(found)
        table["n"] = [len(np.intersect1d(a.rows, b.rows)) for a, b in pairs.values()]
        return table

    def mistakes(self, scores: Scores, count: int = 3) -> np.ndarray:
        """The pairs with a wrong candidate first, the most convinced ahead; see `show`."""
        places = self.protocol.true_place[scores.rows]
        return scores.rows[scoring.surest_mistakes(scores.oof[scores.rows], places, count)]

    def show(
        self, scores: Scores, rows: Sequence[int] | np.ndarray, *, title: str, num_shown: int = 8
    ) -> Any:
        """Draws some pairs' lefts with their candidates by score; the match is framed."""
        from tll_utils import plots

        read, rights = images.read_image, self.dataset.right_paths
        return plots.candidate_rows(
            [read(self.dataset.left_paths[row]) for row in rows],
            [[read(rights[c]) for c in self.protocol.candidates[row]] for row in rows],
            scores.oof[rows],
            self.protocol.true_place[rows],
            num_shown=num_shown,
            title=title,
        )

    # Reporting ------------------------------------------------------------------------------------

    def record(
        self,
        system: str,
        scores: Scores,
        *,
        backbone: str = "",
        protocol: str = "per query",
        interval: tuple[float, float] | None = None,
    ) -> dict[str, Any]:
        """Writes a system's CSV, scores and model, and adds its row to `results.json`.

        Args:
            system: Snake-case name; the files are called the same.
            scores: From `cross_validate` or `score_frozen`.
            backbone: Registry names joined by `+`, empty if none is used.
            protocol: `"per query"`, or `"whole set"` for a system that looks at all queries.
            interval: 95 % interval of top-2. Defaults to Wilson's, which takes queries for
                independent; a whole set has `scoring.whole_set_interval`.

        Returns:
            The row.
        """
        if not system.isidentifier() or system != system.lower():
            raise ValueError(f"A system's name must be snake_case. Received: {system!r}")
        summary = self.summarise(scores)  # refuses NaN before anything is written
        if interval is not None:
            summary |= {"low": float(interval[0]), "high": float(interval[1])}
        used = {self.weights_of(name) for name in backbone.split("+") if name}
        num_folds = len(np.unique(self.protocol.folds[scores.rows]))
        row = {
            "system": system,
            "notebook": self.notebook,
            "split": f"{num_folds} of {self.protocol.num_folds} folds, out of fold",
            **summary,
            "seed": self.seed,
            "seconds": round(scores.seconds, 1),
            "backbone": backbone,
            "weights": "+".join(sorted(Path(name).name for name in used)) or "none",
            "data": self.dataset.name,
            "profile": self.profile,
            "protocol": protocol,
        }
        csv = self.out_dir / f"{leaderboard.stem(system, self.seed)}.csv"
        submission.write(csv, self.dataset.candidates, scores.test)
        self._save_scores(system, scores)
        if scoring.can_compose(scores.front, scores.scorers):
            with files.replacing(self._model_path(system)) as draft:
                scoring.compose(scores.front, scores.scorers).save(draft)
        else:  # a model of an earlier run would be another system's
            self._model_path(system).unlink(missing_ok=True)
        make_room()
        leaderboard.write(self.out_dir, [row])
        return row

    def load_model(self, system: str) -> keras.Model:
        """Reads the model that `record` left: from RGB images in [0, 255] to embeddings.

        The cosine of two embeddings is the recorded score. A system that learned its similarity
        takes two images, `left` and `right`, and gives the score itself.

        Raises:
            TllError: If there is none.
        """
        path = self._model_path(system)
        if not path.is_file():
            raise TllError(
                f"{path}: no such model. Run the notebook of {system!r} first; a combination of "
                "systems, or a scorer that is a function of your own, leaves none."
            )
        make_room()  # a model's numbers are there twice while it is read
        return keras.saving.load_model(path, safe_mode=True)

    def load_scores(self, system: str) -> Scores:
        """Reads the scores that `record` stored.

        Raises:
            TllError: If there are none that belong to this data set and protocol, or the file is
                damaged.
        """
        path = self._scores_path(system)
        if not path.is_file():
            raise TllError(f"No scores of {system!r}; run its notebook first.")
        found = stored.read(path)
        asked = {"candidates": self.protocol, "candidate_index": self.dataset}
        if not all(np.array_equal(found[n], getattr(of, n)) for n, of in asked.items()):
            raise TllError(f"The scores of {system!r} belong to another data set or seed.")
        return Scores(found["oof"], lambda: found["test"], found["rows"], float(found["seconds"]))

    def recorded(self) -> list[str]:
        """Names of the systems with scores of this data set and protocol, as in `results.json`."""
        names = []
        for row in self._rows():
            try:
                self.load_scores(row["system"])
            except TllError:
                continue
            names.append(row["system"])
        return list(dict.fromkeys(names))

    def table(self, systems: Sequence[str] | None = None) -> pd.DataFrame:
        """The results of this data set, profile and seed so far, best top-2 first."""
        shown = self.recorded() if systems is None else systems
        return leaderboard.leaderboard([row for row in self._rows() if row["system"] in shown])

    def _rows(self) -> list[dict[str, Any]]:
        name, profile, seed = self.dataset.name, self.profile, self.seed
        return leaderboard.of_run(self.out_dir, data=name, profile=profile, seed=seed)

    def _folder(self, kind: str) -> Path:
        return self.out_dir / kind / f"{self.dataset.name}_{self.profile}_seed{self.seed}"

    def _scores_path(self, system: str) -> Path:
        return self._folder("scores") / f"{system}.npz"

    def _model_path(self, system: str) -> Path:
        return self.out_dir / "models" / f"{leaderboard.stem(system, self.seed)}.keras"

    def _save_scores(self, system: str, scores: Scores) -> None:
        kept = {name: getattr(scores, name) for name in ("oof", "test", "rows", "seconds")}
        kept |= {"candidates": self.protocol.candidates}
        kept |= scoring.agreeing_cells(scores, self.protocol.folds, kept["candidates"])
        path = self._scores_path(system)
        stored.write(path, candidate_index=self.dataset.candidate_index, **kept)


def start(notebook: str, settings: Settings | None = None) -> Run:
    """Opens the data set that the settings name; `quick` draws the sample if it has none.

    Args:
        notebook: The notebook's file name without its ending.
        settings: Defaults to those of the environment.

    Raises:
        SettingsError, DataError: If a setting, the data set or the output folder cannot be used.
    """
    settings = settings or Settings.from_environment()
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # Same seed, same numbers: without deterministic kernels the last digits differ.
        tf.config.experimental.enable_op_determinism()
    return Run(notebook, settings, data.load(data_dir_of(settings), seed=SPLIT_SEED))


def data_dir_of(settings: Settings) -> Path:
    """The data folder of a run; draws the sample data set if `quick` or a smoke test has none."""
    if settings.data_dir is None and settings.smoke:
        folder = project_dir() / "data" / "sample_smoke"
        return sample.ensure(folder, num_pairs=SMOKE_PAIRS, num_queries=SMOKE_QUERIES)
    if settings.data_dir is None and settings.profile == "quick":
        return sample.ensure(project_dir() / "data" / "sample")
    found = data.find(settings.data_dir)
    if settings.data_dir is None and (found / sample.MARKER).is_file():
        raise DataError(
            f"The {settings.profile} profile is for the real data; {found} holds the drawn sample. "
            "Set TLL_DATA_DIR (or --data) to the real data, or name the sample there to use it."
        )
    return found
