import asyncio
import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from websockets.asyncio.client import connect

from marketpulse.errors import EnvironmentProblem, SettingsError
from marketpulse.settings import ServeSettings
from marketpulse.web.api import create_app
from marketpulse.web.board import Board
from marketpulse.web.server import WebServer, open_socket


@pytest.fixture
def taken() -> Iterator[int]:
    holder = socket.create_server(("127.0.0.1", 0))
    yield holder.getsockname()[1]
    holder.close()


def test_a_default_port_that_is_taken_gives_way_to_a_free_one(taken: int) -> None:
    serve = ServeSettings.model_construct(port=taken, _fields_set=set())
    listener = open_socket(serve)
    assert listener.getsockname()[1] not in {0, taken}
    listener.close()


def test_a_port_that_was_asked_for_and_is_taken_is_an_error_that_says_what_to_do(taken: int) -> None:
    with pytest.raises(EnvironmentProblem, match=rf"port {taken} .*serve.port"):
        open_socket(ServeSettings(port=taken))


def test_an_unsafe_binding_never_listens() -> None:
    with pytest.raises(SettingsError, match="SERVE__TOKEN"):
        open_socket(ServeSettings(host="::", port=0))


def test_the_server_answers_once_started_and_stops_within_two_seconds_with_pages_open() -> None:
    serve = ServeSettings(port=0)
    server = WebServer(create_app(Board(), serve, {}), serve)
    server.start()
    assert httpx.get(server.url + "api/health").json()["status"] == "starting"

    async def stop_with_pages_open() -> float:
        address = f"ws://127.0.0.1:{server.port}/ws"
        async with connect(address), connect(address):
            began = time.monotonic()
            await asyncio.to_thread(server.stop)
            return time.monotonic() - began

    assert asyncio.run(stop_with_pages_open()) < 2
    assert not server.alive()
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)


def test_a_port_can_be_used_again_at_once() -> None:
    first = WebServer(create_app(Board(), ServeSettings(port=0), {}), ServeSettings(port=0))
    first.start()
    httpx.get(first.url + "api/health")
    first.stop()
    again = WebServer(create_app(Board(), ServeSettings(port=first.port), {}), ServeSettings(port=first.port))
    again.start()
    assert httpx.get(again.url + "api/health").status_code == 200
    again.stop()
