"""TLS and SASL against a real broker whose listeners ask for them; certificates by an authority made here."""

import asyncio
import base64
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from collectors.base import CollectorError
from collectors.kafka import collector, replayer
from tests.collectors.kafka.shop import LETTER_HEADERS, Shop, lags
from tests.collectors.recorder import Recorder, run_until
from tests.conftest import start_kafka
from tests.services import KafkaServer, free_port

pytestmark = pytest.mark.kafka

SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
PLAIN = (
    'org.apache.kafka.common.security.plain.PlainLoginModule required username="admin" password="s3cret" '
    'user_admin="s3cret" user_eventflow="pa:ss@word/?";'
)
BEARER = (
    "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required "
    'unsecuredLoginStringClaim_sub="admin";'
)


class Authority:
    """A certificate authority of one test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"test authority {folder.name}")])
        made = self._certificate(self._name, self._key.public_key(), authority=True)
        self.file = self._write("ca.pem", made.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> tuple[Path, Path, Path]:
        """Files with key, certificate, and both, for a host or a person on loopback."""
        key = ec.generate_private_key(ec.SECP256R1())
        who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        pem, kept = serialization.Encoding.PEM, serialization.NoEncryption()
        secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, kept)
        shown = self._certificate(who, key.public_key()).public_bytes(pem)
        return (
            self._write(f"{name}.key", secret),
            self._write(f"{name}.pem", shown),
            self._write(f"{name}.both.pem", secret + shown),
        )

    def _certificate(self, name: x509.Name, key: ec.EllipticCurvePublicKey, *, authority: bool = False) -> Any:
        now = datetime.now(UTC)
        names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))])
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(names, critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path


class TokenServer:
    """Hands out tokens by client credentials, and notes what was asked."""

    def __init__(self) -> None:
        asked: list[dict[str, list[str]]] = []
        self.asked = asked

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                who = base64.b64decode(self.headers["authorization"].removeprefix("Basic ")).decode()
                asked.append({"who": [who], **parse_qs(body)})
                right = who == "eventflow:cl13nt-s3cret"
                token = json.dumps({"access_token": unsigned_token("eventflow"), "expires_in": 300}).encode()
                self.send_response(200 if right else 401)
                self.end_headers()
                self.wfile.write(token if right else b"{}")

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self._server.server_port}/token"
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def unsigned_token(user: str) -> str:
    """What Kafka takes from anybody while it is set up for development."""
    now = time.time()
    parts = ({"alg": "none"}, {"sub": user, "iat": now - 5, "exp": now + 300, "scope": "kafka"})
    words = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*words, ""])


@dataclass
class Castle:
    """One broker behind four doors: plain for the shop, TLS, TLS with client certificates, TLS with SASL."""

    shop: Shop
    authority: Authority
    tls: int
    mutual: int
    sasl: int

    def url(self, port: int, user: str = "", **query: str) -> str:
        named = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        return f"kafka+ssl://{user}127.0.0.1:{port}?{named}"


@pytest.fixture(scope="module")
def castle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Castle]:
    folder = tmp_path_factory.mktemp("castle")
    authority = Authority(folder)
    _, _, broker = authority.issue("broker")
    tls, mutual, sasl = free_port(), free_port(), free_port()
    doors = f"TLS://127.0.0.1:{tls},MUTUAL://127.0.0.1:{mutual},SASL://127.0.0.1:{sasl}"
    door = "listener.name.sasl"
    settings = {
        "listeners": f"PLAINTEXT://127.0.0.1:{{port}},{doors},CONTROLLER://127.0.0.1:{{controller}}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{{port}},{doors}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,TLS:SSL,MUTUAL:SSL,SASL:SASL_SSL",
        "inter.broker.listener.name": "PLAINTEXT",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(broker),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.file),
        "listener.name.mutual.ssl.client.auth": "required",
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
        f"{door}.plain.sasl.jaas.config": PLAIN,
        f"{door}.scram-sha-256.sasl.jaas.config": SCRAM,
        f"{door}.scram-sha-512.sasl.jaas.config": SCRAM,
        f"{door}.oauthbearer.sasl.jaas.config": BEARER,
    }
    scram = [f"SCRAM-SHA-{bits}=[name=eventflow,password=s3cret-{bits}]" for bits in (256, 512)]
    server = start_kafka(KafkaServer(folder / "kafka", settings, scram=scram))
    shop = Shop(server)
    for topic in ("orders", "orders.dlq"):
        shop.create(topic)
    shop.publish("orders", 5)
    shop.publish("orders.dlq", headers=LETTER_HEADERS)
    shop.commit("payment", "orders", 3)
    yield Castle(shop, authority, tls, mutual, sasl)
    server.kill()


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    server = TokenServer()
    yield server
    server.close()


async def everything(url: str) -> Recorder:
    """Groups come by one library, offsets and letters by the other: both must get in."""
    seen = await run_until(
        collector("shop", url, 0.1), lambda now: now.letters and lags(now, "payment") and now.status, seconds=30
    )
    assert lags(seen, "payment")["orders", "0"].ready == 2
    return seen


Door = Callable[[Castle], str]
DOORS: dict[str, Door] = {
    "TLS": lambda at: at.url(at.tls, ca=str(at.authority.file)),
    "SASL PLAIN": lambda at: at.url(at.sasl, "eventflow:pa%3Ass%40word%2F%3F@", ca=str(at.authority.file)),
    "SCRAM-SHA-256": lambda at: at.url(
        at.sasl, "eventflow:s3cret-256@", mechanism="SCRAM-SHA-256", ca=str(at.authority.file)
    ),
    "SCRAM-SHA-512": lambda at: at.url(
        at.sasl, "eventflow:s3cret-512@", mechanism="SCRAM-SHA-512", ca=str(at.authority.file)
    ),
}


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
async def test_every_door_shows_groups_offsets_and_letters(castle: Castle, door: Door) -> None:
    await everything(door(castle))


async def test_a_client_certificate_opens_mutual_tls(castle: Castle) -> None:
    key, shown, _ = await asyncio.to_thread(castle.authority.issue, "eventflow")
    ca = str(castle.authority.file)
    await everything(castle.url(castle.mutual, ca=ca, cert=str(shown), key=str(key)))
    with pytest.raises(CollectorError) as refused:
        await everything(castle.url(castle.mutual, ca=ca))
    assert not refused.value.permanent


async def test_a_token_by_client_credentials_opens_oauthbearer_and_is_told_nowhere(
    castle: Castle, tokens: TokenServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    def url(secret: str) -> str:
        where = {"mechanism": "OAUTHBEARER", "token_url": tokens.url, "scope": "kafka"}
        return castle.url(castle.sasl, f"eventflow:{secret}@", ca=str(castle.authority.file), **where)

    seen = await everything(url("cl13nt-s3cret"))
    assert {asked["scope"][0] for asked in tokens.asked} == {"kafka"}
    with pytest.raises(CollectorError, match=r"token server at 127\.0\.0\.1 answered 401") as refused:
        await everything(url("wr0ng-s3cret"))
    assert refused.value.permanent
    said = caplog.text + "".join(capfd.readouterr()) + str(refused.value) + seen.status.message + seen.status.address
    for secret in ("cl13nt-s3cret", "wr0ng-s3cret", unsigned_token("eventflow")[:20]):
        assert secret not in said


async def test_a_replay_goes_through_the_same_door(castle: Castle) -> None:
    sender = replayer("shop", DOORS["SCRAM-SHA-512"](castle))
    try:
        assert (await sender.receivers("orders", None)).groups == ("payment",)
    finally:
        await sender.close()


async def test_a_certificate_nobody_vouches_for_is_named_as_the_reason(castle: Castle, tmp_path: Path) -> None:
    stranger = Authority(tmp_path)
    with pytest.raises(CollectorError, match="no TLS with Kafka") as refused:
        await everything(castle.url(castle.tls, ca=str(stranger.file)))
    assert not refused.value.permanent
    with pytest.raises(CollectorError, match="certificate file"):
        await everything(castle.url(castle.tls, ca=str(tmp_path / "nothing.pem")))
