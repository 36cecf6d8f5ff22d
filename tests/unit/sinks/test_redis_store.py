"""What the sink says of the client's errors; the sink itself is tried on a real server (integration/test_redis.py)."""

import pytest
import redis

from marketpulse.errors import Fatal, MarketPulseError, ParameterError, Retryable
from marketpulse.settings import RedisSettings
from marketpulse.sinks.redis_store import fault_of, open_redis

SETTINGS = RedisSettings(password="hidden")


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (redis.ConnectionError("Error 111 connecting"), Retryable, "does not answer"),
        (redis.TimeoutError("Timeout reading from socket"), Retryable, "does not answer"),
        (redis.ResponseError("NOREPLICAS Not enough good replicas to write."), Retryable, "takes no writes"),
        (redis.ResponseError("ERR Error running script: -OOM command not allowed"), Retryable, "maxmemory"),
        (redis.ResponseError("MISCONF Errors writing to the AOF file"), Retryable, "free space"),
        (redis.ResponseError("WRONGTYPE Operation against a key"), Fatal, "prefix"),
        (redis.exceptions.MovedError("1 127.0.0.1:7001"), Fatal, "cluster"),
        (redis.ConnectionError("SSL: CERTIFICATE_VERIFY_FAILED"), Fatal, "ssl_ca_certs"),
        (redis.ResponseError("unknown command 'EVALSHA'"), Fatal, "EVALSHA"),
        (redis.exceptions.AuthenticationError("WRONGPASS"), Fatal, "MARKETPULSE_SINKS__REDIS__PASSWORD"),
    ],
)
def test_an_error_says_what_to_do_next(error: redis.RedisError, kind: type[MarketPulseError], said: str) -> None:
    fault = fault_of(SETTINGS, error)
    assert isinstance(fault, kind)
    assert said in str(fault)
    assert "nothing is lost" in str(fault)


def test_the_place_and_the_settings_show_no_password() -> None:
    assert "hidden" not in open_redis(SETTINGS).where + repr(SETTINGS)


def test_a_url_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"sinks\.redis\.url"):
        open_redis(RedisSettings(url="redis://127.0.0.1:6379/?socket_timeout=soon"))
