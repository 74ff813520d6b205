"""`python -m benchmarks`: the short form of every benchmark, as a table and in bench.json.

Code 1 if a must fails or a benchmark ends with an error; what the others measured is told all the same.
"""

import sys
from functools import partial
from pathlib import Path

from benchmarks import collect_memory, kafka, lag, lag_history, lines, live, nats, redis_rabbitmq, spans, start
from benchmarks.figures import keep, measured, table

found, failed = measured(
    {
        "spans": spans.measure,
        "lines": lines.measure,
        "lag": lag.measure,
        "lag_history": lag_history.measure,
        "nats": nats.measure,
        "kafka": kafka.measure,
        "redis_rabbitmq": partial(redis_rabbitmq.measure, queues=1000),
        "collect_memory": partial(collect_memory.measure, cycles=100),
        "start": start.measure,
        "live": live.measure,
    }
)
print(table(found))
keep(found, Path("bench.json"))
if failed:
    print(f"Not measured, the reason is above: {', '.join(failed)}.", file=sys.stderr)
sys.exit(bool(failed) or not all(one.ok for one in found))
