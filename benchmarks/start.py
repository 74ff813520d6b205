"""From the demo's start to the first live graph in a browser, downloads not counted: `python -m benchmarks.start`."""

import tempfile
import time
from pathlib import Path

from benchmarks.figures import Figure, table
from tests.running_demo import chromium, log_in, start_demo

NODES = 3


def measure() -> list[Figure]:
    """One start; the browser is there already, as a person's is."""
    with chromium() as browser, tempfile.TemporaryDirectory(prefix="eventflow-start-") as folder:
        began = time.perf_counter()
        demo = start_demo(Path(folder))
        try:
            linked = time.perf_counter() - began
            page = log_in(demo, browser).new_page()
            page.goto(f"http://{demo.http}/topology/")
            page.locator("#tp-graph .node").nth(NODES - 1).wait_for(timeout=120_000)
            graph = time.perf_counter() - began
        finally:
            demo.stop()
    return [
        Figure("start: login link printed", linked, "s"),
        Figure(f"start: {NODES} nodes in the browser", graph, "s", must=120, aim=15),
    ]


if __name__ == "__main__":
    print(table(measure()))
