"""Which letters share a cause, over the stacks of five languages."""

import pytest

from eventflow.domain import redaction
from eventflow.domain.fingerprint import fingerprint, mask
from eventflow.domain.stack import cause_line, first_own, frames
from tests.factories import STACK, observed_letter

JAVA = """org.springframework.kafka.listener.ListenerExecutionFailedException: Listener failed
\tat org.springframework.kafka.listener.KafkaMessageListenerContainer.run(KafkaMessageListenerContainer.java:2873)
\tat java.base/java.lang.Thread.run(Thread.java:840)
Caused by: com.shop.payment.GiftCardException: card 4711 is empty
\tat java.base/java.util.Optional.orElseThrow(Optional.java:403)
\tat com.shop.payment.GiftCards.balance(GiftCards.java:88)
\tat com.shop.payment.Capture.split(Capture.java:141)
\t... 12 more
"""
NODE = """GiftCardError: card is empty
    at Object.check (node:internal/assert:12:3)
    at Parser.parse (/app/node_modules/json/lib/parse.js:10:5)
    at balance (/app/src/giftcards.js:88:11)
    at async onOrder (/app/src/handlers.js:37:3)
"""
DOTNET = """MassTransit.ConsumerException: failed ---> Shop.Payments.GiftCardException: card is empty
   at System.Linq.Enumerable.First[TSource](IEnumerable`1 source)
   at Shop.Payments.GiftCards.Balance(String card) in /src/GiftCards.cs:line 88
   --- End of inner exception stack trace ---
   at MassTransit.Pipeline.Send(Object context)
"""
GO = """goroutine 12 [running]:
runtime/debug.Stack()
\t/usr/local/go/src/runtime/debug/stack.go:24 +0x5e
shop/payments.(*GiftCards).Balance(0xc000, 0x12)
\t/app/payments/giftcards.go:88 +0x1d
main.handle(...)
\t/app/main.go:37
"""
CHAINED = """Traceback (most recent call last):
  File "/app/bank.py", line 4, in fetch
    raise TimeoutError("no answer")
TimeoutError: no answer

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/app/handlers.py", line 9, in handle
    raise CaptureFailed("x") from error
CaptureFailed: x
"""


@pytest.mark.parametrize(
    ("stack", "frame"),
    [
        (STACK, "/srv/app/payments/giftcards.py:88 in balance"),
        (JAVA, "GiftCards.java:88 in com.shop.payment.GiftCards.balance"),
        (NODE, "/app/src/giftcards.js:88 in balance"),
        (DOTNET, "/src/GiftCards.cs:88 in Shop.Payments.GiftCards.Balance"),
        (GO, "/app/payments/giftcards.go:88 in shop/payments.(*GiftCards).Balance"),
        (CHAINED, "/app/bank.py:4 in fetch"),
    ],
)
def test_the_first_frame_of_own_code_is_found(stack: str, frame: str) -> None:
    found = first_own(stack)
    assert found is not None
    assert found.text == frame


def test_the_cause_is_the_innermost_exception() -> None:
    assert cause_line(JAVA) == ("com.shop.payment.GiftCardException", "card 4711 is empty")
    assert cause_line(DOTNET) == ("Shop.Payments.GiftCardException", "card is empty")
    assert cause_line(CHAINED) == ("TimeoutError", "no answer")
    assert cause_line(STACK) is None


def test_text_that_is_no_stack_gives_no_frames() -> None:
    assert frames("it broke (badly)\nat noon:12 (really)") == ()


@pytest.mark.parametrize(
    ("message", "masked"),
    [
        ("balance lookup for card gc-5512 returned HTTP 502", "balance lookup for card ‹id› returned HTTP 502"),
        (
            "capture 2b1e9b2c-0b1a-4a5f-9a10-1d2f3a4b5c6d timed out after 3000 ms",
            "capture ‹uuid› timed out after ‹n› ms",
        ),
        ("no user ada@example.com", "no user ‹email›"),
        ("closed by smtp-3.relay.example:587", "closed by ‹host›"),
        ("currency 'XPF' is not enabled for mrc_91kd", "currency ‹str› is not enabled for ‹id›"),
        ("address deadbeef01 at 0x7f", "address ‹hex› at ‹hex›"),
        ("card is empty", "card is empty"),
    ],
)
def test_what_differs_from_letter_to_letter_is_taken_out(message: str, masked: str) -> None:
    assert mask(message) == masked


def test_letters_of_one_cause_share_a_fingerprint() -> None:
    assert fingerprint(observed_letter()).digest == fingerprint(observed_letter()).digest
    assert fingerprint(observed_letter()).title == "GiftCardBalanceError"


@pytest.mark.parametrize("field", ["group", "error_type", "destination"])
def test_another_consumer_or_error_is_another_cause(field: str) -> None:
    assert fingerprint(observed_letter()).digest != fingerprint(observed_letter(**{field: "other"})).digest


def test_a_moved_line_is_the_same_cause() -> None:
    moved = STACK.replace("line 88", "line 90")
    assert fingerprint(observed_letter(stack=moved)).digest == fingerprint(observed_letter()).digest


def test_a_letter_without_any_error_still_has_a_title() -> None:
    bare = observed_letter(error_type=None, error_message=None, stack=None)
    assert fingerprint(bare).title == "Failed at payment"


@pytest.mark.parametrize(
    "name", ["Authorization", "cookie", "X-Api-Key", "password", "card_token", "db.passwd", "cardNumber"]
)
def test_secret_names_are_known(name: str) -> None:
    assert redaction.is_secret_name(name)


@pytest.mark.parametrize("name", ["Eventflow-Replay", "ce-id", "token_count", "order_id", "correlation-id"])
def test_ordinary_names_are_not_secret(name: str) -> None:
    assert not redaction.is_secret_name(name)


def test_secrets_inside_free_text_are_hidden() -> None:
    hidden = redaction.text(
        "Bearer abc.def.ghi password=hunter2 nats://me:pw1@host card 4111111111111111 order 1234567890123"
    )
    for secret in ("abc.def", "hunter2", "pw1", "4111"):
        assert secret not in hidden
    assert "1234567890123" in hidden
