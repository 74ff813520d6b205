"""The compiled scanner's face; the implementation is `_wire.pyx`."""

from collections.abc import Sequence

from collectors.otlp.scan.names import Names
from eventflow.domain.columns import Body, SpanColumns

class NativeScanner:
    def __init__(self, names: Names) -> None: ...
    def scan(self, body: bytes) -> SpanColumns: ...

def gather(bodies: Sequence[Body], columns: Sequence[SpanColumns], requests: bytes, spans: bytes) -> bytes: ...
