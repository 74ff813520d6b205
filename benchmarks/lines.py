"""What lines cost where the spans of a flow come spread out, as exporters that send every few seconds spread them.

python -m benchmarks.lines [--spans 262144]

Requests come in the order of `i + a random number up to the spread`; all are digested, then lines are made. Told twice:
at first, when each kind of half a flow is judged for the first time, and again, when all kinds are known.
"""

# ruff: noqa: PLC0415  # Eventflow's settings read the folder made for this process
import argparse
import random
import time

from benchmarks import child
from benchmarks.figures import Figure, table
from benchmarks.otlp_load import SPANS, Load

SPREADS = (0, 64, 512)
"""Requests, of 512 spans each."""
BUNCH = 32
ROUNDS = 8
SPANS_PER_FLOW = 8


def measure(spans: int = 65_536) -> list[Figure]:
    """A process for each spread."""
    return [
        figure
        for spread in SPREADS
        for figure in child.figures("benchmarks.lines", "--spans", str(spans), "--spread", str(spread))
    ]


def _measured(spans: int, spread: int) -> list[Figure]:
    """In the child."""
    _digest_all(spans, spread)
    first = _judge_all(spans)
    _forget_lines()
    again = _judge_all(spans)
    name = f"lines: flows spread over {spread * SPANS:,} spans" if spread else "lines: flows in order"
    return [
        Figure(f"{name}, at first", first / spans * 1e6, "µs/span"),
        Figure(f"{name}, kinds known", again / spans * 1e6, "µs/span"),
    ]


def _digest_all(count: int, spread: int) -> None:
    from django.utils import timezone

    from eventflow.domain.observations import SpanBatch
    from eventflow.store import spans
    from eventflow.worker.formats import span_format

    load, chance, form = Load(ROUNDS), random.Random(3), span_format()
    order = sorted(range(count // SPANS), key=lambda number: number + chance.random() * spread)
    for at in range(0, len(order), BUNCH):
        bodies = [load.body(number) for number in order[at : at + BUNCH]]
        spans.append([SpanBatch(body, timezone.now(), columns=form.scan(body)) for body in bodies])
        while spans.digest(timezone.now()).requests:
            pass


def _judge_all(count: int) -> float:
    """CPU seconds."""
    from django.utils import timezone

    from eventflow.store import spans
    from eventflow.store.models import FlowRow

    begun = time.process_time()
    while spans.judge(timezone.now()):
        pass
    took = time.process_time() - begun
    found = FlowRow.objects.filter(pattern__spans=SPANS_PER_FLOW).count()
    if found != count // SPANS_PER_FLOW:
        raise AssertionError(f"{found} lines are whole, {count // SPANS_PER_FLOW} flows were sent")
    return took


def _forget_lines() -> None:
    """As if no line had been made yet."""
    from eventflow.store.models import FlowRow, Generation
    from eventflow.store.spans.digest import remember
    from eventflow.store.spans.generation import JUDGED

    FlowRow.objects.all().delete()
    Generation.objects.filter(pk=JUDGED).update(number=0)
    remember()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--spans", type=int, default=262_144)
    parser.add_argument("--spread", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child.django()
        child.tell(_measured(options.spans, options.spread))
    else:
        print(table(measure(options.spans)))


if __name__ == "__main__":
    main()
