"""How often one client may ask: a bucket of tokens each, which fills as time passes."""

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address

from starlette.types import Scope

from marketpulse.clock import Clock, SystemClock

CLIENTS_MAX = 10_000


class Rates:
    """At most `burst` at once, and `per_s` a second in the long run, for each client. Clients beyond CLIENTS_MAX push out those
    that have not asked for longest. One thread calls it."""

    def __init__(self, per_s: float, burst: float, clock: Clock | None = None) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clock = clock or SystemClock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # client -> (what is left, when)

    def wait_s(self, client: str) -> float:
        """How long this client has to wait for its next turn; 0: none."""
        return max(0.0, (1 - self._left(client)) / self._per_s)

    def take(self, client: str) -> float:
        """Take a turn. How long the client has to wait, when it has none left; 0: it was taken."""
        left = self._left(client)
        if left < 1:
            return (1 - left) / self._per_s
        self._buckets[client] = left - 1, self._clock.monotonic()
        self._buckets.move_to_end(client)
        if len(self._buckets) > CLIENTS_MAX:
            self._buckets.popitem(last=False)
        return 0.0

    def _left(self, client: str) -> float:
        left, at = self._buckets.get(client, (self._burst, 0.0))
        return min(self._burst, left + (self._clock.monotonic() - at) * self._per_s)


def client_of(scope: Scope) -> str:
    """Who asks, by address; of an IPv6 one the network, since a machine has many. Behind a proxy all are one."""
    host = (scope.get("client") or ("", 0))[0]
    try:
        address = ip_address(host)
    except ValueError:
        return str(host)
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return address.exploded[:19]
    return host
