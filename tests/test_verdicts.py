"""Sentences that name a winner turn over when the results do: their cells run on two made worlds.

A verdict's cells are executed alone, on hand-made results: first a wins clearly, then b, then
neither. So a sentence that is written out, or a comparison the wrong way round, fails in seconds.
"""

import ast
import re
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
import scipy.stats

from tll_utils import scoring
from tll_utils.scoring import ensemble
from tll_utils.tools import play

DIRECTORY = Path(__file__).parents[1] / "notebooks"
NUM_PAIRS, NUM_CANDIDATES = 200, 20
SIGNS = {"a wins": 1, "b wins": -1, "neither": 0}
# What makes a cell's sentence a verdict: words that follow from a comparison.
VERDICT = re.compile(r"verdict|said|_words?\b|holds\[|by_gain|by_faces|by_csls")


def system(share):
    """Scores of a system that ranks the match first for a share of the pairs, and else last."""
    oof = np.zeros((NUM_PAIRS, NUM_CANDIDATES))
    oof[:, 0] = np.where(np.arange(NUM_PAIRS) < share * NUM_PAIRS, 1, -1)
    return SimpleNamespace(oof=oof, rows=np.arange(NUM_PAIRS))


GOOD, POOR = system(0.75), system(0.3)


class Run:
    """What verdicts ask of a run, with the arithmetic of the package behind it."""

    is_sample, seed, profile = True, 0, "quick"
    protocol = SimpleNamespace(
        m=NUM_CANDIDATES,
        num_folds=2,
        true_place=np.zeros(NUM_PAIRS, int),
        folds=None,
        candidates=np.arange(NUM_PAIRS).repeat(NUM_CANDIDATES),
    )

    def caption(self):
        return "made"

    def hits(self, scores, k=2, *, rows=None):
        rows = scores.rows if rows is None else rows
        return scoring.top_k_hits(scores.oof[rows], np.zeros(len(rows), int), k)

    def summarise(self, scores):
        return {"top_2": self.hits(scores).mean()}

    def compare(self, pairs):
        found = {
            label: scoring.paired_comparison(self.hits(a), self.hits(b), seed=0)
            for label, (a, b) in pairs.items()
        }
        return scoring.comparison_table(found).assign(n=NUM_PAIRS)


def code_cells(number):
    (path,) = DIRECTORY.glob(f"{number}_*.ipynb")
    notebook = nbformat.read(path, as_version=4)
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def cell_with(number, snippet):
    """The only code cell that contains a snippet."""
    found = [source for source in code_cells(number) if snippet in source]
    assert len(found) == 1, f"notebook {number}: {len(found)} cells contain {snippet!r}"
    return found[0]


def sentence(number, snippets, names):
    """Executes some cells one after the other; returns what the last one says."""
    said: list[str] = []
    world = {"run": Run(), "where": "Here", "WHERE": "Here", "np": np, "pd": pd}
    world |= {"scoring": scoring, "Markdown": str, "display": said.append, **names}
    world["print"] = lambda *words: said.append(" ".join(map(str, words)))
    for snippet in snippets:
        said.clear()
        body = ast.parse(cell_with(number, snippet)).body
        last = body.pop() if isinstance(body[-1], ast.Expr) else None
        exec(compile(ast.Module(body, []), snippet, "exec"), world)
        if last:
            value = eval(compile(ast.Expression(last.value), snippet, "eval"), world)
            said.append(value)
    return " ".join(map(str, said))


def paired(a, b):
    return scoring.paired_comparison(Run().hits(a), Run().hits(b), seed=0)


def three_losses(a, b):
    names = [f"siamese_{name}" for name in ("bce_n1", "hinge", "contrastive")]
    scores = {**dict.fromkeys(names, a), "siamese_untrained": b}
    return {"three": scores, "scores": scores, "guess": 0.3}


def best_loss(a, b):
    names = three_losses(a, b)
    names["scores"] |= {"siamese_hinge": a, "siamese_bce_n1": b, "siamese_contrastive": POOR}
    return names


def changes(a, b):
    names = dict.fromkeys(("siamese_hinge", "siamese_contrastive_augmented"), a)
    names |= dict.fromkeys(("siamese_hinge_gray", "siamese_contrastive"), b)
    return {"scores": {**names, "siamese_contrastive_mined": b}}


