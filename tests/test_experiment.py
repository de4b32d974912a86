"""The protocol and the report that every notebook shares."""

import itertools
import json

import numpy as np
import pytest

from tll_utils import data, ensemble, experiment, results, scoring, submission
from tll_utils.experiment import Protocol, Scores
from tll_utils.features import Views


@pytest.fixture
def run(make_settings):
    return experiment.start("00_test", make_settings())


def random_scores(run, seed=0):
    rng = np.random.default_rng(seed)
    return Scores(
        rng.normal(size=run.protocol.candidates.shape),
        rng.normal(size=run.dataset.candidate_index.shape),
        np.arange(len(run.dataset.pairs)),
        seconds=1.25,
    )


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


def test_start_describes_the_run(run):
    assert str(run) == (
        "00_test: profile quick, synthetic sample data 'sample' with 24 pairs and 12 test "
        f"queries; 2 folds, m = {run.protocol.m}, seed 0"
    )


def test_start_refuses_an_output_folder_it_cannot_write(make_settings, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(submission.SubmissionError, match="cannot be written"):
        experiment.start("00_test", make_settings(out_dir=tmp_path / "file"))


def test_other_profiles_do_not_take_the_sample_for_real_data(
    make_settings, monkeypatch, sample_dir
):
    monkeypatch.setattr(data, "find", lambda data_dir: sample_dir)
    with pytest.raises(data.DataError, match="holds the drawn sample"):
        experiment.data_dir_of(make_settings(data_dir=None, profile="cpu"))
    named = make_settings(data_dir=sample_dir, profile="cpu")
    assert experiment.data_dir_of(named) == sample_dir


def test_cross_validate_never_scores_a_pair_with_a_model_that_saw_it(run):
    pairs = np.arange(len(run.dataset.pairs), dtype=float)
    num_queries, num_gallery = len(run.dataset.query_paths), len(run.dataset.gallery_paths)
    views = Views(pairs, pairs, np.zeros(num_queries), np.zeros(num_gallery))

    def fit(train, fold):
        def scorer(queries, gallery, candidates):
            seen = np.isin(queries, train) & (len(gallery) == len(pairs))
            assert not seen.any()
            return np.full(candidates.shape, fold, float)

        return scorer

    scores = run.cross_validate(fit, views)
    np.testing.assert_array_equal(scores.oof[:, 0], run.protocol.folds)
    np.testing.assert_array_equal(scores.test, 0.5)  # the mean of folds 0 and 1


def test_cross_validate_on_one_fold_scores_its_rows_alone(run):
    num_pairs = len(run.dataset.pairs)
    zeros = Views(*(np.zeros(n) for n in (num_pairs, num_pairs, 12, 12)))
    scores = run.cross_validate(
        lambda train, fold: lambda q, g, c: np.ones(c.shape), zeros, folds=[1]
    )
    np.testing.assert_array_equal(scores.rows, np.flatnonzero(run.protocol.folds == 1))
    assert np.isnan(scores.oof[run.protocol.folds == 0]).all()
    row = run.record("one_fold", scores)
    assert row["split"] == "1 of 2 folds, out of fold" and row["n"] == len(scores.rows)
    assert row["top_2"] == 0  # a constant scorer: all ties


def test_record_writes_a_valid_csv_a_row_and_the_scores(run):
    scores = random_scores(run)
    row = run.record("random_guess", scores)
    read = submission.read(run.out_dir / "random_guess.csv", run.dataset.candidates)
    np.testing.assert_allclose(read, scores.test, rtol=1e-8)
    assert json.loads((run.out_dir / "results.json").read_text()) == [row]
    assert {
        "system", "notebook", "split", "n", "m", "top_1", "top_2", "top_5", "low", "high",
        "seed", "seconds", "backbone", "weights", "data",
    } <= set(row)  # fmt: skip
    hits = scoring.top_k_hits(scores.oof, run.protocol.true_place)
    assert row["top_2"] == hits.mean()
    assert (row["low"], row["high"]) == scoring.wilson_interval(hits)
    np.testing.assert_array_equal(run.load_scores("random_guess").oof, scores.oof)
    assert run.load_scores("random_guess").seconds == 1.25
    assert row["seconds"] == 1.2


def test_a_system_took_what_fitting_and_scoring_its_folds_took(run, monkeypatch):
    ticks = itertools.count(step=3)  # the clock is read at the beginning and at the end
    monkeypatch.setattr(experiment.time, "monotonic", lambda: next(ticks))
    views = Views(*(np.zeros(n) for n in (len(run.dataset.pairs), len(run.dataset.pairs), 12, 12)))
    fit = lambda train, fold: lambda q, g, c: np.ones(c.shape)  # noqa: E731
    scores = run.cross_validate(fit, views)
    assert scores.seconds == 3
    both = ensemble.combine([scores, scores], lambda members: members[0])
    assert both.seconds == 6


def test_record_replaces_the_row_of_the_same_system(run):
    run.record("a", random_scores(run, 0))
    run.record("b", random_scores(run, 1))
    last = run.record("a", random_scores(run, 2))
    rows = results.read(run.out_dir)
    assert sorted(row["system"] for row in rows) == ["a", "b"]
    assert last in rows
    assert list(run.table(["a"]).index) == ["a"]


def test_record_refuses_nan_and_leaves_nothing_behind(run):
    scores = random_scores(run)
    scores.oof[3, 1] = np.nan
    with pytest.raises(ValueError, match="row 3, candidate 1"):
        run.record("broken", scores)
    with pytest.raises(ValueError, match="snake_case"):
        run.record("Not snake", random_scores(run))
    assert list(run.out_dir.iterdir()) == []


def test_scores_of_another_seed_are_not_mixed_in(run, make_settings):
    run.record("a", random_scores(run))
    other = experiment.start("00_test", make_settings(seed=1))
    assert run.recorded() == ["a"]
    assert other.recorded() == []
    with pytest.raises(KeyError, match="another data set or seed"):
        other.load_scores("a")
