"""A loop by hand, with a closure of plain Python per symbol."""

from arithmetic import new_indicators
from consume_loop import consume_trades
from counting_sink import given

if __name__ == "__main__":
    consume_trades(given(), "hand", new_indicators)