def negatives(a, b):
    labels = ("n = 5 − n = 1", "n = 5, as many steps − n = 1", "n = 5 − n = 5, as many steps")
    return {"negatives": Run().compare(dict.fromkeys(labels, (a, b)))}


def softmax(a, b):
    names = ("siamese_softmax", "siamese_contrastive", "siamese_gradients", "siamese_untrained")
    return {"scores": dict(zip(names, (a, b, a, b), strict=True))}


def drawn(a, b):
    return {"ours": a, "results": {"autoencoder_untrained": b}, "inside": range(85)}


def drawing_steps(a, b):
    ranks = pd.Series([1.0, 11.0, 12.0, 9.0, 6.0])
    return {"steps": {"x": (a, b), "y": (a, b), "z": (a, b)}, "copy": ranks, "guessing": 10.5}


def loss_of_drawing(a, b):
    least = 0.66 if a is GOOD and b is POOR else 0.7
    learned = {"val_loss": [0.71, least]}
    return {"learned": learned, "blind_loss": 0.69, "floor_loss": 0.6}


def shrunk_copy(a, b):
    second = 3.0 if a is GOOD and b is POOR else 11.0
    return {"copy": pd.Series([1.0, second, 12.0, 9.0, 6.0])}


def pretrained(a, b):
    compared = Run().compare({"x − y": (a, b)})
    encode = {"by_size": ["small", "large"], "frozen": {"large": a, "small": b}}
    return {"ways": compared, "mended": compared, "answers": compared, **encode}


def as_reported(a, b):
    trained = Run()
    trained.cross_validate = lambda *x, **y: a
    losses = {"adapted_as_reported_net": {"loss": [1.0, 0.1]}}
    names = {"run": trained, "first": "net", "last": {"net": "top"}, "frozen": {"net": b}}
    nothing = dict.fromkeys(("load", "as_reported"), lambda *x: None)
    return {**names, **nothing, "histories": losses, "ONE_FOLD": (0,)}


def two_starts(a, b):
    start = 0.5 if a is GOOD and b is POOR else 0.9
    curve = {"standardized": {"val_loss": [0.9, 0.7]}, "whitened": {"val_loss": [start, 0.5]}}
    return {"curves": curve}


def transfer(a, b):
    results = {"similarity_net_hard": a, "similarity_net_random": b, "head": a}
    results |= {"fine_tuned_net": b, "fine_tuned_net_no_background": a}
    names = {"STUDIED": "net", "COMPARED": ["head"], "mark": b, "below": []}
    tables = {"learned": "net: hard − random negatives"}
    tables |= {"uncovered": "fine_tuned: without − with background"}
    names |= {name: Run().compare({label: (a, b)}) for name, label in tables.items()}
    return {"results": results, **names}


def depths(a, b):
    pairs = {"integrated − fine_tuned": (a, b), "integrated_softmax − integrated": (b, a)}
    results = {"integrated": a, "all, untrained": b, "deep/avg": b}
    faces = {"aligned": Run().hits(a), "both": Run().hits(a), "whole": Run().hits(b)}
    names = {"alone": {"deep": Run().hits(b)}, "DEPTHS": ["deep"], "KEYS": ["deep/avg"]}
    tables = {"compared": pairs, "by_flips": {"horizontal − vertical": (a, b)}}
    names |= {name: Run().compare(rows) for name, rows in tables.items()}
    return {"results": results, "face_hits": faces, "shown_pairs": "pairs with a face", **names}


def two_backbones(a, b):
    results = {"both": a, "mean": b, "single_x": b, "single_y": POOR}
    compared = Run().compare(
        {"concat − x": (a, b), "concat − y": (a, POOR), "concat − average": (a, b)}
    )
    started = {"before": 0.3, "by_training": Run().compare({"concat − its start": (a, b)})}
    return {"results": results, "first": results, "A": "x", "B": "y", "CONCAT": "both",
            "AVERAGE": "mean", "compared": compared, **started}  # fmt: skip


def steps(a, b):
    return {
        "steps": {"begin": b, "up": a, "down": b},
        "ensemble": ensemble,
        "itertools": __import__("itertools"),
    }


def faces(a, b):
    hits = {"and faces": Run().hits(a), "whole pictures": Run().hits(b)}
    return {
        "by_system": hits,
        "by_kind": {"all": paired(a, b), "two faces": paired(b, a), "no face": paired(a, a)},
    }


