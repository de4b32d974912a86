"""Writes the leaderboard of a finished run into the README: no figure there is typed by hand.

python benchmarks/leaderboard.py OUT      copies OUT/results.json here, then rewrites the tables
python benchmarks/leaderboard.py          rewrites the tables from the copy

The README shows the best rows, LEADERBOARD.md all of them.
"""

import json
import shutil
import sys
from pathlib import Path

from tll_utils.scoring import leaderboard

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results_tll_cpu.json"
PAGES = {HERE.parent / "README.md": 12, HERE / "LEADERBOARD.md": None}  # rows; None = all
START, END = "<!-- leaderboard -->", "<!-- /leaderboard -->"


def markdown_table(rows: list[dict]) -> str:
    """Formats result rows as a Markdown table, best top-2 first."""
    lines = [
        "| system | top-1 | top-2 (95 % interval) | top-5 | n | protocol | notebook |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: -row["top_2"]):
        interval = f"{row['low']:.3f}–{row['high']:.3f}"
        lines.append(
            f"| `{row['system']}` | {row['top_1']:.3f} | **{row['top_2']:.3f}** ({interval}) "
            f"| {row['top_5']:.3f} | {row['n']} | {row['protocol']} | {row['notebook'][:2]} |"
        )
    return "\n".join(lines)


def with_table(text: str, rows: list[dict]) -> str:
    """Returns a page's text with the table between its two marks renewed."""
    head, _, rest = text.partition(START)
    _, _, tail = rest.partition(END)
    return f"{head}{START}\n{markdown_table(rows)}\n{END}{tail}"


def main() -> None:
    if len(sys.argv) > 1:
        rows = leaderboard.read(sys.argv[1])
        if {(row["data"], row["profile"]) for row in rows} != {("tll", "cpu")}:
            sys.exit("The README shows the cpu profile on the course data; this run is another.")
        shutil.copyfile(Path(sys.argv[1]) / "results.json", RESULTS)
    rows = sorted(json.loads(RESULTS.read_text(encoding="utf-8")), key=lambda row: -row["top_2"])
    for page, count in PAGES.items():
        text = with_table(page.read_text(encoding="utf-8"), rows[:count])
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
