"""The archive: every row in plain files that any tool opens, each exactly once.

JSON lines or Parquet (formats.py), by date or by symbol and date (filing.py), in a directory or a bucket.
"""

from marketpulse.clock import Clock
from marketpulse.settings import Settings
from marketpulse.sinks.files import FileSink
from marketpulse.sinks.formats import FORMATS
from marketpulse.sinks.storage import open_storage


def open_archive(settings: Settings, clock: Clock) -> FileSink:
    """The archive at its place, in its format and layout."""
    archive = settings.sinks.archive
    storage = open_storage(settings.archive_url(), settings.s3)
    return FileSink("archive", storage, FORMATS[archive.format], clock, layout=archive.layout)
