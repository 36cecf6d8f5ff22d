"""A group's open bars, smallest due time first: a binary heap of bar slots."""

from marketpulse.compiled import bare_kernel, inlined
from marketpulse.engine.layout import Tables


@bare_kernel
def push_bar(tables: Tables, group: int, slot: int) -> None:
    """Put a bar among those that wait for the group's watermark."""
    heap, bars = tables.heaps[group], tables.bars
    at = tables.groups[group].size
    tables.groups[group].size = at + 1
    due = bars[slot].due_ns
    while at > 0:
        above = (at - 1) // 2
        if bars[heap[above]].due_ns <= due:
            break
        heap[at] = heap[above]
        at = above
    heap[at] = slot


@inlined
def pop_bar(tables: Tables, group: int) -> int:
    """Take the bar with the smallest due time out; the heap must hold one."""
    heap, bars = tables.heaps[group], tables.bars
    size = tables.groups[group].size - 1
    tables.groups[group].size = size
    top, moved = heap[0], heap[size]
    due = bars[moved].due_ns
    at = 0
    while True:
        below = 2 * at + 1
        if below >= size:
            break
        if below + 1 < size and bars[heap[below + 1]].due_ns < bars[heap[below]].due_ns:
            below += 1
        if bars[heap[below]].due_ns >= due:
            break
        heap[at] = heap[below]
        at = below
    if size > 0:
        heap[at] = moved
    return top
