"""kill -9 at any moment: nothing acknowledged is lost, nothing is counted twice."""

import json
import signal
from typing import Any

from tests.flow_factory import failed_order
from tests.store.conftest import Run, finish


def report(process: Run) -> dict[str, Any]:
    text, _ = process("report").communicate(timeout=60)
    found: dict[str, Any] = json.loads(text)
    return found


def test_what_was_acknowledged_survives_a_kill_right_after(process: Run) -> None:
    sender = process("send")
    assert sender.stdout is not None
    acknowledged = [int(sender.stdout.readline()) for _ in range(15)][-1]
    sender.send_signal(signal.SIGKILL)
    sender.wait(10)
    finish(process, "digest")
    found = report(process)
    assert found["inbox"] == 0
    assert {f"order-{number}" for number in range(acknowledged + 1)} <= set(found["flows"])
    assert len(found["spans"]) >= (acknowledged + 1) * len(failed_order())


def test_a_digester_killed_at_random_moments_loses_and_doubles_nothing(process: Run) -> None:
    sent = int(finish(process, "kill", "7", "100"))
    found = report(process)
    assert found["inbox"] == 0
    assert len(found["spans"]) == sent * len(failed_order())
    assert found["flows"] == sorted(f"order-{number}" for number in range(sent))
    assert found["judged"]
    assert len(found["lines"]) == 1
    deliveries = {key: numbers for key, numbers in found["edges"].items() if key.startswith("consume")}
    assert deliveries["consume/payment-service/orders.placed/payment"] == [4 * sent, 4 * sent, sent]
    assert deliveries["consume/shipping-service/inventory.reserved/shipping"] == [sent, 0, sent]
    assert found["edges"]["publish/checkout/orders.placed/"] == [sent, 0, 0]
    assert all(numbers[0] % sent == 0 for numbers in found["edges"].values())
