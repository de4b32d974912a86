"""The protocol and the report that every notebook shares, and the models that it leaves."""

import importlib.util
import itertools
import json
import os
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
from matplotlib.text import Text

from tll_utils import data, ensemble, features, generators, layers, losses, scoring, training
from tll_utils import run as runs
from tll_utils.errors import DataError, SettingsError, TllError
from tll_utils.features import Views, transforms
from tll_utils.protocol import Protocol, Scores
from tll_utils.scoring import leaderboard, submission


@pytest.fixture
def run(make_settings):
    return runs.start("00_test", make_settings())


def random_scores(run, seed=0):
    rng = np.random.default_rng(seed)
    oof = rng.normal(size=run.protocol.candidates.shape)
    test = rng.normal(size=run.dataset.candidate_index.shape)
    return Scores(
        oof,
        lambda: test,
        np.arange(len(run.dataset.pairs)),
        seconds=1.25,
    )


def numbers_of(run):
    """Views in which pair i is the number i."""
    pairs = np.arange(len(run.dataset.pairs), dtype=float)
    sizes = len(run.dataset.query_paths), len(run.dataset.gallery_paths)
    return Views(pairs, pairs, *map(np.zeros, sizes))


def constant(value):
    """A scorer of one's own that says the same of all."""
    return lambda queries, gallery, candidates: np.full(candidates.shape, value, float)


# -- protocol --------------------------------------------------------------------------------------


def test_protocol_shrinks_lists_to_what_a_fold_offers():
    groups = np.array([0, 0, *range(1, 19)])  # 20 pairs, two of them near-duplicates
    protocol = Protocol.draw(groups, num_folds=2, m=20, seed=0)
    assert protocol.m == 9  # folds of 10; the query's own group leaves 8 distractors
    assert protocol.num_folds == 2


def test_protocol_splits_cover_every_pair_once_and_share_no_group():
    groups = np.repeat(np.arange(20), 2)
    protocol = Protocol.draw(groups, num_folds=4, m=5, seed=1)
    valid = [v for _, v in protocol.splits()]
    np.testing.assert_array_equal(np.sort(np.concatenate(valid)), np.arange(40))
    for train, held_out in protocol.splits():
        assert not set(groups[train]) & set(groups[held_out])
        candidates = protocol.candidates[held_out]
        assert set(candidates.ravel()) <= set(held_out)
        rows = np.arange(len(held_out))
        np.testing.assert_array_equal(candidates[rows, protocol.true_place[held_out]], held_out)


# -- start -----------------------------------------------------------------------------------------


def test_start_describes_the_run(run):
    said = str(run)
    assert said.startswith("00_test: profile quick, synthetic sample data: 24 pairs, 12 test ")
    assert f"2 folds, m = {run.protocol.m}, seed 0; chance {2 / run.protocol.m:.3f}" in said


def test_start_refuses_an_output_folder_it_cannot_write(make_settings, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TllError, match="cannot be written"):
        runs.start("00_test", make_settings(out_dir=tmp_path / "file"))


def test_start_does_not_overwrite_another_runs_files(run, make_settings):
    run.record("a", random_scores(run))
    path = run.out_dir / leaderboard.FILE_NAME
    path.write_text(path.read_text().replace('"sample"', '"tll"'))
    with pytest.raises(SettingsError, match="data 'tll' in profile quick"):
        runs.start("00_test", make_settings())


def test_other_profiles_do_not_take_the_sample_for_real_data(
    make_settings, monkeypatch, sample_dir
):
    monkeypatch.setattr(data, "find", lambda data_dir: sample_dir)
    with pytest.raises(DataError, match="holds the drawn sample"):
        runs.data_dir_of(make_settings(data_dir=None, profile="cpu"))
    named = make_settings(data_dir=sample_dir, profile="cpu")
    assert runs.data_dir_of(named) == sample_dir


