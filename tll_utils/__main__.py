"""The command line: `tll`, or `python -m tll_utils`. Results go to stdout, messages to stderr.

Exit codes: 0 fine, 1 refused or failed (the message says why), 2 misused, 130 stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tll_utils
from tll_utils import files, settings
from tll_utils.errors import DataError, TllError
from tll_utils.tools import commands as tools

if TYPE_CHECKING:
    from tll_utils import data


def console() -> None:
    """The console command `tll`."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops as Ctrl-C does
    sys.exit(main())


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit code: 0 fine, 1 refused or failed, 130 stopped."""
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):  # a terminal without UTF-8 shows what it can
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        return int(options.command(options))
    except KeyboardInterrupt:
        _say("Stopped. What was finished is kept; the same command goes on.")
        return 130
    except BrokenPipeError:  # `tll leaderboard | head`: who reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except (TllError, OSError) as error:
        # Errors of ours, and of the disk, are for people; any other is a bug and shows its trace.
        _say(str(error))
        return 1
    except MemoryError:
        _say("The memory is used up. Close other programs, or run fewer things at once (--jobs 1).")
        return 1


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "tll",
        description="Human image similarity on Totally Looks Like.",
        epilog="Exit codes: 0 fine, 1 refused or failed, 2 misused, 130 stopped.",
    )
    parser.add_argument("--version", action="version", version=f"tll {tll_utils.__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_run(commands)

    sample = commands.add_parser("sample", help="draw the sample data set")
    sample.set_defaults(command=_sample)
    sample.add_argument("dir", type=Path, help="a new folder, or an older sample to replace")
    for option, least, default, words in (
        ("--pairs", 2, 200, "pairs to train on"),
        ("--queries", 2, 100, "queries to test with"),
        ("--seed", 0, 0, "the same seed draws the same pictures"),
    ):
        sample.add_argument(
            option, type=tools.at_least(least), default=default, metavar="N",
            help=f"{words}; default: {default}",
        )  # fmt: skip

    check = commands.add_parser("check", help="report on a data set; exit 1 if it can't be used")
    check.set_defaults(command=_check)
    check.add_argument("dir", type=Path, help="the data set")
    check.add_argument("--json", action="store_true", help="print the report as JSON")

    _add_get(commands)

    validate = commands.add_parser("validate", help="is this a submission Kaggle will take?")
    validate.set_defaults(command=_validate)

    score = commands.add_parser("score", help="top-1/2/5 of a submission with 95 %% intervals")
    score.set_defaults(command=_score)
    score.add_argument(
        "--truth", type=Path, required=True, metavar="FILE", help="CSV of left and right"
    )
    for parser_of_csv in (validate, score):
        parser_of_csv.add_argument("file", type=Path, help="CSV of scores, as Kaggle takes it")
        parser_of_csv.add_argument(
            "--data", type=Path, required=True, metavar="DIR", help="data set that it is about"
        )

    board = commands.add_parser("leaderboard", help="list the recorded results")
    board.set_defaults(command=_leaderboard)
    board.add_argument("--out", type=Path, metavar="DIR", help="results (TLL_OUT_DIR)")
    board.add_argument("--compare", action="store_true", help="top-2 of all runs side by side")
    tools.add_to(commands)
    return parser


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    run = commands.add_parser(
        "run",
        help="execute the notebooks, end with a leaderboard",
        description="Executes the notebooks. One whose code, data, settings and earlier results "
        "are unchanged is skipped, so a run that was stopped goes on where it was.",
    )
    run.set_defaults(command=_run)
    run.add_argument("--data", type=Path, metavar="DIR", help="data set (TLL_DATA_DIR)")
    run.add_argument("--out", type=Path, metavar="DIR", help="results (TLL_OUT_DIR)")
    run.add_argument("--profile", metavar="|".join(settings.PROFILES), help="TLL_PROFILE")
    run.add_argument("--only", default="", metavar="01,04", help="notebooks to run")
    run.add_argument("--backbones", metavar="a,b", help="registry names (TLL_BACKBONES)")
    run.add_argument("--weights", metavar="imagenet|random|DIR", help="TLL_WEIGHTS")
    run.add_argument(
        "--seed", metavar="0,1,2", help="of training; several run one by one (TLL_SEED, TLL_SEEDS)"
    )
    run.add_argument(
        "--jobs", type=tools.at_least(1), metavar="N",
        help="notebooks at a time; default: as many as cores and memory allow",
    )  # fmt: skip
    run.add_argument("--fresh", action="store_true", help="run unchanged notebooks, too")


def _add_get(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    data = commands.add_parser("data", help="fetch the original release: data get")
    get = data.add_subparsers(required=True, metavar="command").add_parser(
        "get",
        help="download the original release",
        description="Downloads the original release of Rosenfeld et al. (2018), two zip files. The "
        "course edition lies behind a login: join its Kaggle competition in a browser, download "
        "the zip there, and unpack it as data/README.md shows.",
    )
    get.set_defaults(command=_get)
    get.add_argument("dir", type=Path, nargs="?", default=Path("tll"), help="default: tll")


def _run(options: argparse.Namespace) -> int:
    chosen = {
        # A relative path on the command line means the working folder.
        "TLL_DATA_DIR": options.data and str(options.data.absolute()),
        "TLL_OUT_DIR": options.out and str(options.out.absolute()),
        "TLL_WEIGHTS": options.weights and _absolute_if_folder(options.weights),
        "TLL_PROFILE": options.profile,
        "TLL_BACKBONES": options.backbones,
        "TLL_SEEDS": options.seed,
    }
    environ = {name: value for name, value in chosen.items() if value}
    seeds = settings.seeds_of({**os.environ, **environ})
    environ["TLL_SEED"] = str(seeds[0])
    config = settings.Settings.from_environment({**os.environ, **environ})

    from tll_utils import data, plan

    only = options.only.split(",") if options.only else []  # an empty name between commas is one
    paths = plan.find_notebooks([name.strip() for name in only])
    found = plan.check(config, paths)
    from tll_utils import notebooks  # late, for it is loaded while the check is on its way
    from tll_utils.scoring import leaderboard

    dataset = data.load(found.data_dir)
    what: dict[str, Any] = {"data": dataset.name, "profile": config.profile, "seeds": seeds}
    leaderboard.refuse_overwriting(config.out_dir, [path.stem for path in paths], **what)
    _say(str(_inspected(dataset)))
    for name, reason in found.reasons.items():
        _say(f"{name}: {reason}")
    environ |= {"TLL_DATA_DIR": str(found.data_dir), "TLL_OUT_DIR": str(config.out_dir)}
    for seed in seeds:
        config = dataclasses.replace(config, seed=seed)
        ingredients = {
            "settings": dataclasses.asdict(config),
            "data": notebooks.data_fingerprint(found.data_dir),
            "weights": found.weights,
        }
        environ["TLL_SEED"] = str(seed)
        notebooks.execute(
            paths,
            config.out_dir,
            environ,
            ingredients=ingredients,
            fresh=options.fresh,
            seed=seed,
            jobs=options.jobs or notebooks.suitable_jobs(config.profile),
        )
    _report(config, dataset, seeds)
    return 0


def _report(config: settings.Settings, dataset: data.Dataset, seeds: tuple[int, ...]) -> None:
    from tll_utils.scoring import leaderboard
    from tll_utils.tools import report

    rows = leaderboard.of_run(config.out_dir, data=dataset.name, profile=config.profile)
    rows = [row for row in rows if row["seed"] in seeds]
    print(leaderboard.leaderboard(rows).to_string())
    if dataset.name == "sample":
        _say("\nMeasured on the synthetic sample: it shows that all works, not results on TLL.")
    _say(
        f"\nTo open: {config.out_dir / 'notebooks'} (executed), {config.out_dir}/*.csv (for "
        f"Kaggle), {config.out_dir / 'results.json'}"
    )
    if rows:
        page = report.write(config.out_dir, dataset, profile=config.profile, seed=config.seed)
        _say(f"To look at, in a browser: {page}")


def _absolute_if_folder(weights: str) -> str:
    return str(Path(weights).absolute()) if Path(weights).is_dir() else weights


def _inspected(dataset: data.Dataset) -> data.Report:
    """The report on a data set; refuses one whose images can't be used."""
    from tll_utils import data

    report = data.inspect(dataset)
    if report.unreadable:
        raise DataError(str(report))
    return report


