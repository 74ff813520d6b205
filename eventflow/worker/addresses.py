"""Where we listen: `host:port` settings, and one clear sentence when a port is taken."""

import errno
import socket


class AddressError(Exception):
    """An address that cannot be used, in words a person can act on."""


def parse(setting: str, value: str) -> tuple[str, int]:
    """`127.0.0.1:8000` or `[::1]:8000` as (host, port). Raises AddressError naming the setting."""
    host, colon, port = value.rpartition(":")
    if not colon or not port.isdigit() or not 0 < int(port) < 65536:
        raise AddressError(f"{setting}={value!r} is no address; write host:port, for example 127.0.0.1:8000.")
    return host.strip("[]") or "127.0.0.1", int(port)


def is_free(setting: str, value: str) -> bool:
    """Whether `value` could be listened on now."""
    try:
        listen(setting, value).close()
    except AddressError:
        return False
    return True


def listen(setting: str, value: str) -> socket.socket:
    """A bound, listening socket. Raises AddressError that says what to do when it can't be had."""
    host, port = parse(setting, value)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
        found.listen(1024)
    except OSError as error:
        found.close()
        if error.errno == errno.EADDRINUSE:
            raise AddressError(
                f"Port {port} on {host} is taken by another program. Stop that program, or choose another port: "
                f"{setting}={value.rpartition(':')[0] or host}:{port + 1}"
            ) from error
        raise AddressError(
            f"Cannot listen on {value}: {error.strerror}. Choose another address with {setting}."
        ) from error
    found.setblocking(False)
    return found
