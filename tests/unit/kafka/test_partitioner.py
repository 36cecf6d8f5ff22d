import pytest

from marketpulse.kafka.partitioner import partitions_of

# Hashes of org.apache.kafka.common.utils.Utils.murmur2, as its own test lists them.
JAVA = {
    b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536, b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, b"abc": 479470107,
}  # fmt: skip


@pytest.mark.parametrize("partitions", [1, 4, 12, 100, 2**31 - 1])
def test_a_key_goes_where_java_clients_put_it(partitions: int) -> None:
    wanted = [(value & 0x7FFFFFFF) % partitions for value in JAVA.values()]
    assert partitions_of(list(JAVA), partitions).tolist() == wanted
    assert partitions_of([], partitions).tolist() == []