def hubs(a, b):
    names = {"less_hubs": {"pairs to test on": paired(a, b)}, "csls_scores": a}
    counts = np.array([2, 0])
    return {**names, "for_testing": a.rows >= 0, "counts": counts, "wins": lambda scores: counts}


def most_wins(a, b):
    """Three lists are won by a fifth of the rights if a wins, else each right wins one."""
    has_hubs = a is GOOD and b is POOR
    counts = np.repeat([3, 1, 0], [40, 80, 80]) if has_hubs else np.ones(NUM_PAIRS, int)
    return {"best_scores": GOOD, "wins": lambda scores: counts}


def votes(a, b):
    names = ("ensemble_vote", "ensemble_weighted_vote", "ensemble_blend")
    return {"answers": {f"{name} − best member": paired(a, b) for name in names}}


def member(a, b):
    rows = np.ones(NUM_PAIRS, bool)
    return {"added": {"hog": paired(a, b)}, "for_testing": rows, "kept": ["hog"]}


def matching(a, b):
    gain = 0.2 if a is GOOD and b is POOR else 0.05
    return {"gains": {"x": 0.1}, "gain": gain, "by_gain": ["x"]}


def unseen(a, b):
    within = a is GOOD and b is POOR
    return {
        "inside": dict.fromkeys(("per query", "CSLS", "whole set"), within),
        "unseen": range(40),
        "train": range(160),
        "places": range(NUM_PAIRS),
        "half": 0.13,
    }


def game(a, b):
    hits = {"me": Run().hits(a), "system": Run().hits(b)}
    names = {"player": "me", "machine": "system", "hits": hits, "guess": 0.5, "m": 20}
    return {**names, "found": paired(a, b), "numbers": range(NUM_PAIRS)}


