"""Tries at full size what `make test` tries a little of, and writes the README's table from it.

python benchmarks/fuzz.py [SEED]      runs tests/fuzz; minutes; a failure leaves the table as it is
python benchmarks/fuzz.py --table     rewrites the table from fuzz.json
"""

import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT, FOUND = HERE.parent, HERE / "fuzz.json"
README = ROOT / "README.md"
START, END = "<!-- fuzz -->", "<!-- /fuzz -->"


def run(tests: Path, seed: str, report: Path) -> int:
    """Runs one file of tests; leaves what it tried in `report`."""
    environ = {**os.environ, "TLL_FUZZ": "full", "TLL_FUZZ_SEED": seed}
    environ |= {"TLL_FUZZ_REPORT": str(report), "TQDM_DISABLE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)]
    command += [f"--hypothesis-seed={seed}"]
    with report.with_suffix(".log").open("w") as log:
        return subprocess.run(command, env=environ, stdout=log, stderr=log, cwd=ROOT).returncode


def run_all(seed: str) -> dict:
    """Runs all files side by side; ends the program if one of them fails."""
    files = sorted((ROOT / "tests" / "fuzz").glob("test_*.py"))
    tally: dict[str, dict[str, int]] = {}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
        reports = [Path(folder) / f"{file.stem}.json" for file in files]
        codes = list(pool.map(run, files, [seed] * len(files), reports))
        for code, report in zip(codes, reports, strict=True):
            if code:
                sys.exit(report.with_suffix(".log").read_text()[-5000:])
            found = json.loads(report.read_text())
            for area, counts in found["tally"].items():
                tally[area] = {name: counts.get(name, 0) for name in ("tried", "taken", "refused")}
    return {"seed": seed, "areas": tally}


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
