"""Records of another client as our messages."""

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME

from marketpulse.kafka.codec import FRAME_CONTENT_TYPE
from marketpulse.kafka.market_reader import is_frame
from marketpulse.kafka.relayed import relayed_message


def test_a_relayed_record_has_its_place_its_time_and_its_kind() -> None:
    message = relayed_message("market", 3, 9, 1_700, b"k", b"v", FRAME_CONTENT_TYPE)
    assert (message.topic(), message.partition(), message.offset()) == ("market", 3, 9)
    assert message.timestamp() == (TIMESTAMP_LOG_APPEND_TIME, 1_700)
    assert (message.key(), message.value(), message.error()) == (b"k", b"v", None)
    assert is_frame(message)


def test_a_record_without_key_value_and_header_has_none() -> None:
    message = relayed_message("market", 0, 0, 0, None, None, None)
    assert (message.key(), message.value()) == (None, None)
    assert not is_frame(message)
