"""`python -m benchmarks`: the short form of every benchmark, as a table and in bench.json; code 1 if a must fails."""

import sys
from pathlib import Path

from benchmarks import collect_memory, kafka, lag, lag_history, lines, live, nats, redis_rabbitmq, spans, start
from benchmarks.figures import keep, table

found = [
    *spans.measure(),
    *lines.measure(),
    *lag.measure(),
    *lag_history.measure(),
    *nats.measure(),
    *kafka.measure(),
    *redis_rabbitmq.measure(queues=1000),
    *collect_memory.measure(cycles=100),
    *start.measure(),
    *live.measure(),
]
print(table(found))
keep(found, Path("bench.json"))
sys.exit(not all(one.ok for one in found))
