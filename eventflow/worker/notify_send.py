"""Sends one message to one channel: a signed webhook of our own, or mail and chat through Apprise.

Never follows a redirect, never waits for long, never writes to an address it has not checked, and never lets a
channel's URL into an error.
"""

import http.client
import logging
import socket
import ssl
import urllib.parse
from datetime import datetime
from typing import Any

from django.conf import settings

from eventflow.domain import notification
from eventflow.domain.alert import Event
from eventflow.domain.notification import Message
from eventflow.store.record.notification import Channel

TIMEOUT_SECONDS = 10.0


class DeliveryError(Exception):
    """It was not delivered; the text may be shown."""


def send(channel: Channel, message: Message, now: datetime) -> None:
    """Deliver or raise DeliveryError."""
    if problem := notification.address_problem(channel.kind, channel.url):
        raise DeliveryError(problem)
    if channel.kind == "webhook":
        _webhook(channel, message, now)
    else:
        _apprise(channel, message)


def resolve(host: str, port: int) -> str:
    """The first address of `host` that may be written to; raises DeliveryError when one of its addresses may not."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise DeliveryError(f"the name {host} is not known") from error
    addresses = [str(info[4][0]) for info in found]
    for address in addresses:
        reason = notification.refusal(address, private_allowed=settings.EVENTFLOW_WEBHOOK_PRIVATE)
        if reason:
            raise DeliveryError(f"{host} is {address}: {reason}")
    return addresses[0]


class _PlainConnection(http.client.HTTPConnection):
    """To the address that was checked, whatever its name points to by now."""

    def __init__(self, host: str, port: int, address: str) -> None:
        super().__init__(host, port, timeout=TIMEOUT_SECONDS)
        self._address = address

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self.port), TIMEOUT_SECONDS)


class _SecureConnection(_PlainConnection):
    """The same over TLS, with the certificate checked for the name."""

    def connect(self) -> None:
        super().connect()
        self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)


def _webhook(channel: Channel, message: Message, now: datetime) -> None:
    url = urllib.parse.urlsplit(channel.url)
    host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    kind = _SecureConnection if url.scheme == "https" else _PlainConnection
    connection = kind(host, port, resolve(host, port))
    content = notification.body(message)
    headers = notification.headers(message, channel.secret, now, content)
    try:
        connection.request("POST", urllib.parse.urlunsplit(("", "", url.path or "/", url.query, "")), content, headers)
        answer = connection.getresponse()
        answer.read(4096)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DeliveryError(f"{host} did not answer: {type(error).__name__}") from error
    finally:
        connection.close()
    if not 200 <= answer.status < 300:
        raise DeliveryError(f"{host} answered HTTP {answer.status}")


def _apprise(channel: Channel, message: Message) -> None:
    import apprise  # noqa: PLC0415  # takes most of a second, and only who sends needs it

    # Its messages may hold parts of the address.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    service = apprise.Apprise.instantiate(channel.url)
    if service is None:
        raise DeliveryError("the address is none that Apprise knows")
    for name in ("smtp_host", "host"):
        host = getattr(service, name, None)
        if isinstance(host, str) and ("." in host or host == "localhost" or ":" in host):
            resolve(host, int(getattr(service, "port", None) or 0))
            break
    try:
        told = _tell(service, message)
    except Exception as error:  # any of a hundred plugins; one must not keep the others' news
        raise DeliveryError(f"the service failed: {type(error).__name__}") from error
    if not told:
        raise DeliveryError("the service refused it or could not be reached")


def _tell(service: Any, message: Message) -> bool:
    kind = "success" if message.event == Event.RESOLVED else "warning"
    return bool(service.notify(title=message.headline, body=message.text, notify_type=kind))
