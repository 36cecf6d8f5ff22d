"""A rule on stored history, before it is saved."""
