"""What a vendor's answer means for who asked: come again later, have a person look, or ask something else."""

from marketpulse.errors import RejectedRecord, Retryable


class TryLater(Retryable):
    """Nothing may be asked, or nothing came back. The same question is good again in `retry_in_s` seconds."""

    def __init__(self, message: str, retry_in_s: float) -> None:
        super().__init__(message)
        self.retry_in_s = retry_in_s


class Refused(RejectedRecord):
    """The vendor says that this question is wrong (an unknown symbol, a range that it does not have)."""

    def __init__(self, message: str, status: int, body: bytes = b"") -> None:
        super().__init__(message)
        self.status = status
        self.body = body  # without the key, cut to some kilobytes
