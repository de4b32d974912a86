"""Tries at full size what `make test` tries a little of, and writes the README's table from it.

python benchmarks/fuzz.py [SEED]      runs tests/fuzz; minutes; a failure leaves the table as it is
python benchmarks/fuzz.py --table     rewrites the table from fuzz.json
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT, FOUND = HERE.parent, HERE / "fuzz.json"
README = ROOT / "README.md"
SIDE_BY_SIDE = 8  # processes; most of them wait for the work that they kill
START, END = "<!-- fuzz -->", "<!-- /fuzz -->"


def pytest(*options: str, report: Path, seed: str = "0") -> tuple[int, str]:
    """Runs pytest at full size; returns its exit code and what it said."""
    environ = {**os.environ, "TLL_FUZZ": "full", "TLL_FUZZ_SEED": seed, "TQDM_DISABLE": "1"}
    environ |= {"TLL_FUZZ_REPORT": str(report), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]
    command += [f"--hypothesis-seed={seed}"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, cwd=ROOT)
    return done.returncode, done.stdout


def run_all(seed: str) -> dict:
    """Runs all tests, a process per kind; ends the program if one of them fails."""
    tally: dict[str, Counter] = {}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        _, listed = pytest("--collect-only", "tests/fuzz", report=Path(folder) / "listed.json")
        groups: dict[str, list[str]] = {}
        for test in (line for line in listed.splitlines() if "::" in line):
            groups.setdefault(test.split("-")[0], []).append(test)
        reports = [Path(folder) / f"{place}.json" for place in range(len(groups))]
        runs = [
            pool.submit(pytest, *tests, report=report, seed=seed)
            for tests, report in zip(groups.values(), reports, strict=True)
        ]
        failed = [said for code, said in (run.result() for run in runs) if code]
        if failed:
            sys.exit("\n".join(said[-3000:] for said in failed))
        for report in reports:
            for area, counts in json.loads(report.read_text())["tally"].items():
                tally.setdefault(area, Counter()).update(counts)
    names = ("tried", "taken", "refused")
    areas = {area: {name: tally[area][name] for name in names} for area in sorted(tally)}
    return {"seed": seed, "areas": areas}


def markdown_table(found: dict) -> str:
    """One row per kind of file, work or want."""
    lines = [
        "| what | tried | went through | refused with a word | lost |",
        "|---|---|---|---|---|",
    ]
    for area, counts in found["areas"].items():
        lost = counts["tried"] - counts["taken"] - counts["refused"]
        lines.append(
            f"| {area} | {counts['tried']} | {counts['taken']} | {counts['refused']} | {lost} |"
        )
    return "\n".join(lines)


def with_table(text: str, found: dict) -> str:
    """Returns the README's text with the table between its two marks renewed."""
    head, _, rest = text.partition(START)
    _, _, tail = rest.partition(END)
    return f"{head}{START}\n{markdown_table(found)}\n{END}{tail}"


def main() -> None:
    if sys.argv[1:] != ["--table"]:
        found = run_all(*(sys.argv[1:] or ["0"]))
        FOUND.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    found = json.loads(FOUND.read_text(encoding="utf-8"))
    README.write_text(with_table(README.read_text(encoding="utf-8"), found), encoding="utf-8")


if __name__ == "__main__":
    main()