def test_pick_takes_the_value_of_the_profile_or_of_a_smoke_test(make_settings):
    values = {"quick": 1, "cpu": 2, "full": 3}
    assert runs.start("00_test", make_settings()).pick(**values) == 1
    assert runs.start("00_test", make_settings(profile="cpu")).pick(**values, smoke=4) == 2
    smoke = runs.start("00_test", make_settings(smoke=True))
    assert (smoke.pick(**values, smoke=4), smoke.pick(**values)) == (4, 1)


# -- evaluation ------------------------------------------------------------------------------------


def test_cross_validate_never_scores_a_pair_with_a_model_that_saw_it(run):
    views, given = numbers_of(run), []

    def fit(train, fold):
        given.append(train)

        def scorer(queries, gallery, candidates):
            if len(gallery) == len(run.dataset.pairs):  # the held-out pairs, not the test set
                assert not np.isin(queries, train).any()
                assert not np.isin(gallery[candidates], train).any()
            return np.full(candidates.shape, fold, float)

        return scorer

    scores = run.cross_validate(fit, views)
    np.testing.assert_array_equal(scores.oof[:, 0], run.protocol.folds)
    np.testing.assert_array_equal(scores.test, 0.5)  # the mean of folds 0 and 1
    for fold, train in enumerate(given):
        held_out = run.protocol.folds == fold
        assert not held_out[train].any()
        assert not np.isin(run.groups[train], run.groups[held_out]).any()


def test_the_test_queries_are_scored_once_and_only_if_asked_for(run):
    asked = []

    def scorer(queries, gallery, candidates):
        asked.append(len(gallery))
        return np.zeros(candidates.shape)

    scores = run.cross_validate(lambda train, fold: scorer, numbers_of(run))
    num_folds, gallery = run.protocol.num_folds, len(run.dataset.gallery_paths)
    assert asked == [len(run.dataset.pairs)] * num_folds
    assert scores.test is scores.test
    assert asked[num_folds:] == [gallery] * num_folds


def test_cross_validate_on_one_fold_scores_its_rows_alone(run):
    scores = run.cross_validate(lambda train, fold: constant(1), numbers_of(run), folds=[1])
    np.testing.assert_array_equal(scores.rows, np.flatnonzero(run.protocol.folds == 1))
    assert np.isnan(scores.oof[run.protocol.folds == 0]).all()
    row = run.record("one_fold", scores)
    assert row["split"] == "1 of 2 folds, out of fold" and row["n"] == len(scores.rows)
    assert row["top_2"] == 0  # a constant scorer: all ties


def test_a_system_took_what_fitting_and_scoring_its_folds_took(run, monkeypatch):
    ticks = itertools.count(step=3)  # the clock is read at the beginning and at the end
    monkeypatch.setattr(runs.time, "monotonic", lambda: next(ticks))
    scores = run.cross_validate(lambda train, fold: constant(1), numbers_of(run))
    assert scores.seconds == 3
    both = ensemble.combine([scores, scores], lambda members: members[0])
    assert both.seconds == 6


def with_hits(run, hits, rows=None):
    """Scores in which the match of some pairs is first, and last for the others."""
    rows = np.arange(len(run.dataset.pairs)) if rows is None else rows
    oof = np.full(run.protocol.candidates.shape, np.nan)
    oof[rows] = 0.5
    oof[rows, run.protocol.true_place[rows]] = np.where(hits, 1, -1)
    return Scores(oof, lambda: np.zeros(run.dataset.candidate_index.shape), rows)


def test_summarise_counts_the_scored_rows_by_hand(run):
    summary = run.summarise(with_hits(run, [True, True, False], np.array([3, 5, 8])))
    assert summary["n"] == 3 and summary["m"] == run.protocol.m
    assert summary["top_1"] == summary["top_2"] == summary["top_5"] == pytest.approx(2 / 3)
    assert (summary["low"], summary["high"]) == scoring.wilson_interval([True, True, False])


