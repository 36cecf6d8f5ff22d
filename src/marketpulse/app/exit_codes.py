"""What a command's exit code says, to people, scripts and the supervisor."""

GOOD = 0
FAILED = 1
WRONG_USAGE = 2  # an argument or the configuration has to change
INTERRUPTED = 130
