"""A broker for one benchmark alone."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from marketpulse.kafka.broker import EmbeddedBroker
from marketpulse.kafka.client import connected_to
from marketpulse.settings import Settings, load_settings


@contextmanager
def own_broker() -> Iterator[Settings]:
    """Settings that lead to it; it goes with all that it holds, and so does their data directory."""
    home = Path(tempfile.mkdtemp(prefix="marketpulse-bench-"))
    base = load_settings(data_dir=home, cache_dir=load_settings().cache_dir)
    try:
        with EmbeddedBroker(base) as broker:
            yield connected_to(base, broker.bootstrap)
    finally:
        shutil.rmtree(home, ignore_errors=True)
