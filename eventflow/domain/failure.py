"""Why a span failed: the exception event's type, message and stack, and the cause inside the wrapper.

Pure functions over one span. They never decide whether a delivery failed; `hop` and `flow` do.
"""

import re
from dataclasses import dataclass

from eventflow.domain.observations import Attributes, Span, SpanEvent, SpanStatus

_CAUSED_BY = re.compile(r"^\s*Caused by: ([\w.$]+)(?::[ \t]*(.*))?$", re.MULTILINE)

_WRAPPERS = ("ListenerExecutionFailedException", "TimestampedException", "ExecutionException", "AggregateException")
"""Exception classes that only say "the listener threw": the cause is what a person wants to read."""

_NOT_DUE = "KafkaBackoffException"
"""Spring's way of putting a record back that is not due for its retry: no attempt was made."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What an application reported. `cause_type` differs from `type` only where a framework wrapped the error."""

    type: str
    message: str = ""
    stack: str = ""
    cause_type: str | None = None
    cause_message: str | None = None

    @property
    def name(self) -> str:
        """The class a person would name: the cause when `type` is a framework's wrapper."""
        if self.cause_type and self.type.rpartition(".")[2] in _WRAPPERS:
            return self.cause_type
        return self.type

    @property
    def text(self) -> str:
        """The message that belongs to `name`."""
        return self.cause_message or "" if self.name != self.type else self.message


def text_of(attributes: Attributes, name: str) -> str:
    """An attribute as text; an array's first element (captured headers are arrays), "" when absent."""
    value = attributes.get(name)
    if isinstance(value, list):
        value = value[0] if value else None
    return "" if value is None else str(value)


def failure_of(span: Span) -> Failure | None:
    """The last exception of a span, else its error status in words, else None."""
    exceptions = [event for event in span.events if event.name == "exception"]
    if exceptions:
        return _from_event(max(exceptions, key=lambda event: event.at_ns))
    if span.status is SpanStatus.ERROR:
        return Failure(text_of(span.attributes, "error.type") or "error", span.status_message)
    return None


def put_back(span: Span) -> bool:
    """True for the failure that is none: the record was not due and went back unprocessed."""
    return span.status is SpanStatus.ERROR and any(
        _NOT_DUE in text_of(event.attributes, "exception.type")
        or _NOT_DUE in text_of(event.attributes, "exception.stacktrace")
        for event in span.events
        if event.name == "exception"
    )


def _from_event(event: SpanEvent) -> Failure:
    stack = text_of(event.attributes, "exception.stacktrace")
    causes = _CAUSED_BY.findall(stack)
    cause_type, cause_message = causes[-1] if causes else (None, None)
    return Failure(
        text_of(event.attributes, "exception.type") or "error",
        text_of(event.attributes, "exception.message"),
        stack,
        cause_type,
        cause_message,
    )
