"""Under the demo's load: from an event in the shop to its pixel, how soon a span can be read, how fast pages answer.

python -m benchmarks.live [--events 300] [--requests 100] [--rate 4]
"""

import argparse
import http.client
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, Page

from benchmarks.figures import Figure, percentile, table
from tests import otlp
from tests.journeys.pages import paths
from tests.running_demo import Demo, chromium, log_in, start_demo

# A flow's row counts as seen with the frame after the change that brought it.
WATCH = """
() => {
  window.seen = {};
  const look = () => {
    for (const link of document.querySelectorAll("main tbody a[href^='/flows/']")) {
      const key = decodeURIComponent(link.pathname.split("/")[2]);
      if (key && !(key in window.seen)) window.seen[key] = Date.now();
    }
  };
  look();
  window.known = Object.keys(window.seen);
  const all = {childList: true, subtree: true, characterData: true, attributes: true};
  new MutationObserver(() => requestAnimationFrame(look)).observe(document.body, all);
}
"""


def measure(events: int = 120, requests: int = 50, rate: float = 4.0) -> list[Figure]:
    """All of it on one demo without faults."""
    with chromium() as browser, tempfile.TemporaryDirectory(prefix="eventflow-live-") as folder:
        demo = start_demo(Path(folder), "--no-story", "--rate", str(rate))
        try:
            person = log_in(demo, browser)
            page = person.new_page()
            page.goto(f"http://{demo.http}/flows/")
            page.locator("main tbody a").nth(8).wait_for(timeout=60_000)
            return [
                *pixels(demo, page, events),
                *readable(demo, page, 30),
                *answers(demo, person, page, requests),
            ]
        finally:
            demo.stop()


def _api(demo: Demo, page: Page, path: str) -> Any:
    answer = page.request.get(f"http://{demo.http}/api/v1/{path}")
    return answer.json() if answer.ok else None


def pixels(demo: Demo, page: Page, events: int) -> list[Figure]:
    """Order published (its span's end) → its row on the open list of flows."""
    page.evaluate(WATCH)
    known = set(page.evaluate("window.known"))
    deadline = time.monotonic() + 60 + events
    while len(page.evaluate("window.seen")) < len(known) + events and time.monotonic() < deadline:
        page.wait_for_timeout(500)
    taken = []
    for key, seen_ms in page.evaluate("window.seen").items():
        if key in known or not (flow := _api(demo, page, f"flows/{key}")) or not flow["messages"]:
            continue
        published = min(message["at"] for message in flow["messages"])
        taken.append(seen_ms / 1000 - _epoch(published))
    assert len(taken) >= events * 0.8, f"only {len(taken)} events were seen"
    return [
        Figure("event to pixel p50", percentile(taken, 50), "s", aim=0.5),
        Figure(f"event to pixel p95 of {len(taken)}", percentile(taken, 95), "s", must=1.0, aim=0.7),
    ]


def _epoch(instant: str) -> float:
    return datetime.fromisoformat(instant.replace("Z", "+00:00")).timestamp()


def readable(demo: Demo, page: Page, times: int) -> list[Figure]:
    """A stranger's span acknowledged → its flow answers over the API."""
    taken = []
    for _ in range(times):
        hop = otlp.Hop()
        assert otlp.post(demo.otlp, hop.request())
        began = time.perf_counter()
        while _api(demo, page, f"flows/{hop.key}") is None:
            time.sleep(0.01)
        taken.append(time.perf_counter() - began)
    return [Figure("acknowledged to readable p95", percentile(taken, 95), "s", must=2.0, aim=0.5)]


def answers(demo: Demo, person: BrowserContext, page: Page, requests: int) -> list[Figure]:
    """GET of each page, one after the other on one connection, with a logged-in session."""
    cookies = "; ".join(f"{cookie['name']}={cookie['value']}" for cookie in person.cookies())
    found = paths(demo, page)
    everything: list[float] = []
    figures = []
    connection = http.client.HTTPConnection(demo.http, timeout=30)
    for name, path in found.items():
        taken = []
        for _ in range(requests):
            began = time.perf_counter()
            connection.request("GET", path, headers={"Cookie": cookies})
            answer = connection.getresponse()
            answer.read()
            taken.append(time.perf_counter() - began)
            assert answer.status == 200 or (answer.status == 302 and name == "settings"), (path, answer.status)
        everything += taken
        figures.append(Figure(f"page {name} p95", percentile(taken, 95) * 1000, "ms", must=200, aim=80))
    connection.close()
    return [
        Figure("pages p50", percentile(everything, 50) * 1000, "ms", aim=40),
        Figure("pages p95", percentile(everything, 95) * 1000, "ms", must=200, aim=80),
        *figures,
    ]


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--events", type=int, default=300)
    options.add_argument("--requests", type=int, default=100)
    options.add_argument("--rate", type=float, default=4.0)
    wanted = options.parse_args()
    print(table(measure(wanted.events, wanted.requests, wanted.rate)))


if __name__ == "__main__":
    main()
