"""The command line: `python -m tll_utils run / sample / check / validate / score`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from tll_utils import data, settings


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit code: 0 fine, 1 refused or failed, 2 misused."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except KeyboardInterrupt:
        print("Stopped. What was finished is kept; the same command goes on.", file=sys.stderr)
        return 130
    except (ValueError, RuntimeError, OSError) as error:
        # Errors of ours, and of the disk, are for people; any other is a bug and shows its trace.
        if not (type(error).__module__.startswith("tll_utils") or isinstance(error, OSError)):
            raise
        print(error, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tll_utils", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")

    run = commands.add_parser("run", help="execute the notebooks, end with a leaderboard")
    run.set_defaults(command=_run)
    run.add_argument("--data", type=Path, metavar="DIR", help="data set (TLL_DATA_DIR)")
    run.add_argument("--out", type=Path, metavar="DIR", help="results (TLL_OUT_DIR)")
    run.add_argument("--profile", metavar="|".join(settings.PROFILES), help="TLL_PROFILE")
    run.add_argument("--only", default="", metavar="01,04", help="notebooks to run")
    run.add_argument("--backbones", metavar="a,b", help="registry names (TLL_BACKBONES)")

    sample = commands.add_parser("sample", help="draw the sample data set")
    sample.set_defaults(command=_sample)
    sample.add_argument("dir", type=Path)
    sample.add_argument("--pairs", type=_positive, default=200)
    sample.add_argument("--queries", type=_positive, default=100)
    sample.add_argument("--seed", type=int, default=0)

    check = commands.add_parser("check", help="report on a data set; exit 1 if it can't be used")
    check.set_defaults(command=_check)
    check.add_argument("dir", type=Path)

    validate = commands.add_parser("validate", help="is this a submission Kaggle will take?")
    validate.set_defaults(command=_validate)
    validate.add_argument("file", type=Path)
    validate.add_argument("--data", type=Path, required=True, metavar="DIR")

    score = commands.add_parser("score", help="top-1/2/5 of a submission with 95 %% intervals")
    score.set_defaults(command=_score)
    score.add_argument("file", type=Path)
    score.add_argument("--truth", type=Path, required=True, metavar="FILE")
    score.add_argument("--data", type=Path, required=True, metavar="DIR")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, received {number}")
    return number


def _run(options) -> int:
    chosen = {
        "TLL_DATA_DIR": options.data and str(options.data.absolute()),
        "TLL_OUT_DIR": options.out and str(options.out.absolute()),
        "TLL_PROFILE": options.profile,
        "TLL_BACKBONES": options.backbones,
    }
    environ = {name: value for name, value in chosen.items() if value}
    config = settings.Settings.from_environment({**os.environ, **environ})

    from tll_utils import results, runner

    notebooks = runner.find_notebooks([n.strip() for n in options.only.split(",") if n.strip()])
    root, weights = runner.refuse_early(config)
    dataset = data.load(root)
    print(_inspected(dataset))
    for name, found in weights.items():
        print(f"{name}: {found} weights")
    environ["TLL_DATA_DIR"] = str(root)
    runner.execute(notebooks, config.out_dir, environ)
    for path in sorted(config.out_dir.glob("*.csv")):
        print(path.relative_to(config.out_dir))
    rows = results.of_run(config.out_dir, data=dataset.name, profile=config.profile)
    print(f"\n{results.leaderboard(rows).to_string()}")
    if dataset.name == "sample":
        print("\nMeasured on the synthetic sample: it shows that all works, not results on TLL.")
    print(f"\nCSVs, results.json and executed notebooks: {config.out_dir}")
    return 0


def _inspected(dataset: data.Dataset) -> data.Report:
    """The report on a data set; refuses one whose images can't be used."""
    report = data.inspect(dataset)
    if report.problems:
        raise data.DataError(str(report))
    return report


def _sample(options) -> int:
    from tll_utils import sample

    sample.draw(
        options.dir, num_pairs=options.pairs, num_queries=options.queries, seed=options.seed
    )
    print(f"{options.dir}: {options.pairs} pairs and {options.queries} queries drawn")
    return 0


def _check(options) -> int:
    print(_inspected(data.load(options.dir)))
    return 0


def _validate(options) -> int:
    from tll_utils import submission

    scores = submission.read(options.file, data.load(options.data).candidates)
    print(f"{options.file}: a valid submission, {scores.shape[0]} queries × {scores.shape[1]}")
    return 0


def _score(options) -> int:
    from tll_utils import scoring, submission

    candidates = data.load(options.data).candidates
    scores = submission.read(options.file, candidates)
    true_place = submission.read_truth(options.truth, candidates)
    print(f"{options.file}: n = {len(scores)}, m = {scores.shape[1]}")
    for k in (1, 2, 5):
        hits = scoring.top_k_hits(scores, true_place, k)
        low, high = scoring.wilson_interval(hits)
        print(f"top-{k}  {hits.mean():.3f}  95 % {low:.3f}–{high:.3f}")
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops as Ctrl-C does
    sys.exit(main())
