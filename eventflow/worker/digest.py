"""Digests the inbox in a thread of its own: unless flooded, spans can be read within a second of the acknowledgement.

Then gives their flows their lines; while requests wait, spans go first. Of several processes that could, one digests;
another takes over when it is gone. It survives whatever a step raises (it logs, pauses longer each time and goes on);
the inbox keeps what was not digested. Never acknowledges anything.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

from django.conf import settings
from django.db import DatabaseError, Error, connection
from django.utils import timezone

from eventflow.domain.observations import Span
from eventflow.store import spans
from eventflow.store.record import group_service
from eventflow.worker.formats import span_format

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
"""How often the inbox is looked at unasked: another process may have put something there."""
OFTEN_SECONDS = 0.05
"""Where other processes do nothing else."""
GATHER_SECONDS = 0.2
"""At least this long from step to step while the inbox is not full: a flow touched by ten requests is read once."""
LONGEST_GATHER, STEP_TIMES = 0.35, 5
"""Up to the first, so many times as long as the last step took: what is left belongs to the pages."""
GLANCE_SECONDS = 0.05
"""How often meanwhile a flood is looked for."""
RECHECK_SECONDS = 5.0
COMPACT_SECONDS = 60.0
TIDY_STEPS = 16
"""After so many steps chunks and index are looked at for what can be packed together."""
FLOOD_REQUESTS = 32
"""While more requests than this wait after a full step it is a flood: spans go first."""
STRAINED_SHARE, STRAINED_RATE, STRAINED_SECONDS = 0.6, 16_000, 1.0
"""So, too, once spans alone used so much of a core, so many of them a second, for so long: what they leave is hardly
enough for lines to keep pace."""
FLOOD_RATE = 150_000
"""More spans a second are a flood, too, however few wait: several processes take them in and leave nothing for lines,
which would not keep pace with a fifth of a core."""
LONGEST_PAUSE = 10.0
NAMED_FLOWS = 200
"""More flows than this in one step are told as "flows" only: nobody looks at that many at once."""


def decode(body: bytes) -> Sequence[Span]:
    """The spans of a stored request body."""
    return span_format().read(body)


class Pressure(NamedTuple):
    """How spans press: lines come only after so many times as long as the last ones took, for about so many spans at
    once: to the end of the step that these came in.
    """

    times: int
    at_once: int


NO_PRESSURE, STRAINED, FLOODED = Pressure(0, spans.LINES_AT_ONCE), Pressure(4, 24_576), Pressure(16, 8_192)
"""In a flood lines show that something comes, no more."""


class Strain:
    """How spans press by what they use up of a core, as `cpu` counts it in seconds, and by how many they are."""

    def __init__(self, cpu: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> None:
        self._cpu, self._clock = cpu, clock
        self._since, self._used, self._spans = clock(), cpu(), 0
        self._felt = NO_PRESSURE

    def felt(self, spans: int) -> Pressure:
        """With so many spans more: by the last seconds, `STRAINED_SECONDS` at least, for a step uses all it gets."""
        self._spans += spans
        now = self._clock()
        seconds = now - self._since
        if seconds >= STRAINED_SECONDS:
            used = self._cpu()
            strained = used - self._used > STRAINED_SHARE * seconds and self._spans > STRAINED_RATE * seconds
            flooded = self._spans > FLOOD_RATE * seconds
            self._felt = FLOODED if flooded else STRAINED if strained else NO_PRESSURE
            self._since, self._used, self._spans = now, used, 0
        return self._felt


class Digester:
    """The thread. `publish` is told the topics that changed; `clock` tells how long writing lines took."""

    def __init__(
        self,
        publish: Callable[[Iterable[str]], None],
        strain: Strain | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._publish, self._clock = publish, clock
        self._judging_cpu = 0.0
        self._strain = strain or Strain(cpu=lambda: time.process_time() - self._judging_cpu)
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="eventflow-digest", daemon=True)
        self._recheck_at = self._compact_at = 0.0
        self._judged_at, self._judging_took = clock(), 0.0
        self._steps, self._tidy_at = 0, TIDY_STEPS

    def start(self) -> None:
        """Begin to digest."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the step at hand and end. What is left in the inbox waits for the next start."""
        self._stopping = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()

    def wake(self) -> None:
        """Something was put into the inbox."""
        self._wake.set()

    def _run(self) -> None:
        pause = 0.0
        claim, mine = spans.Claim("digest"), False
        try:
            while not self._stopping:
                self._wake.clear()
                begun = time.monotonic()
                busy = False
                try:
                    spans.commit_without_disk()
                    mine = mine or claim.try_it()
                    if mine:
                        busy = self.step()
                    pause = 0.0
                except Exception:
                    pause = min(LONGEST_PAUSE, max(LOOK_SECONDS, pause * 2))
                    log.exception("a digest step failed; the next one in %.2f s", pause)
                    connection.close()
                    # On PostgreSQL it went with the connection.
                    mine = False
                if not busy:
                    took = time.monotonic() - begun
                    self._rest(pause)
                    self._gather(begun + max(GATHER_SECONDS, min(STEP_TIMES * took, LONGEST_GATHER)))
        finally:
            with suppress(DatabaseError):
                claim.give_back()
            connection.close()

    def _rest(self, pause: float) -> None:
        """Until woken; after a failure for the whole pause, however often it is woken."""
        if not pause:
            self._wake.wait(OFTEN_SECONDS if settings.EVENTFLOW_INGEST_PROCESSES > 1 else LOOK_SECONDS)
            return
        end = time.monotonic() + pause
        while not self._stopping and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, LOOK_SECONDS))

    def _gather(self, until: float) -> None:
        """Let what comes in a bunch come together, unless it is a flood."""
        while not self._stopping and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, GLANCE_SECONDS))
            with suppress(Error):
                if spans.more_wait_than(FLOOD_REQUESTS):
                    return

    def step(self) -> bool:
        """One step, and what else has to be done by now; True when more waits."""
        more = self._take_some()
        self._look_after()
        return more

    def _take_some(self) -> bool:
        done = spans.digest(timezone.now())
        if done.requests:
            self._steps += 1
            if done.services_seen:
                group_service.name_services(done.services_seen)
            self._tell(frozenset(), {"topology"} if done.edges_changed else set())
        flooded = done.full and spans.more_wait_than(FLOOD_REQUESTS)
        felt = self._strain.felt(done.spans)
        pressure = FLOODED if flooded else felt
        if done.requests and not self._lines_due(pressure):
            return flooded
        begun, cpu = self._clock(), time.thread_time()
        keys = spans.judge(timezone.now(), pressure.at_once)
        self._judging_cpu += time.thread_time() - cpu
        self._judged_at = self._clock()
        self._judging_took = self._judged_at - begun
        self._tell(keys, set())
        return done.full or (bool(keys) and spans.waiting(1) > 0)

    def _lines_due(self, pressure: Pressure) -> bool:
        """Whether it is time to write lines: half of it at most goes there while few wait, since many at once are less
        work; after each step when they wait by the thousand, unless spans press."""
        since = self._clock() - self._judged_at
        if pressure.times:
            return since >= pressure.times * self._judging_took
        return since >= self._judging_took or spans.waiting(spans.LINES_AT_ONCE) >= spans.LINES_AT_ONCE

    def _look_after(self) -> None:
        """What time alone changes, and what grew untidy."""
        now = time.monotonic()
        if self._steps >= self._tidy_at:
            # Soon again after something was done: else what is merged most keeps the rest from ever being merged.
            self._tidy_at = self._steps + (1 if spans.tidy() else TIDY_STEPS)
        if now >= self._recheck_at:
            self._recheck_at = now + RECHECK_SECONDS
            self._tell(spans.recheck(timezone.now()), set())
        if now >= self._compact_at:
            self._compact_at = now + COMPACT_SECONDS
            spans.compact(timezone.now())

    def _tell(self, keys: frozenset[str], topics: set[str]) -> None:
        if keys:
            topics.add("flows")
        if len(keys) <= NAMED_FLOWS:
            topics.update(f"flow:{key}" for key in keys)
        if topics:
            self._publish(topics)
