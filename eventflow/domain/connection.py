"""What a try to connect means in sentences: reached or not, what each right unlocks, and "empty" beside "not allowed".

Pure; names and messages come from the outside and are only text.
"""

from dataclasses import dataclass

UNLOCKS = {
    "list streams": "which streams there are and how much lies in them",
    "list consumers": "how far every consumer is behind",
    "read messages": "dead letters, and since when the oldest message waits",
    "hear advisories": "messages that were given up",
    "list topics": "which topics there are and how much lies in them",
    "list all groups": "consumer groups that nobody named to us",
    "describe groups": "who the members are and what they read",
    "read committed offsets": "how far every group is behind",
    "list queues": "which queues there are and how much waits in them",
    "read exchanges, bindings and policies": "where dead letters go, and which get lost",
    "read Prometheus metrics": "the same numbers at a tenth of the cost",
    "read queue attributes": "how much waits, and what a queue does with failed messages",
    "list dead-letter sources": "whose letters lie in a dead-letter queue",
    "find queues": "which queues there are",
    "read queue lengths": "how much waits in each",
    "hear events": "tasks as they start, fail and are tried again",
    "read ages": "since when the oldest message waits",
    "read groups": "how far every group is behind",
    "read pending entries": "what was delivered and never acknowledged",
    "read entries": "dead letters, and since when the oldest entry waits",
}
"""Right, as collectors call it → what it shows."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look told. `error`: why it ended before its end; `timed_out`: it had not ended in time."""

    rights: tuple[tuple[str, str], ...] = ()
    """In the collector's order; the first one is the right to see what there is."""
    destinations: int = 0
    dead_letter_destinations: int = 0
    groups: int = 0
    letters: int = 0
    address: str = ""
    remarks: str = ""
    error: str = ""
    timed_out: bool = False
    told: bool = False
    """Whether the collector got so far as to tell its state."""
    seconds: float = 0.0
    calls: int = 0
    received_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: ok, warn, crit or idle, what it is, and what follows."""

    severity: str
    text: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the try ended, in one line and several."""

    severity: str
    headline: str
    findings: tuple[Finding, ...]


def judge(seen: Seen) -> Verdict:
    """The verdict on one look."""
    rights = [_right(right, state) for right, state in seen.rights]
    denied = sum(state == "denied" for _, state in seen.rights)
    if seen.error and not seen.told:
        return Verdict("crit", "Not connected", (Finding("crit", seen.error),))
    if seen.timed_out and not seen.told and not seen.destinations:
        return Verdict("crit", "No answer", (Finding("crit", f"Nothing was told within {seen.seconds:.0f} s."),))
    findings = [Finding("ok", f"Reached {seen.address}" if seen.address else "Reached"), _contents(seen), *rights]
    if seen.error:
        findings.append(Finding("crit", seen.error))
    elif seen.timed_out:
        findings.append(Finding("warn", f"The look was cut off after {seen.seconds:.0f} s; it may take longer."))
    if seen.remarks:
        findings.append(Finding("idle", seen.remarks))
    if seen.error:
        return Verdict("crit", "Connected, but nothing may be seen", tuple(findings))
    if denied:
        return Verdict("warn", f"Connected, {denied} right{'s' * (denied > 1)} missing", tuple(findings))
    return Verdict("ok", "Connected", tuple(findings))


def _right(right: str, state: str) -> Finding:
    unlocks = UNLOCKS.get(right, "")
    text = right[:1].upper() + right[1:]
    if state == "allowed":
        return Finding("ok", text, f"shows {unlocks}" if unlocks else "allowed")
    if state == "denied":
        return Finding("crit", text, f"not allowed; it would show {unlocks}" if unlocks else "not allowed")
    return Finding("idle", text, f"not needed so far; it shows {unlocks}" if unlocks else "not needed so far")


def _contents(seen: Seen) -> Finding:
    """What is there; where nothing was seen, whether that is empty, not allowed, or not to be told apart."""
    if seen.destinations:
        parts = [_count(seen.destinations, "destination"), _count(seen.groups, "consumer group")]
        if seen.dead_letter_destinations:
            parts.append(f"{seen.dead_letter_destinations:,} of the destinations for dead letters")
        return Finding("ok", ", ".join(parts))
    listing = seen.rights[0][1] if seen.rights else "unknown"
    if listing == "allowed":
        return Finding("ok", "It is empty", "we may look, and there is nothing yet")
    if listing == "denied":
        return Finding("crit", "Nothing may be seen", "this does not mean that it is empty")
    return Finding("warn", "Nothing was seen", "empty, or not allowed: this broker does not tell which")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
