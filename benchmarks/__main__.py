"""`python -m benchmarks`: the short form of every benchmark, as a table and in bench.json; code 1 if a must fails."""

import sys
from pathlib import Path

from benchmarks import kafka, lag, live, nats, start
from benchmarks.figures import keep, table

found = [*lag.measure(), *nats.measure(), *kafka.measure(), *start.measure(), *live.measure()]
print(table(found))
keep(found, Path("bench.json"))
sys.exit(not all(one.ok for one in found))
