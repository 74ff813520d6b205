"""A broker as a person describes it: the kinds there are, what is wrong with a description, the URL it stands for.

Pure. The URL holds the password: it is made for a collector and for nobody else; `repr` and problems never show it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from eventflow.domain.notification import refusal

NAME = re.compile(r"^[A-Za-z0-9][\w.-]{0,99}$", re.ASCII)
HOST = re.compile(r"^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[\w.-]*\w)?)(?::(?P<port>\d{1,5}))?$", re.ASCII)
PATH = re.compile(r"^[\w.~%@:+-]*$", re.ASCII)
RESERVED = frozenset({"otlp", "zipkin"})
"""What our own receivers are called."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A URL scheme of the collectors' registry in words; `options` are the only ones that may be written."""

    scheme: str
    system: str
    label: str
    example: str
    """An address, to be shown in its empty field."""
    options: Mapping[str, str] = field(default_factory=dict)
    several: bool = False
    """Whether one address may name several servers, by comma."""
    path: str = ""
    """What may follow the address after a slash, in words; empty: nothing may."""
    token: bool = False
    """Whether a password without a user is a token."""


_KAFKA = {
    "mechanism": "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER",
    "token_url": "where OAUTHBEARER's token is fetched",
    "scope": "OAUTHBEARER's scope",
    "ca": "a PEM file on the worker's host",
    "cert": "a PEM file on the worker's host",
    "key": "a PEM file on the worker's host",
}
_NATS = {"domain": "the JetStream domain", "creds": "a file on the worker's host", "inbox_prefix": "instead of _INBOX"}
_REDIS = {"streams": "names by +, instead of looking for them", "ca": "a PEM file on the worker's host"}
_RABBITMQ = {
    "prometheus": "the port of its metrics: cheaper",
    "amqp": "the port for replays",
    "take": "dead-letter queues by + whose letters we may take out and keep",
    "ca": "a PEM file on the worker's host",
}
_SQS = {
    "queues": "names by +, instead of looking for them",
    "take": "dead-letter queues by + whose letters we may take out and keep",
    "profile": "a profile of the worker's host, instead of user and password",
    "endpoint": "another server that speaks SQS",
    "age": "cloudwatch asks it how old messages are",
    "every": "seconds between two looks",
}
_CELERY = {"queues": "names by +, instead of looking for them", "ca": "a PEM file on the worker's host"}
_ADDRESSES = ("token_url", "endpoint")
"""Options that name a further server."""

