from marketpulse.clock import ManualClock
from marketpulse.web.rates import CLIENTS_MAX, Rates, client_of


def test_a_client_has_its_burst_then_its_rate_and_another_one_has_its_own() -> None:
    clock = ManualClock(0)
    rates = Rates(2, 3, clock)
    assert [rates.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert rates.take("b") == 0
    clock.sleep(0.5)
    assert [rates.take("a") for _ in range(2)] == [0, 0.5]
    clock.sleep(3_600)
    assert [rates.take("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_to_look_takes_nothing() -> None:
    rates = Rates(1, 1, ManualClock(0))
    assert (rates.wait_s("a"), rates.wait_s("a"), rates.take("a"), rates.wait_s("a")) == (0, 0, 0, 1)


def test_only_so_many_clients_are_remembered_the_newest() -> None:
    rates = Rates(1, 1, ManualClock(0))
    for i in range(CLIENTS_MAX + 1):
        rates.take(str(i))
    assert rates.wait_s("0") == 0
    assert rates.wait_s("1") == 1


def test_an_ipv6_client_is_its_network() -> None:
    def client(host: str) -> str:
        return client_of({"type": "http", "client": (host, 1)})

    assert client("2001:db8:1:2::9") == client("2001:db8:1:2:ffff::1") != client("2001:db8:1:3::9")
    assert client("::ffff:10.0.0.1") == client("10.0.0.1") == "10.0.0.1"
    assert client_of({"type": "http", "client": None}) == ""
