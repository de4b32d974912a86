"""The page in a real browser: nothing fails, nothing is fetched, everyone can use it."""

import importlib.util
import shutil
import threading

import pytest

from tll_utils.tools import play, report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and importlib.util.find_spec("playwright")),
    reason="no browser to drive; `make test-page` says how to get it",
)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser):
    """Opens a page; at the end, no error may have been logged and nothing fetched elsewhere."""
    complaints, asked, contexts = [], [], []

    def open_page(url, **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(url)
        page.wait_for_selector("h2")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints
    assert {url.split(":")[0] for url in asked} <= {"file", "data", "http"}
    assert all("//127.0.0.1:" in url for url in asked if url.startswith("http"))


@pytest.mark.parametrize("width", [360, 700, 1000, 1920])
def test_the_menu_covers_no_heading(out_dir, dataset, visit, width):
    page = visit(report.write(out_dir, dataset).as_uri(), viewport={"width": width, "height": 400})
    page.get_by_role("link", name="Queries and what was found").click()
    page.wait_for_timeout(300)
    heading = page.get_by_role("heading", name="Queries and what was found").bounding_box()
    menu = page.locator("nav").bounding_box()
    assert menu["y"] + menu["height"] <= heading["y"] < 200


@pytest.mark.parametrize("width", [360, 1920])
def test_report_fits_the_screen_and_filters(out_dir, dataset, visit, width):
    path = report.write(out_dir, dataset)
    page = visit(path.as_uri(), viewport={"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("tbody tr").first.inner_text().startswith("perfect")
    assert "24 of 24 queries" in page.locator("main").inner_text()

    def choose(label, value):
        page.get_by_role("combobox", name=label, exact=True).select_option(value)

    choose("system", "blind")
    choose("result", "right")
    assert "0 of 24 queries" in page.locator("main").inner_text()
    choose("beside it", "perfect")
    choose("result", "differ")
    assert "24 of 24 queries" in page.locator("main").inner_text()
    assert page.locator(".query").count() == 20
    page.get_by_role("button", name="Next").click()
    assert page.locator(".query").count() == 4


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_report_has_no_serious_barriers(out_dir, dataset, visit, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    path = with_reasons(out_dir, dataset)
    page = visit(path.as_uri(), color_scheme=scheme, bypass_csp=True)
    page.get_by_role("button", name="the match, rank 1").first.click()
    page.get_by_role("button", name="Play").click()
    found = axe.Axe().run(page).response["violations"]
    assert [rule["id"] for rule in found if rule["impact"] in ("serious", "critical")] == []


def with_reasons(out_dir, dataset):
    """The page of a run in which the first system says which cells agree."""
    content = report.collect(out_dir, dataset)
    text = "908070605040302010" + "0195129020854480"
    cells = text * (len(content["queries"]) * (report.SHOWN + 1))
    content["why"] = {"system": "perfect", "cells": cells}
    path = out_dir / "why.html"
    path.write_text(report.page(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("width", [360, 1920])
def test_a_candidate_shows_which_of_its_cells_agree(out_dir, dataset, visit, width):
    path = with_reasons(out_dir, dataset)
    page = visit(path.as_uri(), viewport={"width": width, "height": 900}, bypass_csp=True)
    button = page.get_by_role("button", name="the match, rank 1").first
    button.click()
    shown = page.locator(".why")
    assert "1 upper left with upper middle 0.95" in shown.inner_text()
    assert shown.locator("td").all_inner_texts()[:2] == ["0.90", "0.80"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    button.click()
    assert shown.count() == 0


def test_game_is_played_by_keyboard_and_kept(out_dir, dataset, protocol, visit):
    queries = dataset.pairs["left"].tolist()
    right = {
        row: (place, (place + 1) % protocol.m) for row, place in enumerate(protocol.true_place)
    }
    play.write_answers(out_dir / "answers" / "Bob.csv", right, queries, protocol.m)
    server = play.serve(out_dir, dataset)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        page = visit(server.url)
        page.get_by_role("textbox").fill("Ada")
        page.get_by_role("button", name="Play").click()
        for number in range(12):
            page.get_by_text(f"Query {number + 1} of 12").wait_for()
            page.keyboard.press("a")
            page.keyboard.press("c")
            page.keyboard.press("Enter")
        page.get_by_text("Done:").wait_for()
        said = page.locator("#game ~ p[aria-live]").inner_text()
        table = page.locator("#game ~ div table").inner_text()
    finally:
        server.shutdown()
        server.server_close()
    picks = play.read_answers(out_dir / "answers" / "Ada.csv", queries, protocol.m)
    assert set(picks.values()) == {(0, 2)} and len(picks) == 12
    hits = sum(protocol.true_place[row] in (0, 2) for row in picks)
    assert said.startswith(f"Done: {hits} of 12")
    assert "Bob (person)" in table and "12 of 12" in table and "all 2 together" in table


def test_a_name_of_markup_stays_a_name(out_dir, dataset, visit):
    evil = "<img src=x onerror=document.title='broken'>"
    content = report.collect(out_dir, dataset)
    content["queries"][0] = content["systems"][0]["notebook"] = evil
    path = out_dir / "evil.html"
    path.write_text(report.page(content), encoding="utf-8")
    page = visit(path.as_uri())
    assert page.get_by_text(f"query {evil}").count() == 1
    assert page.title() == "Totally Looks Like"
