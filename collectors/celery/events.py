"""What workers publish (`celery worker -E`) → who is online, what tasks do, and letters of those that failed. Pure.

Events are hostile text and may come twice, late or never. Keeps a bounded number of tasks, and failures until they are
stored. Promises nothing of what happened while nobody listened.
"""

import json
import re
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from collectors.celery import parse
from collectors.celery.tallies import Tallies
from collectors.conventions import dead_letters
from eventflow.domain.observations import DeadLetter

KNOWN_TASKS = 20_000
KEPT_FAILURES = 10_000
MOST_QUEUES = 1000
SENT_SECONDS = 1.0
"""A sender tells the queue after it sent: a worker may fetch the task and fail before that is heard."""
CONVENTION = "Celery task events"
NO_PAYLOAD = "Celery's events hold only a printed, cut form of the arguments: the task can't be sent again from here"
_TYPE = re.compile(r"([A-Za-z_][\w.]{0,199})\(")
_SHOWN = (
    "name", "args", "kwargs", "retries", "eta", "queue", "routing_key", "root_id", "parent_id", "hostname", "runtime"
)  # fmt: skip


@dataclass(slots=True)
class Worker:
    """A worker as its last heartbeat told it."""

    seen_at: datetime
    every: float = 2.0
    running: int | None = None
    processed: int | None = None

    def online(self, now: datetime) -> bool:
        """Heard of within some of its heartbeats."""
        return (now - self.seen_at).total_seconds() <= max(15.0, 5 * self.every)


@dataclass(frozen=True, slots=True)
class Failure:
    """A task's last event, with what all its events told."""

    kind: str
    event: Mapping[str, Any]
    known: dict[str, Any]
    at: datetime


class Events:
    """Everything heard since the start."""

    def __init__(self, source: str) -> None:
        self.workers: dict[str, Worker] = {}
        self.counts: Counter[str] = Counter()
        self.letters: list[DeadLetter] = []
        self.queues: set[str] = set()
        """Those that senders told of."""
        self.tallies = Tallies()
        self._source = source
        self._tasks: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._unsent: dict[str, Failure] = {}
        """Of tasks whose sender was not heard yet."""

    def heard(self, data: bytes, now: datetime) -> None:
        """The body of one message of the event exchange: an event or several."""
        try:
            events = json.loads(data)
        except ValueError:
            self.counts["events that can't be read"] += 1
            return
        for event in events if isinstance(events, list) else [events]:
            if isinstance(event, dict) and isinstance(event.get("type"), str):
                self._take(event["type"], event, now)

    def _take(self, kind: str, event: Mapping[str, Any], now: datetime) -> None:
        if kind.startswith("worker-"):
            self._worker(kind, event, now)
        elif kind.startswith("task-"):
            self.counts[f"tasks {kind[5:50]}"] += 1
            uuid = str(event.get("uuid", ""))[:200]
            known = self._tasks.setdefault(uuid, {})
            known |= {name: event[name] for name in _SHOWN if event.get(name) is not None}
            self._tasks.move_to_end(uuid)
            self._place(kind, known, now.timestamp())
            if kind == "task-sent" and isinstance(queue := event.get("queue"), str) and len(self.queues) < MOST_QUEUES:
                self.queues.add(queue[:255])
            if kind == "task-failed" or (kind == "task-rejected" and not event.get("requeue")):
                self._failed(uuid, Failure(kind, event, known, now))
            if kind == "task-sent" and (failure := self._unsent.pop(uuid, None)) is not None:
                self._letter(uuid, replace(failure, known=known | failure.known))
            if kind in {"task-succeeded", "task-failed", "task-rejected", "task-revoked"}:
                del self._tasks[uuid]
            while len(self._tasks) > KNOWN_TASKS:
                self._tasks.popitem(last=False)

    def _place(self, kind: str, known: dict[str, Any], clock: float) -> None:
        """Count it for its queue, which a task keeps from when it was fetched."""
        if kind == "task-sent":
            if isinstance(queue := known.get("queue"), str):
                self.tallies.learn(known.get("name"), queue[:255])
            return
        if kind == "task-received" or "from" not in known:
            known["from"] = self.tallies.place(known.get("name"), known.get("queue"))
        self.tallies.heard(kind, known["from"], clock)

    def _worker(self, kind: str, event: Mapping[str, Any], now: datetime) -> None:
        name = str(event.get("hostname", ""))[:200]
        if kind == "worker-offline":
            self.workers.pop(name, None)
            return
        every, running, processed = event.get("freq"), event.get("active"), event.get("processed")
        self.workers[name] = Worker(
            now,
            float(every) if isinstance(every, (int, float)) and 0 < every < 600 else 2.0,
            running if isinstance(running, int) else None,
            processed if isinstance(processed, int) else None,
        )
        for gone in [name for name, worker in self.workers.items() if (now - worker.seen_at).total_seconds() > 3600]:
            del self.workers[gone]

    def settle(self, now: datetime) -> None:
        """No longer wait for senders that have had their time to tell."""
        for uuid, failure in list(self._unsent.items()):
            if (now - failure.at).total_seconds() >= SENT_SECONDS:
                self._letter(uuid, self._unsent.pop(uuid))

    def _failed(self, uuid: str, failure: Failure) -> None:
        if len(self.letters) + len(self._unsent) >= KEPT_FAILURES:
            self.counts["failures dropped because none could be stored"] += 1
        elif failure.known.get("queue") is not None:
            self._letter(uuid, failure)
        else:
            if (earlier := self._unsent.pop(uuid, None)) is not None:
                self._letter(uuid, earlier)
            self._unsent[uuid] = failure

    def _letter(self, uuid: str, failure: Failure) -> None:
        kind, event, known, now = failure.kind, failure.event, failure.known, failure.at
        exception = str(event.get("exception") or ("rejected" if kind == "task-rejected" else ""))
        trouble = _TYPE.match(exception)
        fields: dict[str, Any] = {}
        evidence: dict[str, str] = {}

        def put(role: str, value: Any, why: str) -> None:
            if value not in (None, ""):
                fields[role], evidence[role] = value, f"field {why}"

        def text(name: str, limit: int = dead_letters.MAX_FIELD_CHARS) -> str | None:
            value = known.get(name) if name in known else event.get(name)
            return None if value is None else str(value)[:limit]

        put("event_type", text("name"), "name")
        put("destination", text("queue"), "queue of task-sent")
        put("group", text("queue"), "queue of task-sent")
        put("message_id", uuid, "uuid")
        put("correlation_id", text("root_id"), "root_id")
        put("error_type", trouble[1] if trouble else None, "exception")
        put("error_message", exception[: dead_letters.MAX_TEXT_CHARS], "exception")
        put("stack", text("traceback", dead_letters.MAX_TEXT_CHARS), "traceback")
        failed_at = parse.moment(event.get("timestamp"))
        put("failed_at", failed_at, "timestamp")
        retries = known.get("retries")
        put("attempts", retries + 1 if isinstance(retries, int) else None, "retries")
        headers = tuple((name, value) for name in _SHOWN if (value := text(name, dead_letters.MAX_HEADER_CHARS)))
        # A task's id outlives a second sending, so that the time of the failure belongs to the letter's identity.
        at = int((failed_at or now).timestamp() * 1000)
        self.letters.append(
            DeadLetter(
                self._source, parse.SYSTEM, kind, f"{uuid}:{at}", now,
                **fields, evidence=evidence, headers=dead_letters.capped(headers)[0], payload=None,
                payload_note=NO_PAYLOAD, convention=CONVENTION,
            )
        )  # fmt: skip