def test_compare_takes_the_rows_that_both_have_scored(run):
    all_right = with_hits(run, np.ones(24, bool))
    few = with_hits(run, [True, False, False], np.array([3, 5, 8]))
    table = run.compare({"all − few": (all_right, few), "all − all": (all_right, all_right)})
    assert list(table.index) == ["all − few", "all − all"] and table["n"].tolist() == [3, 24]
    found = scoring.paired_comparison(run.hits(all_right)[:3], run.hits(few))
    expected = scoring.comparison_table(
        {"all − few": found, "all − all": scoring.paired_comparison([True] * 24, [True] * 24)}
    )
    assert table.drop(columns="n").iloc[0, 0] == expected.iloc[0, 0]


def test_mistakes_are_pairs_with_a_wrong_candidate_first_the_surest_ahead(run):
    rows = np.array([3, 5, 8])
    scores = with_hits(run, [True, False, False], rows)
    scores.oof[8, (run.protocol.true_place[8] + 1) % run.protocol.m] = 9
    assert run.mistakes(scores, 5).tolist() == [8, 5]


def test_show_draws_the_pairs_asked_for(run):
    figure = run.show(with_hits(run, np.ones(24, bool)), [4, 7], title="Two pairs", num_shown=3)
    assert any("Two pairs" in text.get_text() for text in figure.figure.findobj(Text))


# -- records ---------------------------------------------------------------------------------------


def test_record_writes_a_valid_csv_a_row_and_the_scores(run):
    scores = random_scores(run)
    row = run.record("random_guess", scores)
    read = submission.read(run.out_dir / "random_guess.csv", run.dataset.candidates)
    np.testing.assert_allclose(read, scores.test, rtol=1e-8)
    [stored] = json.loads((run.out_dir / "results.json").read_text())
    assert row.items() <= stored.items()
    assert {
        "system", "notebook", "split", "n", "m", "top_1", "top_2", "top_5", "low", "high",
        "seed", "seconds", "backbone", "weights", "data", "profile", "protocol",
    } == set(row)  # fmt: skip
    hits = scoring.top_k_hits(scores.oof, run.protocol.true_place)
    assert row["top_2"] == hits.mean()
    assert (row["low"], row["high"]) == scoring.wilson_interval(hits)
    np.testing.assert_array_equal(run.load_scores("random_guess").oof, scores.oof)
    assert run.load_scores("random_guess").seconds == 1.25
    assert row["seconds"] == 1.2
    whole = run.record("whole", scores, protocol="whole set", interval=(0.1, 0.9))
    assert (whole["low"], whole["high"], whole["protocol"]) == (0.1, 0.9, "whole set")


def test_record_replaces_the_row_of_the_same_system(run):
    run.record("a", random_scores(run, 0))
    run.record("b", random_scores(run, 1))
    last = run.record("a", random_scores(run, 2))
    rows = leaderboard.read(run.out_dir)
    assert sorted(row["system"] for row in rows) == ["a", "b"]
    assert any(last.items() <= row.items() for row in rows)
    assert list(run.table(["a"]).index) == ["a"] and set(run.table().index) == {"a", "b"}


def test_record_refuses_nan_and_leaves_nothing_behind(run):
    scores = random_scores(run)
    scores.oof[3, 1] = np.nan
    with pytest.raises(ValueError, match="row 3, candidate 1"):
        run.record("broken", scores)
    with pytest.raises(ValueError, match="snake_case"):
        run.record("Not snake", random_scores(run))
    assert list(run.out_dir.iterdir()) == []


