"""What the scanners ask Python once and then know: the role of an attribute's name, and whose spans a scope holds.

Bounded, whatever hostile senders call their attributes: what is too much is forgotten and asked again, or marked odd.
"""

import threading
from collections.abc import Sequence
from typing import TypeVar

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from collectors.conventions.roles import IDENTITIES, LINK_IDENTITIES, Role, role
from collectors.otlp import parse

K = TypeVar("K")
V = TypeVar("V")
ODD = 1 << 7
"""In place of a role: a span with this attribute must be read whole."""
INDEX_SHIFT = 8
"""A code is a role and, above it, the index of the identity's or searched key's name."""
LONGEST_KEY = 127
"""Bytes, as many as a length of one byte tells. A longer name is odd: nobody has one that means something."""
MOST_KEYS = 8192
MOST_IDENTITIES = 1024
MOST_SCOPES = 2048
LONGEST_SCOPE = 16 * 1024


class UnscannableError(ValueError):
    """No request, or one that only whole reading can judge; `parse.from_protobuf` says what is wrong, if anything."""


class Names:
    """What was learnt, shared by all scans of a format."""

    def __init__(self, correlation_keys: Sequence[str] = (), search_keys: Sequence[str] = ()) -> None:
        self.correlation_keys = tuple(correlation_keys)
        self.search_keys = tuple(search_keys)
        # The usual ones first, so that no flood of others can leave them out.
        self.identities = [*LINK_IDENTITIES, *sorted(IDENTITIES.union(search_keys).difference(LINK_IDENTITIES))]
        self._lock = threading.Lock()
        self.codes: dict[bytes, int] = {}
        self.link_identities = {name.encode(): index for index, name in enumerate(LINK_IDENTITIES)}
        self._services: dict[bytes, str] = {}
        self._scopes: dict[tuple[str, bytes], int] = {}

    def code(self, key: bytes) -> int:
        """The code of an attribute's name, which is valid UTF-8."""
        code = self.codes.get(key)
        if code is not None:
            return code
        if len(key) > LONGEST_KEY:
            return ODD
        name = key.decode()
        code = int(role(name, self.correlation_keys, self.search_keys))
        if code & (Role.IDENTITY | Role.SEARCH):
            try:
                code = self.position(name) << INDEX_SHIFT | code
            except ValueError:
                code = ODD | code
        if len(self.codes) >= MOST_KEYS:
            self.codes.clear()
        self.codes[key] = code
        return code

    def position(self, name: str) -> int:
        """Where an identity's or searched key's name stands, the same for ever. ValueError when they are too many."""
        # Requests are scanned in several threads: a name with two numbers would be looked for under the wrong one.
        with self._lock:
            if name in self.identities:
                return self.identities.index(name)
            if len(self.identities) >= MOST_IDENTITIES:
                raise ValueError("too many names of identities")
            self.identities.append(name)
            return len(self.identities) - 1

    def service(self, resource: bytes) -> str:
        """The service that a resource names."""
        known = self._services.get(resource)
        if known is not None:
            return known
        try:
            _, service = parse.owner(Resource.FromString(resource))
        except DecodeError as error:
            raise UnscannableError("a resource cannot be read") from error
        return _remember(self._services, resource, service, len(resource))

    def scope(self, service: str, scope: bytes) -> int:
        """A number for a service and the scope of its spans, the same for all that are judged alike."""
        known = self._scopes.get((service, scope))
        if known is not None:
            return known
        try:
            sent = InstrumentationScope.FromString(scope)
        except DecodeError as error:
            raise UnscannableError("a scope cannot be read") from error
        token = hash((service, sent.name, sent.version)) & 0xFFFFFFFFFFFFFFFF
        return _remember(self._scopes, (service, scope), token, len(scope))


def _remember(known: dict[K, V], key: K, value: V, size: int) -> V:
    if size <= LONGEST_SCOPE:
        if len(known) >= MOST_SCOPES:
            known.clear()
        known[key] = value
    return value
