"""How soon a report is seen: `python benchmarks/first_paint.py submissions/report.html`."""

import json
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from tll_utils.tools import report

TIMES = 5
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


def enlarged(path: Path, count: int) -> Path:
    """The same page with its queries repeated, beside it."""
    text = path.read_text(encoding="utf-8")
    start = text.index('id="data">') + 10
    content = json.loads(text[start : text.index("</script>", start)])
    factor = -(-count // len(content["queries"]))
    for name in ("queries", "kinds", "candidates", "truth", "left"):
        content[name] *= factor
    content["ranked"] = {name: line * factor for name, line in content["ranked"].items()}
    if content["why"]:
        content["why"]["cells"] *= factor
    target = path.with_name(f"report_of_{count}.html")
    target.write_text(report.page(content), encoding="utf-8")
    return target


page_path = Path(sys.argv[1]).absolute()
with sync_playwright() as playwright:
    chromium = playwright.chromium.launch(
        executable_path=shutil.which("chromium"), args=["--no-sandbox"]
    )
    for num_queries in (400, 2000):
        path = enlarged(page_path, num_queries)
        times = []
        for _ in range(TIMES):
            page = chromium.new_context().new_page()
            page.goto(path.as_uri())
            page.wait_for_selector(".query")
            page.wait_for_function(f"{PAINT} > 0")
            times.append(page.evaluate(PAINT))
            page.context.close()
        median = sorted(times)[TIMES // 2]
        size = path.stat().st_size / 1e6
        print(
            f"{num_queries} queries, {size:.1f} MB: first paint {median:.0f} ms (median of {TIMES})"
        )
        path.unlink()
