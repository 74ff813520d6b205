"""Addresses: a taken port and a mistyped one each get one sentence that says what to do."""

import socket

import pytest

from eventflow.worker import addresses


def test_a_taken_port_names_the_setting_and_another_port() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            addresses.AddressError, match=f"Port {port} .* is taken.*EVENTFLOW_HTTP=127.0.0.1:{port + 1}"
        ):
            addresses.listen("EVENTFLOW_HTTP", f"127.0.0.1:{port}")


@pytest.mark.parametrize("value", ["", "8000", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:70000"])
def test_what_is_no_address_is_told_with_an_example(value: str) -> None:
    with pytest.raises(addresses.AddressError, match=r"EVENTFLOW_HTTP=.* write host:port"):
        addresses.parse("EVENTFLOW_HTTP", value)


def test_ipv6_addresses_lose_their_brackets() -> None:
    assert addresses.parse("EVENTFLOW_HTTP", "[::1]:8000") == ("::1", 8000)


def test_a_port_is_free_until_somebody_listens() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        value = f"127.0.0.1:{other.getsockname()[1]}"
        other.listen()
        assert not addresses.is_free("EVENTFLOW_ZIPKIN", value)
    assert addresses.is_free("EVENTFLOW_ZIPKIN", value)
