"""A batch that is too large for one record is cut until each frame fits, and every row is in one of them."""

import pyarrow as pa

from marketpulse.kafka.frame_writer import FRAME_TARGET_BYTES, frames_by_partition


def test_frames_of_an_odd_number_of_rows_hold_all_of_them_in_order() -> None:
    rows = 150_001  # 8 bytes each: two frames, of which one has a row more
    batch = pa.RecordBatch.from_pydict({"symbol": pa.array(["A"] * rows), "size": pa.array(range(rows), pa.int64())})
    frames = [frame for _, _, frame in frames_by_partition(batch, 4)]
    assert len(frames) > 1
    assert max(map(len, frames)) <= FRAME_TARGET_BYTES
    read = pa.concat_tables([pa.ipc.open_stream(frame).read_all() for frame in frames])
    assert read.column("size").to_pylist() == list(range(rows))
