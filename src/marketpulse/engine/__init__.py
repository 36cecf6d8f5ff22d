"""The pure operators, `(state, batch) -> (state, batch)`, and the one loop that drives them."""
