"""What a message that was given up carries into the dead-letter queue: all it had, and what went wrong.

Promises header values of one ASCII line each (line ends are written as \\n). Pure.
"""

import traceback
from datetime import datetime

from demo.shop.broker import Delivery
from demo.shop.events import MESSAGE_ID

_STACK_CHARACTERS = 6000


def headers_of(delivery: Delivery, group: str, error: BaseException, now: datetime) -> dict[str, str]:
    # Its own message id: three groups may give up the same event, and a replayed one may be given up again.
    letter_id = f"{delivery.headers.get('ce-id', delivery.subject)}:{group}:{delivery.sequence}"
    partition = {} if delivery.partition is None else {"x-original-partition": str(delivery.partition)}
    return {
        **delivery.headers,
        **partition,
        MESSAGE_ID: letter_id,
        "x-original-subject": delivery.subject,
        "x-original-stream": delivery.stream,
        "x-original-sequence": str(delivery.sequence),
        "x-original-consumer": group,
        "x-exception-type": type_name(error),
        "x-exception-message": _one_line(str(error)),
        "x-exception-stacktrace": _one_line("".join(traceback.format_exception(error))[-_STACK_CHARACTERS:]),
        "x-attempts": str(delivery.attempt),
        "x-failed-at": now.isoformat(timespec="milliseconds"),
    }


def type_name(error: BaseException) -> str:
    cls = type(error)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _one_line(text: str) -> str:
    return text.strip().encode("ascii", "backslashreplace").decode().replace("\r", "").replace("\n", "\\n")
