"""Requests as protobuf's own parser splits them fastest: attributes, events and links of spans stay bytes.

All else is read as strictly as OTLP's own messages read it. Made here and not with protoc: it is a view of them for one
reader, not a format of ours.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.resource.v1 import resource_pb2

_MESSAGES = {
    "Request": (("resource_spans", 1, ".eventflow.raw.ResourceSpans*"),),
    "ResourceSpans": (
        ("resource", 1, ".opentelemetry.proto.resource.v1.Resource"),
        ("scope_spans", 2, ".eventflow.raw.ScopeSpans*"),
        ("schema_url", 3, "string"),
    ),
    "ScopeSpans": (
        ("scope", 1, ".opentelemetry.proto.common.v1.InstrumentationScope"),
        ("spans", 2, ".eventflow.raw.Span*"),
        ("schema_url", 3, "string"),
    ),
    "Span": (
        ("trace_id", 1, "bytes"),
        ("span_id", 2, "bytes"),
        ("trace_state", 3, "string"),
        ("parent", 4, "bytes"),
        ("name", 5, "string"),
        ("kind", 6, "int32"),
        ("start", 7, "fixed64"),
        ("end", 8, "fixed64"),
        ("attributes", 9, "bytes*"),
        ("events", 11, "bytes*"),
        ("links", 13, "bytes*"),
        ("status", 15, ".eventflow.raw.Status"),
    ),
    "Status": (("message", 2, "string"), ("code", 3, "int32")),
}
"""Name, number and type of fields; a star for repeated ones."""
_Field = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "bytes": _Field.TYPE_BYTES,
    "string": _Field.TYPE_STRING,
    "int32": _Field.TYPE_INT32,
    "fixed64": _Field.TYPE_FIXED64,
}


def _request() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="eventflow_raw.proto", package="eventflow.raw", syntax="proto3")
    pool = descriptor_pool.DescriptorPool()
    for needed in (common_pb2.DESCRIPTOR, resource_pb2.DESCRIPTOR):
        pool.AddSerializedFile(needed.serialized_pb)
        file.dependency.append(needed.name)
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            label = _Field.LABEL_REPEATED if kind.endswith("*") else _Field.LABEL_OPTIONAL
            what = kind.rstrip("*")
            if what in _TYPES:
                message.field.add(name=field, number=number, type=_TYPES[what], label=label)
            else:
                message.field.add(name=field, number=number, type=_Field.TYPE_MESSAGE, type_name=what, label=label)
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("eventflow.raw.Request"))


RawRequest = _request()
"""An ExportTraceServiceRequest with spans of the fields above."""
