"""Screenshots of every page, light, dark and 390 px wide, into shots/: `python -m tests.journeys.shots [--picture]`.

Runs a demo of its own with its story. `--picture` only takes demo/topology.png, README's picture.
"""

import argparse
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext

from tests.journeys.pages import LOOKS, Look, open_as, paths
from tests.running import ROOT
from tests.running_demo import Demo, chromium, log_in, start_demo

STORY_SECONDS = 75
PICTURE = Look("picture", "light", 1440, 820)


def every_page(demo: Demo, browser: Browser, person: BrowserContext, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for look in LOOKS:
        with open_as(browser, person, look) as page:
            for name, path in paths(demo, page).items():
                page.goto(f"http://{demo.http}{path}")
                page.wait_for_timeout(700)
                page.screenshot(path=folder / f"{name}-{look.name}.png", full_page=look.width < 500)
                print(folder / f"{name}-{look.name}.png", flush=True)


def picture(demo: Demo, browser: Browser, person: BrowserContext) -> None:
    with open_as(browser, person, PICTURE) as page:
        page.goto(f"http://{demo.http}/topology/")
        page.locator("#tp-graph .node").nth(2).wait_for()
        page.wait_for_timeout(1500)
        page.screenshot(path=ROOT / "demo" / "topology.png")


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--picture", action="store_true")
    options.add_argument("--seconds", type=float, default=STORY_SECONDS, help="how long the story goes first")
    wanted = options.parse_args()
    with chromium() as browser, tempfile.TemporaryDirectory(prefix="eventflow-shots-") as data:
        demo = start_demo(Path(data))
        try:
            person = log_in(demo, browser)
            time.sleep(wanted.seconds)
            picture(demo, browser, person)
            if not wanted.picture:
                every_page(demo, browser, person, ROOT / "shots")
        finally:
            demo.stop()


if __name__ == "__main__":
    main()
