"""What is told about an incident, in which form, to which addresses, and when to try again. Pure.

Every message about one incident carries the same key: a receiver can drop what it has already and close what it opened.
"""

import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from eventflow.domain import words
from eventflow.domain.alert import Event

PAUSES = (5.0, 15.0, 60.0, 300.0, 900.0, 900.0, 900.0, 900.0)
"""Seconds until the next try; after the last it is given up."""
METADATA = frozenset(
    ip_address(text) for text in ("169.254.169.254", "100.100.100.200", "192.0.0.192", "fd00:ec2::254")
)
HTTP_SCHEMAS = frozenset({"json", "jsons", "xml", "xmls", "form", "forms"})
"""Apprise's plain HTTP posts: they follow redirects. Our webhook does the same safely."""
NAT64 = ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Message:
    """One piece of news about one incident."""

    event: Event
    incident: int
    title: str
    detail: str
    severity: str
    subject: str
    rule: str
    url: str
    pending_since: datetime
    fired_at: datetime | None
    resolved_at: datetime | None
    value: float | None
    peak: float | None
    unit: str

    @property
    def key(self) -> str:
        """The same for all messages about this incident."""
        return f"eventflow-incident-{self.incident}"

    @property
    def headline(self) -> str:
        return (
            f"Resolved: {self.title}" if self.event == Event.RESOLVED else f"{self.severity.capitalize()}: {self.title}"
        )

    @property
    def text(self) -> str:
        """For mail and chat."""
        return "\n".join([self.detail, self._when(), self.url])

    def _when(self) -> str:
        if self.fired_at is None:
            return ""
        since = f"{self.fired_at:%d %b %H:%M:%S} UTC"
        if self.resolved_at is None:
            return f"Firing since {since}."
        lasted = words.duration((self.resolved_at - self.fired_at).total_seconds())
        peak = words.duration(self.peak) if self.unit == "s" else f"{words.count(self.peak)} {self.unit}"
        return f"Fired at {since}, lasted {lasted}" + ("." if self.peak is None else f", peak {peak}.")


def body(message: Message) -> bytes:
    """The webhook's JSON."""

    def iso(at: datetime | None) -> str | None:
        return at.isoformat() if at else None

    incident = {
        "id": message.incident,
        "title": message.title,
        "detail": message.detail,
        "severity": message.severity,
        "subject": message.subject,
        "rule": message.rule,
        "value": message.value,
        "peak": message.peak,
        "unit": message.unit,
        "pending_since": iso(message.pending_since),
        "fired_at": iso(message.fired_at),
        "resolved_at": iso(message.resolved_at),
        "url": message.url,
    }
    return json.dumps({"version": 1, "event": message.event, "key": message.key, "incident": incident}).encode()


def signature(secret: str, timestamp: int, content: bytes) -> str:
    """``sha256=…`` over the timestamp, a dot and the body: a receiver can tell who sent it and refuse an old one."""
    return "sha256=" + hmac.new(secret.encode(), f"{timestamp}.".encode() + content, hashlib.sha256).hexdigest()


def headers(message: Message, secret: str, now: datetime, content: bytes) -> dict[str, str]:
    """The webhook's headers. `Eventflow-Delivery` is the same for every try of one piece of news."""
    timestamp = int(now.timestamp())
    return {
        "Content-Type": "application/json",
        "User-Agent": "Eventflow",
        "Eventflow-Key": message.key,
        "Eventflow-Delivery": f"{message.key}-{message.event}",
        "Eventflow-Timestamp": str(timestamp),
        "Eventflow-Signature": signature(secret, timestamp, content),
    }


def next_try(tries: int, now: datetime) -> datetime | None:
    """When to try again after `tries` failures; None when it is given up."""
    return now + timedelta(seconds=PAUSES[tries - 1]) if tries <= len(PAUSES) else None


def address_problem(kind: str, url: str) -> str | None:
    """What is wrong with a channel's address as somebody wrote it, or None."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        return "The address cannot be read."
    if kind == "webhook":
        fine = parts.scheme in ("http", "https") and bool(host)
        return None if fine else "A webhook's address begins with http:// or https:// and names a host."
    if "://" not in url:
        return "An Apprise address looks like mailtos://… or slack://…"
    if parts.scheme.lower() in HTTP_SCHEMAS | {"http", "https"}:
        return "For a plain HTTP address choose a webhook."
    return None


def refusal(address: str, *, private_allowed: bool) -> str | None:
    """Why an IP address may not be written to, or None.

    Link-local and cloud metadata addresses never: nothing that wants our news lives there, but credentials do.
    """
    ip: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped:
            ip = ip.ipv4_mapped
        elif ip in NAT64:
            ip = IPv4Address(int(ip) & 0xFFFFFFFF)
    if (
        ip in METADATA
        or ip.is_link_local
        or ip.is_multicast
        or ip.is_unspecified
        or (ip.is_reserved and not ip.is_private)
    ):
        return "this kind of address is never written to"
    if not ip.is_global and not private_allowed:
        return "private addresses are off; EVENTFLOW_WEBHOOK_PRIVATE=1 allows them"
    return None
