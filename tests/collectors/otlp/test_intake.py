"""Where requests are read: what every sender sends in the event loop, larger ones in a thread."""

import threading

import pytest

from collectors.otlp.intake import Intake
from collectors.otlp.scan import OtlpFormat
from eventflow.domain.columns import SpanColumns
from tests.collectors.otlp.conftest import Sink
from tests.collectors.otlp.samples import attribute, request, span
from tests.collectors.otlp.scan import agreement


@pytest.mark.parametrize(("spans", "in_the_loop"), ((512, True), (4096, False)))
async def test_requests_of_the_usual_size_are_scanned_in_the_event_loop_without_native_code(
    spans: int, in_the_loop: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    form: OtlpFormat = agreement.made("python")
    read_in: list[threading.Thread] = []
    scan = form.scan

    def noted(body: bytes) -> SpanColumns:
        read_in.append(threading.current_thread())
        return scan(body)

    monkeypatch.setattr(form, "scan", noted)
    intake = Intake(Sink(), max_bytes=2**24, span_format=form)
    told = [attribute(f"app.attribute.{number}", "a value of some length") for number in range(15)]
    sent = [span(span_id=number.to_bytes(8, "big"), attributes=told) for number in range(1, spans + 1)]
    with intake.budget.share() as share:
        await intake.take("traces", request(*sent).SerializeToString(), share, as_json=False)
    assert [one is threading.current_thread() for one in read_in] == [in_the_loop]