def _sample(options: argparse.Namespace) -> int:
    from tll_utils.data import sample

    with files.explained(options.dir):
        sample.draw(
            options.dir, num_pairs=options.pairs, num_queries=options.queries, seed=options.seed
        )
    print(f"{options.dir}: {options.pairs} pairs and {options.queries} queries drawn")
    return 0


def _get(options: argparse.Namespace) -> int:
    from tll_utils.data import download

    for path in download.get_release(options.dir):
        print(path)
    _say(f"To use it: tll run --profile cpu --data {shlex.quote(str(options.dir.absolute()))}")
    return 0


def _check(options: argparse.Namespace) -> int:
    from tll_utils import data

    report = _inspected(data.load(options.dir))
    print(json.dumps(_as_json(report), indent=1) if options.json else report)
    return 0


def _as_json(report: data.Report) -> dict[str, Any]:
    return {
        "name": report.name,
        "root": str(report.root),
        **report.counts,
        "sizes": {f"{width}x{height}": n for (width, height), n in report.sizes.items()},
        "modes": dict(report.modes),
        "exact_duplicates": [[str(path) for path in group] for group in report.exact_duplicates],
        "near_duplicates": [[str(path) for path in group] for group in report.near_duplicates],
        "problems": list(report.unreadable),
    }


def _validate(options: argparse.Namespace) -> int:
    from tll_utils import data
    from tll_utils.scoring import submission

    scores = submission.read(options.file, data.load(options.data).candidates)
    print(f"{options.file}: a valid submission, {scores.shape[0]} queries × {scores.shape[1]}")
    return 0


def _score(options: argparse.Namespace) -> int:
    from tll_utils import data, scoring
    from tll_utils.scoring import submission

    candidates = data.load(options.data).candidates
    scores = submission.read(options.file, candidates)
    true_place = data.read_truth(options.truth, candidates)
    print(f"{options.file}: n = {len(scores)}, m = {scores.shape[1]}")
    for k in (1, 2, 5):
        hits = scoring.top_k_hits(scores, true_place, k)
        low, high = scoring.wilson_interval(hits)
        print(f"top-{k}  {hits.mean():.3f}  95 % {low:.3f}–{high:.3f}")
    return 0


def _leaderboard(options: argparse.Namespace) -> int:
    from tll_utils.scoring import leaderboard

    out_dir = options.out or settings.Settings.from_environment().out_dir
    rows = leaderboard.read(out_dir)
    if not rows:
        raise TllError(f"{out_dir}: no results here yet. Run the notebooks first: tll run")
    if options.compare:
        import pandas as pd

        table = pd.DataFrame(rows).pivot_table(
            index=["system", "backbone"], columns=["data", "profile", "seed"], values="top_2"
        )
        print(table.to_string(na_rep="", float_format="{:.3f}".format))
    else:
        print(leaderboard.leaderboard(rows).to_string())
    return 0


if __name__ == "__main__":
    console()
