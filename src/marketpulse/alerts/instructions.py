"""What the stack machine can do. A program is rows of (instruction, a, b): what a and b are stands beside each.

Numbers and truths are float64: 1 is true, 0 false, NaN unknown.
"""

(
    COLUMN,  # push column a of the row
    MEMORY,  # push what memory holds at a: a column of another timeframe's newest bar
    CONSTANT,  # push constant a
    KEEP,  # note what is on top as the alert's value
    NEGATE,
    ADD,
    SUBTRACT,
    MULTIPLY,
    DIVIDE,
    ABSOLUTE,
    SMALLER,
    LARGER,
    BEFORE,  # the number on top as it was b rows ago; memory from a on is a ring of b
    CHANGE_PCT,  # how much it moved since then, in per cent; the same ring
    LESS,  # the right side is on top; b = 1: the sides are turned, as `>` means
    LESS_EQUAL,
    EQUAL,
    NOT_EQUAL,
    CROSSES,  # upwards with b = 1, downwards with b = -1; memory at a and a + 1: both sides at the row before
    AND,
    OR,
    NOT,
) = range(22)
