"""`python -m benchmarks`: the short form of every benchmark, as a table and in bench.json; code 1 if a must fails."""

import sys
from pathlib import Path

from benchmarks import kafka, live, start
from benchmarks.figures import keep, table

found = [*start.measure(), *live.measure(), *kafka.measure()]
print(table(found))
keep(found, Path("bench.json"))
sys.exit(not all(one.ok for one in found))
