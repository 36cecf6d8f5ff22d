"""What the system's own errors mean here."""

import errno
import os

import pytest

from marketpulse.errors import disk_is_full


@pytest.mark.parametrize(("number", "full"), [
    (errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EFBIG, False), (errno.EROFS, False), (errno.EIO, False),
])  # fmt: skip
def test_a_disk_is_full_when_it_or_the_users_share_of_it_has_no_space(number: int, full: bool) -> None:
    assert disk_is_full(OSError(number, os.strerror(number))) is full
    assert not disk_is_full(OSError("the archive is broken")), "an error without a number says nothing about the disk"
