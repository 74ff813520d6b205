"""OTLP requests as the span engine needs them: scanned into columns, read whole span by span, gathered anew.

Two implementations with the same results: `_wire.pyx` and `_json.pyx`, compiled where the machine has a compiler
(`build.py`), and plain Python. EVENTFLOW_NATIVE=0 forces the second.
"""

import os
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.util import find_spec

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2

from collectors.otlp import json_fast, parse
from collectors.otlp.scan import gather_py, many_py, values
from collectors.otlp.scan.names import Names, UnscannableError
from collectors.receiving.errors import BadRequestError
from eventflow.domain.columns import Body, SpanColumns
from eventflow.domain.observations import Attributes, Span

__all__ = ["OtlpFormat", "UnscannableError"]


Scan = Callable[[bytes], SpanColumns]
FromJson = Callable[[bytes], bytes | None]
Gather = Callable[[Sequence[Body], Sequence[SpanColumns], bytes, bytes], bytes]


def native_is_wanted() -> bool:
    """Whether the compiled scanner is there and nobody said no."""
    built = all(find_spec(f"collectors.otlp.scan.{module}") is not None for module in ("_wire", "_json"))
    return built and os.environ.get("EVENTFLOW_NATIVE") != "0"


class OtlpFormat:
    """`eventflow.domain.columns.Format` over OTLP protobuf. `native`: which scan; None takes the fast one if built."""

    def __init__(
        self, correlation_keys: Sequence[str] = (), native: bool | None = None, search_keys: Sequence[str] = ()
    ) -> None:
        self.correlation_keys = tuple(correlation_keys)
        self.searched: Sequence[str] = tuple(search_keys)
        self._known = Names(self.correlation_keys, self.searched)
        self.names: Sequence[str] = self._known.identities
        self.native = native_is_wanted() if native is None else native
        if self.native:
            from collectors.otlp.scan import _json, _wire  # noqa: PLC0415  # only where they are built

            self.scan: Scan = _wire.NativeScanner(self._known).scan
            self.gather: Gather = _wire.gather
            self.from_json: FromJson = _json.to_protobuf
        else:
            self.scan = many_py.Scanner(self._known).scan
            self.gather = gather_py.gather
            self.from_json = json_fast.to_protobuf

    def position(self, name: str) -> int:
        """See `Format.position`."""
        return self._known.position(name)

    def read(self, body: Body, columns: SpanColumns | None = None, spans: Sequence[int] | None = None) -> list[Span]:
        """Whole spans, by the one reader that there is; see `Format.read`."""
        return self.read_counting(body, Counter(), columns, spans)

    def read_counting(
        self,
        body: Body,
        warnings: Counter[str],
        columns: SpanColumns | None = None,
        spans: Sequence[int] | None = None,
    ) -> list[Span]:
        """As `read`; what was odd is counted in `warnings`."""
        if spans is None:
            try:
                parsed = parse.from_protobuf(bytes(body), self.correlation_keys)
            except BadRequestError as error:
                raise UnscannableError(str(error)) from error
            warnings.update(parsed.warnings)
            return list(parsed.spans)
        if columns is None:
            columns = self.scan(bytes(body))
        readers: dict[int, parse.SpanReader] = {}
        offsets, lengths, scopes = (array("I", one) for one in (columns.offsets, columns.lengths, columns.scopes))
        found = []
        try:
            for span in spans:
                reader = readers.get(scopes[span])
                if reader is None:
                    reader = readers[scopes[span]] = self._reader(body, columns.scope_ranges[scopes[span]], warnings)
                sent = trace_pb2.Span.FromString(bytes(body[offsets[span] : offsets[span] + lengths[span]]))
                found.append(reader.read(sent))
        except DecodeError as error:
            raise UnscannableError("these columns belong to another body") from error
        return found

    def written(self, value: str) -> list[bytes]:
        """See `Format.written`."""
        return [one.SerializeToString() for one in values.readings(value)]

    def _reader(self, body: Body, place: tuple[int, ...], warnings: Counter[str]) -> parse.SpanReader:
        at, size, scope_at, scope_size = place[:4]
        resource, service = _owner(bytes(body[at : at + size]))
        scope = InstrumentationScope.FromString(bytes(body[scope_at : scope_at + scope_size]))
        return parse.SpanReader(resource, service, scope, self.correlation_keys, warnings)


@lru_cache(maxsize=256)
def _owner(resource: bytes) -> tuple[Attributes, str]:
    """A resource's attributes and its service: a handful of services send all spans."""
    return parse.owner(Resource.FromString(resource))
