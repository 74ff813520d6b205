"""Spans as protobuf's own parser splits them fastest: attributes, events and links stay bytes.

Made here and not with protoc: it is a view of OTLP's messages for one reader, not a format of ours.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELDS = (
    ("trace_id", 1, "bytes"),
    ("span_id", 2, "bytes"),
    ("parent", 4, "bytes"),
    ("name", 5, "bytes"),
    ("kind", 6, "int32"),
    ("start", 7, "fixed64"),
    ("end", 8, "fixed64"),
    ("attributes", 9, "bytes*"),
    ("events", 11, "bytes*"),
    ("links", 13, "bytes*"),
    # Repeated, though a sender writes one: parts of a message add up, and the scanner sees each.
    ("status", 15, "bytes*"),
)
_Field = descriptor_pb2.FieldDescriptorProto
_TYPES = {"bytes": _Field.TYPE_BYTES, "int32": _Field.TYPE_INT32, "fixed64": _Field.TYPE_FIXED64}


def _scope_spans() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="eventflow_raw.proto", package="eventflow.raw", syntax="proto3")
    scope_spans = file.message_type.add(name="ScopeSpans")
    scope_spans.field.add(
        name="spans", number=2, type=_Field.TYPE_MESSAGE, label=_Field.LABEL_REPEATED, type_name=".eventflow.raw.Span"
    )
    span = file.message_type.add(name="Span")
    for name, number, kind in _FIELDS:
        label = _Field.LABEL_REPEATED if kind.endswith("*") else _Field.LABEL_OPTIONAL
        span.field.add(name=name, number=number, type=_TYPES[kind.rstrip("*")], label=label)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("eventflow.raw.ScopeSpans"))


RawScopeSpans = _scope_spans()
"""A ScopeSpans message with `spans` of the fields above."""
