"""What a command's exit code says, to people, scripts and the supervisor."""

GOOD = 0
FAILED = 1
WRONG_USAGE = 2  # an argument or the configuration has to change
WRONG_KEY = 3  # a vendor does not take the key: asking again would be a storm
INTERRUPTED = 130