def test_rows_and_scores_of_two_seeds_lie_side_by_side(run, make_settings):
    run.record("a", random_scores(run))
    other = runs.start("00_test", make_settings(seed=1))
    assert run.recorded() == ["a"] and other.recorded() == []
    with pytest.raises(TllError, match="No scores of 'a'"):
        other.load_scores("a")
    expected = random_scores(other, 5)
    other.record("a", expected)
    assert [row["seed"] for row in leaderboard.read(run.out_dir)] == [0, 1]
    assert {path.name for path in run.out_dir.glob("*.csv")} == {"a.csv", "a_seed1.csv"}
    np.testing.assert_array_equal(run.protocol.candidates, other.protocol.candidates)
    np.testing.assert_array_equal(run.load_scores("a").oof, random_scores(run).oof)
    np.testing.assert_array_equal(other.load_scores("a").oof, expected.oof)
    assert len(run.table()) == len(other.table()) == 1


def test_scores_of_another_protocol_are_refused(run):
    run.record("a", random_scores(run))
    run.protocol.candidates[0] = run.protocol.candidates[0, ::-1]
    with pytest.raises(TllError, match="belong to another data set or seed"):
        run.load_scores("a")
    assert run.recorded() == []


# -- models ----------------------------------------------------------------------------------------

SIDE = (16, 12)


def encoder_of(*, gray=False, seed=0):
    start = keras.initializers.GlorotUniform(seed)
    return keras.Sequential(
        [
            keras.Input((*SIDE, 1 if gray else 3)),
            keras.layers.Rescaling(1 / 255, offset=-0.5),
            keras.layers.Conv2D(4, 5, strides=4, activation="relu", kernel_initializer=start),
            keras.layers.Flatten(),
            # With a bias no embedding is 0, whose direction has no gradient (NaN on JAX).
            keras.layers.Dense(6, kernel_initializer=start, bias_initializer="ones"),
        ]
    )


def frozen(run):
    """Features of two taps, of the images and of their mirror images."""
    [name] = run.backbones
    first, last = run.embed(name), run.embed(name, flip=True)
    parts = [features.mean([first[key], last[key]]) for key in list(first)[-2:]]
    return run.score_frozen(features.join(parts))


def whitened(run):
    """A closed form, fitted per fold."""
    views = list(run.embed(run.backbones[0]).values())[-1]

    def fit(train, fold):
        return transforms.closed_form(views.left[train], views.right[train])

    return run.cross_validate(fit, views)


def trained(run):
    """An encoder that is trained on pixels."""
    views = run.pixels(SIDE)

    def fit(train, fold):
        with run.machine.scope():
            encoder = encoder_of(seed=fold)
            inputs = keras.Input((2, *SIDE, 3))
            embeddings = keras.layers.UnitNormalization()(layers.Branches(encoder)(inputs))
            model = training.Model(inputs, embeddings)
            model.compile(keras.optimizers.Adam(0.01), losses.InBatchSoftmaxLoss())
        batches = generators.matches(views, train, batch_size=6, seed=run.seed)
        training.fit(model, batches, epochs=1, directory=run.training_dir("trained", fold))
        return encoder

    return run.cross_validate(fit, views)


def distance(run):
    """Minus the distance of embeddings of gray images."""
    views = run.pixels(SIDE, gray=True)
    return run.cross_validate(
        lambda train, fold: scoring.distance_of(encoder_of(gray=True, seed=fold)), views
    )


def similarity(run):
    """A network of two embeddings that is not symmetric."""

    def fit(train, fold):
        sides = {side: keras.Input((6,), name=side) for side in ("left", "right")}
        start = keras.initializers.GlorotUniform(fold)
        pair = keras.layers.Concatenate()([sides["left"], sides["right"]])
        score = keras.layers.Dense(1, "sigmoid", kernel_initializer=start)(pair)
        return scoring.similarity_of(encoder_of(seed=fold), keras.Model(sides, score))

    return run.cross_validate(fit, run.pixels(SIDE))


BACKEND = keras.backend.backend()
SYSTEMS = {f.__name__: f for f in (frozen, whitened, trained, distance, similarity)}

