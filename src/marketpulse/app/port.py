"""Free ports."""

import socket


def free_port(host: str, port: int) -> int | None:
    """The port, if it can be listened on now; for 0 any free one; else None."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return None
        return int(probe.getsockname()[1])


def is_free(host: str, port: int) -> bool:
    """Whether the port can be listened on now."""
    return free_port(host, port) is not None
