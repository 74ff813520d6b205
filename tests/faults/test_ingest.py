"""kill -9 of the whole of Eventflow while it takes spans in: what it acknowledged is there afterwards, once."""

import os
import random
import signal
import sqlite3
import threading
import time
from collections import defaultdict
from pathlib import Path

from eventflow.store.spans import slots
from eventflow.worker.receivers import NICE
from tests import otlp
from tests.running import Eventflow, until

KILLS = 3
SENDERS = 3


class Sender:
    """Sends hops one after the other and, like an exporter, sends one again until it is acknowledged."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._over = threading.Event()
        self.acknowledged: list[otlp.Hop] = []
        self.again = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            hop = otlp.Hop()
            body = hop.request()
            while not otlp.post(self._address, body):
                self.again += 1
                time.sleep(0.05)
            self.acknowledged.append(hop)
            time.sleep(0.01)

    def end(self) -> list[otlp.Hop]:
        self._over.set()
        self._thread.join(20)
        assert not self._thread.is_alive()
        return self.acknowledged


def flows(eventflow: Eventflow) -> dict[str, int]:
    """Flow → how many spans, of all flows."""
    found: dict[str, int] = {}
    cursor = ""
    while True:
        page = eventflow.api(f"/flows?limit=500&cursor={cursor}")
        for item in page["items"]:
            assert item["key"] not in found
            found[item["key"]] = item["spans"]
        if not (cursor := page["next_cursor"]):
            return found


def edge_counts(folder: Path) -> dict[str, int]:
    """Edge kind → events, over all slots of the one destination that is used here."""
    with sqlite3.connect(folder / "eventflow.sqlite3") as database:
        kinds = dict(database.execute("SELECT id, kind FROM store_edge").fetchall())
        bodies = [body for (body,) in database.execute("SELECT body FROM store_edgeslot").fetchall()]
    found: dict[str, int] = defaultdict(int)
    edges, rows = slots.table([slots.opened(body) for body in bodies])
    for edge, count in zip(edges.tolist(), rows[:, slots.COUNT].tolist(), strict=True):
        found[kinds[edge]] += count
    return dict(found)


def test_kill_9_during_ingest_loses_no_acknowledged_span_and_counts_none_twice(tmp_path: Path) -> None:
    eventflow = Eventflow(tmp_path / "data")
    with eventflow:
        eventflow.token()
        senders = [Sender(eventflow.otlp_http) for _ in range(SENDERS)]
        for _ in range(KILLS):
            time.sleep(random.uniform(0.1, 1.5))
            eventflow.kill()
            eventflow.start()
        hops = [hop for sender in senders for hop in sender.end()]
        assert sum(sender.again for sender in senders) > 0, "no send was ever interrupted"
        until(lambda: eventflow.api("/health")["inbox"] == 0, 30, "an empty inbox")
        assert flows(eventflow) == {hop.key: 2 for hop in hops}
        assert edge_counts(eventflow.folder) == {"publish": len(hops), "consume": len(hops)}
        for hop in random.sample(hops, min(40, len(hops))):
            (message,) = eventflow.api(f"/flows/{hop.key}")["messages"]
            assert (message["service"], message["destination"]) == ("till", "sales.made")
            (delivery,) = message["deliveries"]
            assert [attempt["span_id"] for attempt in delivery["attempts"]] == [hop.processed.hex()]


def ingest_processes(eventflow: Eventflow) -> list[int]:
    """The processes that it started."""
    assert eventflow.command is not None
    own = eventflow.command.process.pid
    return [int(pid) for pid in Path(f"/proc/{own}/task/{own}/children").read_text().split()]


def listening(address: str) -> int:
    """How many processes listen there."""
    port = int(address.rpartition(":")[2])
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)


def test_several_ingest_processes_are_read_as_one_even_when_one_is_killed(tmp_path: Path) -> None:
    eventflow = Eventflow(tmp_path / "data", env={"EVENTFLOW_INGEST_PROCESSES": "3"})
    with eventflow:
        eventflow.token()
        assert listening(eventflow.otlp_http) == 2, "both that receive"
        nice = [os.getpriority(os.PRIO_PROCESS, pid) for pid in (0, *ingest_processes(eventflow))]
        assert nice == [nice[0], *[nice[0] + NICE] * 2], "where cores are short, who digests goes first"
        senders = [Sender(eventflow.otlp_http) for _ in range(4)]
        time.sleep(1.5)
        one, _ = ingest_processes(eventflow)
        os.kill(one, signal.SIGKILL)
        until(lambda: listening(eventflow.otlp_http) == 2, 30, "the killed process again")
        time.sleep(0.5)
        hops = [hop for sender in senders for hop in sender.end()]
        until(lambda: eventflow.api("/health")["inbox"] == 0, 60, "an empty inbox")
        until(lambda: flows(eventflow) == {hop.key: 2 for hop in hops}, 30, "the line of every flow")
        assert edge_counts(eventflow.folder) == {"publish": len(hops), "consume": len(hops)}
        command = eventflow.command
        assert command is not None
        assert eventflow.stop() == 0, command.said
        assert command.group() == []


def test_an_ingest_process_ends_when_the_first_one_is_gone(tmp_path: Path) -> None:
    with Eventflow(tmp_path / "data", env={"EVENTFLOW_INGEST_PROCESSES": "2"}) as eventflow:
        assert listening(eventflow.otlp_http) == 1
        command = eventflow.command
        assert command is not None
        command.process.kill()
        until(lambda: not command.group(), 20, "the end of the second process")


def test_ctrl_c_in_a_terminal_ends_all_ingest_processes_at_peace(tmp_path: Path) -> None:
    with Eventflow(tmp_path / "data", env={"EVENTFLOW_INGEST_PROCESSES": "3"}) as eventflow:
        command = eventflow.command
        assert command is not None
        before = ingest_processes(eventflow)
        for pid in before:
            os.kill(pid, signal.SIGINT)
        time.sleep(1)
        assert (ingest_processes(eventflow), listening(eventflow.otlp_http)) == (before, 2), (
            "they wait for the first one"
        )
        os.killpg(command.process.pid, signal.SIGINT)
        assert command.process.wait(20) == 0
        assert not command.group()
        assert "ended with" not in command.said
