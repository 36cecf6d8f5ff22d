"""Alert rules: read, compiled and evaluated on closed rows; `rule_set` gathers those that run."""
