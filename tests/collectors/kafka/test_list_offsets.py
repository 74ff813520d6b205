"""ListOffsets in bytes: what aiokafka itself would write and read."""

from aiokafka.protocol.offset import OffsetRequest_v2, OffsetResponse_v2

from collectors.kafka.list_offsets import ListOffsets


def test_a_request_is_the_same_bytes_as_aiokafkas() -> None:
    topics = [("orders", [(0, -1), (11, 1_764_000_000_000)]), ("zahlungen-ä", [(3, -2)]), ("empty", [])]
    ours = ListOffsets(1, topics).prepare({2: (1, 11)})
    assert ours.encode() == OffsetRequest_v2(-1, 1, topics).encode()


def test_an_answer_is_read_as_aiokafka_reads_it() -> None:
    topics = [("orders", [(0, 0, -1, 2**40), (1, 29, -1, -1)]), ("zahlungen-ä", [(3, 0, 1_764_000_000_000, 7)])]
    raw = OffsetResponse_v2(0, topics).encode()
    shape = ListOffsets(0, []).prepare({2: (2, 2)})
    ours = [(topic, list(rows)) for topic, rows in shape.RESPONSE_TYPE.decode(raw).topics]
    assert ours == OffsetResponse_v2.decode(raw).topics == topics
