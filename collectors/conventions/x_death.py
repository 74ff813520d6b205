"""RabbitMQ's `x-death` table → where, why and how often a message was given up. Pure.

The table stands newest first with one entry for each queue and reason, each with its own count: a retry loop through a
wait queue shows the wait queue's `expired` before the work queue's `rejected`. It holds no error text at all.
"""

import json
from typing import Any

_FAILED = ("rejected", "delivery_limit")
"""What a consumer did. `expired` and `maxlen` befall messages that wait, in a wait queue on purpose."""


def read(text: str) -> dict[str, Any]:
    """DeadLetter's fields, from the table as JSON; empty when it is none.

    `failed_at` only after one failure: the broker keeps the time of the first.
    """
    try:
        table = json.loads(text)
    except ValueError:
        return {}
    entries = [one for one in table if isinstance(one, dict)] if isinstance(table, list) else []
    entry = next((one for one in entries if one.get("reason") in _FAILED), entries[0] if entries else {})
    found: dict[str, Any] = {}
    queue, reason, count = entry.get("queue"), entry.get("reason"), entry.get("count")
    if isinstance(queue, str) and queue:
        found |= {"destination": queue, "group": queue}
    if isinstance(reason, str) and reason:
        found["error_message"] = reason.replace("_", " ")
    if isinstance(count, int) and not isinstance(count, bool) and count > 0:
        found["attempts"] = count
        if count == 1 and entry.get("time") is not None:
            found["failed_at"] = str(entry["time"])
    return found
