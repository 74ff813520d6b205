"""The page's own scripts in a real browser, without a server: what an update changes and what it leaves alone."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, sync_playwright

from tests.required import missing

STATIC = Path(__file__).resolve().parents[2] / "static"
CHROMIUM = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
MORPH = """async ([before, after, held, prepare]) => {
  const { morph } = await import("/static/js/morph.js");
  const parse = (html) => new DOMParser().parseFromString(html, "text/html").body.firstElementChild;
  document.body.replaceChildren(document.importNode(parse(before), true));
  const root = document.body.firstElementChild;
  const first = root.querySelector("[data-first]") || root.firstElementChild;
  if (prepare === "focus") root.querySelector("input").focus();
  if (prepare === "type") { root.querySelector("input").focus(); root.querySelector("input").value = "typed"; }
  if (prepare === "open") root.querySelector("details").open = true;
  const waiting = morph(root, parse(after), held);
  return { html: root.outerHTML, waiting, same: first ? first.isConnected : null,
           focused: document.activeElement.localName, value: root.querySelector("input")?.value ?? null };
}"""


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    if CHROMIUM is None:
        missing("chromium", "no browser is installed")

    def serve(route: Route) -> None:
        path = route.request.url.removeprefix("http://page.test")
        if path.startswith("/static/"):
            file = STATIC / path.removeprefix("/static/")
            route.fulfill(body=file.read_text(), content_type="text/javascript")
        else:
            route.fulfill(body="<!doctype html><title>test</title><body></body>", content_type="text/html")

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        made = browser.new_page()
        made.route("**/*", serve)
        made.goto("http://page.test/")
        yield made
        browser.close()


def morph(page: Page, before: str, after: str, *, held: bool = False, prepare: str = "") -> dict[str, Any]:
    return dict(page.evaluate(MORPH, [before, after, held, prepare]))


def test_text_and_attributes_change_in_place(page: Page) -> None:
    done = morph(page, '<p class="a" title="old"><b>1</b></p>', '<p class="b" lang="en"><b>2</b></p>')
    assert done["html"] == '<p class="b" lang="en"><b>2</b></p>' and done["same"]


def test_rows_are_matched_by_id_so_a_new_one_on_top_keeps_the_others(page: Page) -> None:
    done = morph(
        page,
        '<ul><li id="a" data-first>1</li><li id="b">2</li></ul>',
        '<ul><li id="c">0</li><li id="a" data-first>1</li><li id="b">3</li></ul>',
    )
    assert done["html"].index('"c"') < done["html"].index('"a"') and done["same"] and ">3<" in done["html"]


def test_under_the_pointer_values_change_but_no_row_moves_comes_or_goes(page: Page) -> None:
    done = morph(
        page,
        '<ul><li id="a">1</li><li id="b">2</li></ul>',
        '<ul><li id="n">9</li><li id="b">5</li><li id="m">9</li></ul>',
        held=True,
    )
    assert done["html"] == '<ul><li id="a">1</li><li id="b">5</li></ul>'
    assert done["waiting"] == 2


def test_a_field_that_is_typed_in_keeps_its_text_and_the_focus(page: Page) -> None:
    done = morph(page, '<div><input value="a"></div>', '<div><input value="b"></div>', prepare="type")
    assert (done["value"], done["focused"]) == ("typed", "input")


def test_what_was_opened_stays_open_and_what_scripts_own_is_left_alone(page: Page) -> None:
    done = morph(
        page,
        '<div><details><summary>s</summary></details><p data-live-ignore>mine</p><tr class="x"></tr></div>',
        '<div class="new"><details><summary>t</summary></details><p data-live-ignore>theirs</p></div>',
        prepare="open",
    )
    assert '<details open=""><summary>t</summary></details><p data-live-ignore="">mine</p>' in done["html"]


def test_what_a_script_added_stays_where_the_server_knows_nothing_of_it(page: Page) -> None:
    done = morph(
        page,
        "<div><i>1</i><b data-live-own>mine</b></div>",
        "<div><i>2</i><b>3</b></div>",
    )
    assert done["html"] == '<div><i>2</i><b>3</b><b data-live-own="">mine</b></div>'


def test_the_cursor_of_a_list_and_a_drawings_own_transform_stay(page: Page) -> None:
    done = morph(
        page,
        '<div><p id="r" class="row cursor">1</p><i data-live-keep="style" style="left: 4px">a</i></div>',
        '<div><p id="r" class="row late">2</p><i data-live-keep="style">b</i></div>',
    )
    assert 'class="row late cursor"' in done["html"] and "left: 4px" in done["html"] and ">b<" in done["html"]


def test_hostile_text_stays_text(page: Page) -> None:
    done = morph(page, "<p>a</p>", "<p>&lt;img src=x onerror=alert(1)&gt;</p>")
    assert done["html"] == "<p>&lt;img src=x onerror=alert(1)&gt;</p>"


CHART = "async ([name, ...given]) => (await import('/static/js/chart.js'))[name](...given)"


def test_a_charts_piece_is_what_plotly_says_was_moved_in_time(page: Page) -> None:
    noon = 1_795_608_000_000
    told = {"xaxis.range[0]": "2026-11-25 12:00", "xaxis.range[1]": "2026-11-25 12:00:01.5004"}
    assert page.evaluate(CHART, ["pieceOf", told]) == [noon, noon + 1500]
    whole = {"xaxis.range": ["2026-11-25T12:00:00.000", "2026-11-25T12:01:00.000"]}
    assert page.evaluate(CHART, ["pieceOf", whole]) == [noon, noon + 60_000]
    assert page.evaluate(CHART, ["pieceOf", {"width": 300}]) is None


def test_a_piece_is_asked_for_with_as_much_on_both_sides(page: Page) -> None:
    assert page.evaluate(CHART, ["addressOf", "/c/?range=7d", [1000, 3000]]) == "/c/?range=7d&from=-1000&to=5000"
    assert page.evaluate(CHART, ["addressOf", "/c/", None]) == "/c/"


def test_a_piece_is_drawn_as_high_as_what_happens_in_it(page: Page) -> None:
    figure = {
        "data": [{"x": [1, 2, 3, 4], "y": [900, None, 50, 70]}, {"x": [2, 3], "y": [100, 2]}],
        "layout": {"xaxis": {"range": ["a", "b"]}, "yaxis": {"range": [0, 972]}},
    }
    assert page.evaluate(CHART, ["viewOf", figure, None]) == {"x": ["a", "b"], "y": [0, 972]}
    seen = page.evaluate(CHART, ["viewOf", figure, [2, 4]])
    assert seen["y"] == [0, 108] and seen["x"][0] == "1970-01-01T00:00:00.002Z"
