"""A source's URL taken apart: which region, which queues and who we are there. Pure; errors never repeat the URL."""

from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from collectors.base import CollectorError

EXAMPLE = "sqs://eu-central-1 or sqs://KEY:SECRET@eu-central-1/prefix"


@dataclass(frozen=True, slots=True)
class Address:
    """Which queues and who we are there. `shown` holds no secret."""

    region: str
    shown: str
    prefix: str
    key: str | None
    secret: str | None
    token: str | None
    profile: str | None
    endpoint: str | None
    queues: tuple[str, ...]
    """Named by the operator, by comma or `+`: then no queue is looked for."""
    take: tuple[str, ...]
    """Dead-letter queues whose letters are to be taken out and kept by us; `*` is every one."""
    cloudwatch: bool
    every: float | None
    """Seconds between two looks, where the operator says so: 60 at most, for after 180 without one lag is unknown."""

    @property
    def whole(self) -> bool:
        """Whether every queue of the region is looked at."""
        return not self.prefix and not self.queues

    @classmethod
    def of(cls, url: str) -> "Address":
        """Take a source URL apart. Raises a permanent CollectorError (without the URL) when it is none."""
        try:
            parts = urlsplit(url)
            region = parts.hostname
            options = {key: values[-1] for key, values in parse_qs(parts.query).items()}
            endpoint = options.get("endpoint")
            place = urlsplit(endpoint) if endpoint else None
            every = float(options["every"]) if "every" in options else None
            where = f"{place.hostname}:{place.port}" if place and place.port else place.hostname if place else None
        except ValueError:
            raise CollectorError(f"the SQS URL can't be read; write {EXAMPLE}", permanent=True) from None
        if not region:
            raise CollectorError(f"the SQS URL names no region; write {EXAMPLE}", permanent=True)
        if place and (place.scheme not in {"http", "https"} or not where):
            raise CollectorError("the URL's ?endpoint= is http://host:port or https://host", permanent=True)
        if bool(parts.username) != bool(parts.password):
            raise CollectorError(f"the SQS URL holds half of a credential; write {EXAMPLE}", permanent=True)

        def words(option: str) -> tuple[str, ...]:
            return tuple(options.get(option, "").replace(",", " ").split())

        return cls(
            region=region,
            shown=f"{region} at {where}" if where else region,
            prefix=unquote(parts.path.removeprefix("/")),
            key=unquote(parts.username) if parts.username else None,
            secret=unquote(parts.password) if parts.password else None,
            token=options.get("token"),
            profile=options.get("profile"),
            endpoint=endpoint,
            queues=words("queues"),
            take=words("take"),
            cloudwatch=options.get("age") == "cloudwatch",
            every=every if every is None else min(60.0, max(0.05, every)),
        )