KINDS: Mapping[str, Kind] = {
    kind.scheme: kind
    for kind in (
        Kind("kafka", "kafka", "Kafka", "a.internal:9092,b.internal:9092", _KAFKA, several=True),
        Kind("kafka+ssl", "kafka", "Kafka over TLS", "a.internal:9093,b.internal:9093", _KAFKA, several=True),
        Kind("nats", "nats", "NATS", "nats.internal:4222", _NATS, several=True, token=True),
        Kind("tls+nats", "nats", "NATS over TLS", "nats.internal:4222", _NATS, several=True, token=True),
        Kind("rabbitmq", "rabbitmq", "RabbitMQ", "rabbit.internal:15672/vhost", _RABBITMQ, path="virtual host"),
        Kind("rabbitmqs", "rabbitmq", "RabbitMQ over TLS", "rabbit.internal:15671/vhost", _RABBITMQ, path="vhost"),
        Kind("redis-streams", "redis", "Redis Streams", "redis.internal:6379/0", _REDIS, path="database"),
        Kind("rediss-streams", "redis", "Redis Streams over TLS", "redis.internal:6379/0", _REDIS, path="database"),
        Kind("sqs", "aws_sqs", "Amazon SQS", "eu-central-1", _SQS, path="prefix of queue names"),
        Kind("celery+redis", "celery", "Celery on Redis", "redis.internal:6379/0", _CELERY, path="database"),
        Kind("celery+rediss", "celery", "Celery on Redis, TLS", "redis.internal:6379/0", _CELERY, path="database"),
        Kind("celery+amqp", "celery", "Celery on RabbitMQ", "rabbit.internal:5672/vhost", _CELERY, path="vhost"),
        Kind("celery+amqps", "celery", "Celery on RabbitMQ, TLS", "rabbit.internal:5671/vhost", _CELERY, path="vhost"),
    )
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One broker as described. `password` may be empty."""

    name: str
    scheme: str
    address: str
    user: str = ""
    password: str = field(default="", repr=False)
    options: str = ""
    """As in a URL: ``mechanism=SCRAM-SHA-512&ca=/etc/ca.pem``."""

    @property
    def url(self) -> str:
        """What the collectors understand. Holds the password."""
        options = urlencode(parse_qsl(self.options, keep_blank_values=True), safe="/:+*,")
        return f"{self.scheme}://{self._who()}{self.address}{'?' if options else ''}{options}"

    def _who(self) -> str:
        user, password = quote(self.user, safe=""), quote(self.password, safe="")
        if not user and not password:
            return ""
        if not user and KINDS[self.scheme].token:
            return f"{password}@"
        return f"{user}:{password}@"


def problems(setting: Setting) -> dict[str, str]:
    """What is wrong, by field; empty when it can be tried."""
    found = {
        "name": _name(setting.name),
        "scheme": "" if setting.scheme in KINDS else "choose a kind",
        "address": _address(setting),
        "user": "leave out line breaks" if _control(setting.user) else "",
        "password": "leave out line breaks" if _control(setting.password) else "",
        "options": _options(setting),
    }
    return {name: text for name, text in found.items() if text}


def _control(text: str) -> bool:
    return any(ord(character) < 32 or ord(character) == 127 for character in text)


def _name(name: str) -> str:
    if not NAME.match(name):
        return "letters, digits, dots, dashes and underscores, up to 100"
    return "this is what one of our own receivers is called" if name.lower() in RESERVED else ""


def _address(setting: Setting) -> str:
    kind, address = KINDS.get(setting.scheme), setting.address
    if kind is None:
        return ""
    if "://" in address or "@" in address.partition("/")[0]:
        return f"write host and port only, such as {kind.example}; user and password have fields of their own"
    where, slash, path = address.partition("/")
    if slash and path and (not kind.path or not PATH.match(path)):
        return f"nothing may follow the port but a {kind.path}" if kind.path else "nothing may follow the port"
    hosts = where.split(",")
    if len(hosts) > 1 and not kind.several:
        return "name one server"
    for host in hosts:
        found = HOST.match(host.strip())
        if found is None or not 0 < int(found["port"] or 1) < 65536:
            return f"write host:port, such as {kind.example}"
        if why := _refused(host.strip()):
            return why
    return ""


def _refused(host: str) -> str:
    """Brokers live in private networks, so these are allowed; where cloud credentials live, no broker does."""
    bare = host.partition("]")[0].strip("[") if host.startswith("[") else host.partition(":")[0]
    try:
        ip_address(bare)
    except ValueError:
        return ""
    return refusal(bare, private_allowed=True) or ""


def _options(setting: Setting) -> str:
    kind = KINDS.get(setting.scheme)
    if kind is None or not setting.options:
        return ""
    if _control(setting.options) or "#" in setting.options:
        return "write name=value, with & between several"
    try:
        pairs = parse_qsl(setting.options, keep_blank_values=True, strict_parsing=True)
    except ValueError:
        return "write name=value, with & between several"
    for name, value in pairs:
        if name in _ADDRESSES and (why := _no_server(value)):
            return f"{name}: {why}"
    unknown = sorted({name for name, _ in pairs} - set(kind.options))
    return f"{kind.label} knows no {unknown[0][:40]}; it knows {', '.join(kind.options)}" if unknown else ""


def _no_server(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        host = ""
    if not host or parts.scheme not in ("http", "https") or "@" in parts.netloc:
        return "write https://host or http://host:port, without a password"
    return _refused(f"[{host}]" if ":" in host else host)