FRESH = """
    import sys
    import tll_utils as tll
    import keras
    import numpy as np
    folder, result = sys.argv[1:3]
    systems, queries, gallery = (text.split(",") for text in sys.argv[3:])

    def images(paths):
        return [tll.images.read_image(path)[None].astype("float32") for path in paths]

    found = {}
    for system in systems:
        model = keras.saving.load_model(f"{folder}/{system}.keras", safe_mode=True)
        if isinstance(model.input, dict):
            found[system] = [
                [float(model({"left": q, "right": g})[0, 0]) for g in images(gallery)]
                for q in images(queries)
            ]
        else:
            q, g = (
                np.concatenate([np.array(model(image)) for image in images(paths)])
                for paths in (queries, gallery)
            )
            np.testing.assert_allclose(np.linalg.norm(q, axis=1), 1, atol=1e-5)
            found[system] = q @ g.T
    np.savez(result, **found)
"""


@pytest.fixture(scope="module")
def recorded(sample_dir, tmp_path_factory):
    """A run that has recorded all `SYSTEMS`."""
    folder = tmp_path_factory.mktemp("models")
    settings = runs.Settings(
        data_dir=sample_dir,
        out_dir=folder / "out",
        profile="quick",
        backbones=("efficientnet_lite0",),
        weights="imagenet",
        smoke=True,
    )
    run = runs.start("04_test", settings)
    for name, system in SYSTEMS.items():
        run.record(name, system(run), backbone="efficientnet_lite0" if name == "frozen" else "")
    return run


def said_elsewhere(run, *, python=sys.executable, backend=BACKEND):
    """What the models of `SYSTEMS` say in a fresh process, of three queries and all candidates."""
    result = run.out_dir / f"{backend}.npz"
    lists = [
        ",".join(map(str, paths))
        for paths in (run.dataset.query_paths[:3], run.dataset.gallery_paths)
    ]
    done = subprocess.run(
        [python, "-c", textwrap.dedent(FRESH), run.out_dir / "models", result,
         ",".join(SYSTEMS), *lists],
        env={**os.environ, "KERAS_BACKEND": backend}, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # an import that keeps quiet
    return dict(np.load(result))


def assert_as_recorded(run, said):
    for system in SYSTEMS:
        scores, lists = run.load_scores(system).test[:3], run.dataset.candidate_index[:3]
        assert np.ptp(scores, axis=1).min() > 1e-4
        found = np.take_along_axis(said[system], lists, axis=1)
        np.testing.assert_allclose(found, scores, atol=1e-4, err_msg=system)


def test_models_repeat_the_recorded_test_scores_in_a_fresh_process(recorded):
    assert_as_recorded(recorded, said_elsewhere(recorded))


def test_models_repeat_the_recorded_test_scores_on_the_other_backend(recorded):
    """`TLL_OTHER_PYTHON` names the interpreter that has it, if it is not this one."""
    backend = "tensorflow" if BACKEND == "jax" else "jax"
    python = os.environ.get("TLL_OTHER_PYTHON", sys.executable)
    if python == sys.executable and not importlib.util.find_spec(backend):
        pytest.skip(f"{backend} is not installed")
    assert_as_recorded(recorded, said_elsewhere(recorded, python=python, backend=backend))


def test_trainings_are_kept_apart_by_fold(recorded):
    for fold in range(recorded.protocol.num_folds):
        assert (recorded.training_dir("trained", fold) / "training.npz").is_file()


def test_load_model_reads_what_record_left(recorded):
    model = recorded.load_model("trained")
    image = np.zeros((1, 20, 30, 3), np.float32)
    assert model(image).shape == (1, 2 * 6)  # two folds
    with pytest.raises(TllError, match=r"nothing\.keras: no such model"):
        recorded.load_model("nothing")


def test_a_record_without_a_model_leaves_no_older_one(run):
    views = run.pixels(SIDE)
    run.record("a", run.cross_validate(lambda train, fold: encoder_of(), views))
    assert run.load_model("a")
    run.record("a", run.cross_validate(lambda train, fold: constant(fold), views))
    with pytest.raises(TllError, match="no such model"):
        run.load_model("a")
