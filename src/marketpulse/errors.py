"""Everything MarketPulse raises on purpose, told apart by what the reader does next.

MarketPulseError
├── Retryable          wait, then do the same again
├── RejectedRecord     to the dead letters; the stream goes on
└── Fatal              stop; a person must look
    ├── ParameterError     an argument is wrong: change it
    ├── SettingsError      the configuration is wrong: change it
    ├── EnvironmentProblem the machine lacks something: Java, a free port, disk
    ├── WrongKey           a vendor does not take the key: renew it
    ├── QueryRefused       the SQL is not one plain SELECT, or has a mistake
    │   └── QueryLimit         it needs more time or memory than the settings allow
    ├── QueryCancelled     somebody has stopped the query
    └── ChangedMeanwhile   somebody else has changed it since it was read
"""

import errno


class MarketPulseError(Exception):
    """Base of all. The message says what happened, where, and what to do next."""


class Retryable(MarketPulseError):
    """A fault that passes: the broker is away, a store does not answer. Nothing was lost."""


class RejectedRecord(MarketPulseError):
    """One record cannot be used. It goes to the dead letters whole, with this reason."""


class Fatal(MarketPulseError):
    """Going on would lose or falsify data, or cannot work at all."""


class ParameterError(Fatal, ValueError):
    """An argument is outside what the function is defined for."""


class SettingsError(Fatal):
    """A setting is missing, misspelt or contradicts another."""


class EnvironmentProblem(Fatal):
    """The machine cannot run this as it is; the message says how to change that."""


class WrongKey(Fatal):
    """A vendor does not take the key. Asking again would only be a storm, so nothing asks until a person has looked."""


class QueryRefused(Fatal):
    """The query is more than one SELECT over the stored tables. `mistake`, where it is known, says where
    (ports.SqlMistake)."""

    mistake: object | None = None


class QueryLimit(QueryRefused):
    """The query was good, but more than the settings allow."""


class QueryCancelled(Fatal):
    """The query was stopped by who asked, or by who runs this."""


class ChangedMeanwhile(Fatal):
    """What was to be changed is not any more what it was when it was read. Nothing was written."""


def disk_is_full(error: OSError) -> bool:
    """Whether there was no space left to write, on the disk or in the user's share of it."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