GAINS = {1: "a gain", -1: "a loss", 0: "cannot tell"}
# Notebook, cells, hand-made results, and what is said when a wins, b wins, or neither.
CASES = [
    ("02", ['names = ("bce_n1"', "scoring.in_words(against_untrained, f'{name} −"], three_losses,
     {sign: " hinge: .*" + words for sign, words in GAINS.items()}),
    ("02", ['names = ("bce_n1"', "best_of_three"], best_loss,
     {1: "best of the three losses is hinge", -1: "best of the three losses is bce_n1"}),
    ("02", ["scoring.in_words(negatives,"], negatives, GAINS),
    ("02", ["changes = run.compare", "scoring.is_sure(changes, label)"], changes,
     {1: "RGB − gray: .*a gain", -1: "RGB − gray: .*a loss", 0: "none of the three is a finding"}),
    ("02", ["better = run.compare", "scoring.in_words(better, label)"], softmax,
     {sign: "softmax − contrastive: .{6}, .*" + words for sign, words in GAINS.items()}),
    ("03", ["share = (blind_loss"], loss_of_drawing,
     {1: "goes 33% of the way", -1: "no better than drawing without looking"}),
    ("03", ["def verdicts", "few = f"], drawn,
     {1: "training helps", -1: "training hurts", 0: "training makes no clear difference"}),
    ("03", ["lost = "], shrunk_copy, {1: "still better than", -1: "no better than guessing"}),
    ("03", ["def verdicts", "drawing, leaky, on_top"], drawing_steps,
     {1: "the head helps", -1: "the head hurts", 0: "the head makes no clear difference"}),
    ("04", ["smallest, largest ="], pretrained, GAINS),
    ("04", ["scoring.in_words(ways, label)"], pretrained, GAINS),
    ("04", ["scoring.in_words(failure, label)"], as_reported, GAINS),
    ("04", ["least = {start"], two_starts, {1: "start is worth more", -1: "Training makes up"}),
    ("04", ["scoring.in_words(mended, label)"], pretrained,
     {1: "a gain", -1: "a loss", 0: "none for sure"}),
    ("04", ["scoring.in_words(answers, label)"], pretrained, GAINS),
    ("05", ["below = ["], transfer, {1: "0 of 1 trained heads lie below", -1: "1 of 1 trained"}),
    ("05", ["verdict = ", "{cut_verdict}"], transfer,
     {1: "hard negatives help .* away helps", -1: "hard negatives hurt .* away hurts",
      0: "make no clear difference .* is not clearly felt"}),
    ("06", ["def verdict("], depths,
     {1: "depths beats the last", -1: "is worse than the last", 0: "is not clearly apart"}),
    ("06", ["def verdict(", "best = max(alone"], depths,
     {1: "All depths beat .* adds to what", -1: "are worse than .* takes from what",
      0: "are not clearly apart .* does not clearly change what"}),
    ("06", ["def verdict(", "flips_word, flips_gain"], depths,
     {1: "are better than vertical", -1: "are worse than vertical", 0: "are not clearly apart"}),
    ("06", ["def verdict(", "face_words = ["], depths,
     {1: "picture beats the whole", -1: "is worse than the whole", 0: "is not clearly apart"}),
    ("06", ["def verdict(", "best = max(alone", "softmax_word, softmax_gain"], depths,
     {1: "batch is worse than triplets", -1: "batch improves on triplets",
      0: "batch is not clearly apart"}),
    ("07", ["scoring.in_words(by_training"], two_backbones, GAINS),
    ("07", ["join_verdict"], two_backbones,
     {1: "are better than the better .* joined matters", -1: "are worse than the better",
      0: "not clearly apart from .* makes no clear difference"}),
    ("08", ["step_hits = {", "by_gain = sorted"], steps,
     {1: r"steps are \*\*up\*\*.*lose: down .*highest is \*\*up\*\* \(0.750\); recorded is down",
      -1: r"are \*\*down\*\*.*lose: up .*highest is \*\*begin\*\*", 0: "lose: no step"}),
    ("08", ["by_faces = "], faces,
     {1: r"cuts \*\*help\*\* .*pair, two faces \(-0.450\) can",
      -1: r"cuts \*\*hurt\*\* .*pair, two faces \(\+0.450\) can",
      0: r"cuts \*\*cannot be told to help.*pair, none can"}),
    ("08", ["hub_words = "], most_wins,
     {1: r"20.0% win three or more.*\*\*more hubs than by luck", -1: "no more hubs than by luck"}),
    ("08", ["by_csls = "], hubs,
     {1: r"CSLS \*\*can be told to help\*\* \(\+0.45", -1: r"CSLS \*\*does harm\*\* \(-0.45",
      0: r"CSLS \*\*cannot be told"}),
    ("08", ["def in_words"], votes,
     {1: r"vote is better, .*blend \*\*better", -1: r"vote is worse, .*blend \*\*worse",
      0: "not told apart"}),
    ("08", ["needed = ["], member, {1: "hog can be told to be", 0: "no single member can be told"}),
    ("08", ["order = sorted("], matching, {1: "would be number 1;", -1: "would be number 2;"}),
    ("08", ['holds = {True: "lies within"'], unseen,
     {1: "lies within .* lies within.* 80% of the pairs instead of 50%",
      -1: "lies outside .* lies outside"}),
    ("09", ['verdict = "more than luck"'], game,
     {1: r"me is \+0.45 .* more than luck", -1: r"me is -0.45 .* more than luck",
      0: "within what luck gives"}),
]  # fmt: skip
WORLDS = [
    pytest.param(*case[:3], sign, case[3][sign], id=f"{case[0]}: {case[1][-1]}: {name}")
    for case in CASES
    for name, sign in SIGNS.items()
    if sign in case[3]
]


@pytest.mark.parametrize(("number", "cells", "make", "sign", "expected"), WORLDS)
def test_verdict_follows_the_results(number, cells, make, sign, expected):
    a, b = {1: (GOOD, POOR), -1: (POOR, GOOD), 0: (GOOD, GOOD)}[sign]
    said = sentence(number, cells, make(a, b))
    # What was recorded elsewhere says the same whatever happens here.
    here = re.sub(r"\*On\s+photographs \(recorded.*?(?=\n|$)", "", said)
    assert re.search(expected, here, re.S), said


def test_verdict_of_few_faces_follows_p_not_the_interval():
    # 7 pairs won and 1 lost of 27: the interval lies above 0, McNemar's p is .07.
    whole = np.arange(27) < 8
    aligned = (np.arange(27) < 7) | (np.arange(27) >= 20)
    gain = scoring.paired_comparison(aligned, whole, seed=0)
    assert gain.low > 0 and gain.p_value > 0.05
    names = depths(GOOD, GOOD)
    names["face_hits"] = dict.fromkeys(("aligned", "both"), aligned) | {"whole": whole}
    said = sentence("06", ["def verdict(", "face_words = ["], names)
    assert said.count("is not clearly apart from") == 2, said


