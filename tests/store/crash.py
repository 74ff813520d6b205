"""A process of its own to be killed: `python -m tests.store.crash prepare | send | give | kill SEED ROUNDS | report`, …

Uses the database of the environment. `send` prints a number after each acknowledged request; `give` hands requests on;
`kill` forks digesting children and kills each with SIGKILL at a random moment; `report` prints what a reader sees, as
JSON.
"""

import asyncio
import itertools
import json
import os
import random
import signal
import sqlite3
import sys
import time
from dataclasses import replace
from datetime import timedelta

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "eventflow.settings")
django.setup()

from django.conf import settings  # noqa: E402  # Django's settings come first
from django.core.management import call_command  # noqa: E402  # Django's settings come first
from django.db import connection  # noqa: E402

from eventflow.domain.observations import Span, SpanBatch  # noqa: E402
from eventflow.store import spans as store  # noqa: E402
from eventflow.store.models import Chunk, FlowRow, Inbox  # noqa: E402
from eventflow.store.queries import topology  # noqa: E402
from eventflow.store.spans import fresh, handed_on, inbox  # noqa: E402
from eventflow.store.spans.opened import opened  # noqa: E402
from tests.flow_factory import at, failed_order, trace  # noqa: E402
from tests.store.pickled import Pickled, encode  # noqa: E402
from tests.store.support import numbered  # noqa: E402

settings.EVENTFLOW_SPAN_FORMAT = "tests.store.pickled.Pickled"

NOW = at(120_000)
TICK = 0.001


def order(number: int) -> list[Span]:
    """The failed order, with ids of its own."""
    names = {trace(name): trace(f"{name} {number}") for name in ("order", "shipping")}
    return [
        replace(
            span,
            trace_id=names[span.trace_id],
            links=tuple(replace(link, trace_id=names[link.trace_id]) for link in span.links),
            correlation_id=f"order-{number}",
        )
        for span in failed_order()
    ]


def send(number: int) -> None:
    """An order in two requests, so that its halves may end on both sides of a crash."""
    spans = order(number)
    for part in (spans[::2], spans[1::2]):
        store.append([SpanBatch(encode(part), NOW, tuple(part))])


def send_for_ever() -> None:
    number = 0
    while True:
        send(number)
        print(number, flush=True)
        number += 1


def kill(seed: int, rounds: int) -> None:
    """Send and digest, with `rounds` digesting processes killed; some requests are sent twice."""
    chance = random.Random(seed)
    sent = kills = 0
    while kills < rounds:
        if Inbox.objects.count() < 8:
            for _ in range(4):
                send(sent)
                sent += 1
            send(chance.randrange(sent))
        connection.close()
        child = os.fork()
        if child == 0:
            while store.digest(NOW, limit=3).requests or store.judge(NOW):
                pass
            os._exit(0)
        time.sleep(chance.uniform(0, 120) * TICK)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        kills += os.WIFSIGNALED(status)
    while store.digest(NOW).requests or store.judge(NOW):
        pass
    print(sent, flush=True)


def give_for_ever() -> None:
    """As a process that only receives, hand requests on; all of them, however long the test takes."""
    handed_on.NAPS = 10_000
    columns = Pickled().scan(encode(failed_order()))
    for pk in itertools.count():
        fresh.add([(pk, SpanBatch(numbered(pk), NOW, columns=columns))])


async def meet_a_lock() -> None:
    """Another connection holds the write lock: the submission is refused while senders still wait for an answer."""
    inbox.LOCK_MILLISECONDS = 300
    holder = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    commit = store.GroupCommit()
    batch = SpanBatch(encode(order(1)), NOW)
    begun = time.monotonic()
    try:
        await commit.submit([batch])
    except store.StoreBusy:
        print("refused in time" if time.monotonic() - begun < 3 else "refused late", end=", ")
    holder.rollback()
    holder.close()
    await commit.submit([batch])
    commit.close()
    print("then taken" if await Inbox.objects.acount() == 1 else "then lost", flush=True)


def report() -> None:
    stats = topology.edges(NOW - timedelta(days=1), NOW + timedelta(days=1))
    chunks = opened(Chunk.objects.values_list("id", flat=True)).values()
    seen = {
        "inbox": store.inbox_depth(),
        "spans": sorted(list(chunk.context(row)) for chunk in chunks for row in range(len(chunk.portion))),
        "flows": sorted(FlowRow.objects.values_list("key", flat=True)),
        "lines": sorted(
            set(
                map(
                    str,
                    FlowRow.objects.values_list(
                        "status", *(f"pattern__{name}" for name in ("spans", "traces", "events", "deliveries"))
                    ),
                )
            )
        ),
        "judged": store.waiting() == 0,
        "edges": {
            "/".join((s.key.kind, s.key.service, s.key.destination, s.key.group)): [s.count, s.errors, s.wait.total]
            for s in stats
        },
    }
    print(json.dumps(seen), flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["prepare"]:
            call_command("migrate", verbosity=0)
        case ["send"]:
            send_for_ever()
        case ["give"]:
            give_for_ever()
        case ["digest"]:
            while store.digest(NOW).requests or store.judge(NOW):
                pass
        case ["kill", seed, rounds]:
            kill(int(seed), int(rounds))
        case ["locked"]:
            asyncio.run(meet_a_lock())
        case ["claim", *then]:
            claim = store.Claim("digest")
            print("had" if claim.try_it() else "not had", flush=True)
            time.sleep(0 if then else 60)
        case ["report"]:
            report()
