"""Small pieces of OTLP protobuf that receivers of other formats build their spans from. Pure."""

from collections.abc import Iterable, Mapping

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

Plain = str | bool | int | float


def attributes(values: Mapping[str, Plain]) -> Iterable[KeyValue]:
    """Plain values as OTLP attributes; what no OTLP integer holds becomes text."""
    return (KeyValue(key=clean(key), value=_value(value)) for key, value in values.items())


def clean(text: str) -> str:
    """Text that protobuf takes: lone surrogates, which JSON may hold, are replaced."""
    return text.encode("utf-8", "replace").decode()


def _value(value: Plain) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value) if -(2**63) <= value < 2**63 else AnyValue(string_value=str(value))
    return AnyValue(double_value=value) if isinstance(value, float) else AnyValue(string_value=clean(value))


def padded(value: object, size: int) -> bytes | None:
    """A hexadecimal id of at most `size` bytes, short ones padded on the left; None for what is none, or all zeros."""
    if not isinstance(value, str) or not 0 < len(value) <= 2 * size:
        return None
    try:
        found = bytes.fromhex(value.rjust(2 * size, "0"))
    except ValueError:
        return None
    return found if len(found) == size and any(found) else None


def microseconds(value: object) -> int | None:
    """A time or duration in microseconds as nanoseconds; None for what is none or does not fit."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**63 / 1000:
        return None
    return int(value) * 1000