@pytest.mark.parametrize(("num_hits", "expected"), [(9, "- none"), (20, "- warm by colors, 0.500")])
def test_kinds_above_chance_are_corrected_for_all_bars(num_hits, expected):
    # 9 of 40 alone would pass (p = .015), as one of fifteen it doesn't.
    kinds = np.repeat(["warm", "b", "c", "d", "e"], 40)
    hits = {name: np.arange(200) % 40 < 9 for name in ("colors", "edges", "textures")}
    hits["colors"] = np.where(kinds == "warm", np.arange(200) % 40 < num_hits, hits["colors"])
    names = {"hits": hits, "kinds": kinds, "by_descriptor": kinds, "ranks": {}}
    binomtest = scipy.stats.binomtest
    said = sentence("01", ["def above_chance"], {"binomtest": binomtest, **names})
    assert said.endswith(expected), said


# The words of this cell are put together from what the cells above it have said.
SUM = ("08", "blend_answer = ")


@pytest.mark.parametrize("number", [f"{i:02d}" for i in range(1, 10)])
def test_every_verdict_is_tried(number):
    tried = {cell_with(case[0], snippet) for case in CASES for snippet in case[1]}
    tried.add(cell_with(*SUM))
    for source in code_cells(number):
        if "Markdown(" in source and VERDICT.search(source):
            assert source in tried, f"add this cell of notebook {number} to CASES:\n{source}"


# The game: who plays, and against whom.


def test_a_stand_in_leaves_the_game_as_soon_as_somebody_has_played(tmp_path):
    queries = [f"{number}.jpg" for number in range(NUM_PAIRS)]
    run = SimpleNamespace(
        pixels=lambda size: SimpleNamespace(map=lambda change: None),
        score_frozen=lambda views: GOOD,
    )
    world = {"run": run, "play": play, "np": np, "rows": np.arange(3), "queries": queries}
    world |= {"folder": tmp_path, "m": NUM_CANDIDATES, "YOUR_NAME": "me"}
    exec(cell_with("09", "stand-in (color)"), world)
    assert list(world["people"]) == ["stand-in (color)"]
    play.write_answers(tmp_path / "me.csv", {2: (4, 7)}, queries, NUM_CANDIDATES)
    exec(cell_with("09", "stand-in (color)"), world)
    assert world["people"] == {"me": {2: (4, 7)}}


def test_opponents_see_one_query_at_a_time_and_are_chosen_on_queries_that_are_not_played():
    order = np.random.default_rng(0).permutation(NUM_PAIRS)
    found = {"matched": order, "lucky": order[:12], "steady": order[-6:]}
    scores = {
        name: SimpleNamespace(oof=-np.eye(1, NUM_CANDIDATES).repeat(NUM_PAIRS, 0)) for name in found
    }
    for name, rows in found.items():
        scores[name].oof[rows, 0] = 1
    board = pd.DataFrame({"n": NUM_PAIRS, "protocol": "per query"}, index=list(found))
    board.loc["matched", "protocol"] = "whole set"
    run = SimpleNamespace(seed=0, load_scores=scores.get, recorded=lambda: list(found))
    run.table = lambda shown: board.loc[shown]
    world = {"run": run, "np": np, "scoring": scoring, "queries": range(NUM_PAIRS), "systems": {}}
    world |= {"true_place": np.zeros(NUM_PAIRS, int), "NUM_QUERIES": 12, "NUM_SYSTEMS": 5}
    for snippet in ("unplayed = order", "strongest = "):
        exec(cell_with("09", snippet), world)
    assert world["strongest"] == ["steady", "lucky"]


@pytest.mark.parametrize("number, cells, names, tables, said", [
    ("05", ["verdict = ", "{cut_verdict}"], transfer, ("learned", "uncovered"),
     "make no clear difference .* is not clearly felt"),
    ("07", ["join_verdict"], two_backbones, ("compared",),
     "not clearly apart from .* makes no clear difference"),
])  # fmt: skip
def test_a_difference_that_the_correction_does_not_leave_is_no_finding(
    number, cells, names, tables, said
):
    found = names(GOOD, POOR)
    for name in tables:
        found[name] = found[name].assign(**{"p (Holm)": "0.0500"})
    assert re.search(said, sentence(number, cells, found), re.DOTALL)
