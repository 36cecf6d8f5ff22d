import socket

from marketpulse.app.port import free_port, is_free


def test_a_port_that_is_listened_on_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        assert not is_free("127.0.0.1", taken)
        assert free_port("127.0.0.1", taken) is None
    assert free_port("127.0.0.1", taken) == taken


def test_port_0_gives_some_free_port() -> None:
    found = free_port("127.0.0.1", 0)
    assert found is not None
    assert is_free("127.0.0.1", found)
