"""What a request can be refused for, apart from HTTP and gRPC."""


class RefusedError(Exception):
    """A request that is not taken; the message is for the sender and holds nothing secret."""


class BadRequestError(RefusedError):
    """The sender's mistake: sending it again cannot help."""


class TooLargeError(RefusedError):
    """More bytes than the limit, as sent or after decompression."""


class UnsupportedMediaError(RefusedError):
    """A content type or content encoding nobody here reads."""


class OverloadedError(RefusedError):
    """Not now; the same request may be sent again after `retry_seconds`."""

    def __init__(self, message: str, retry_seconds: int = 1) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class UnauthenticatedError(RefusedError):
    """No token, or none that is known."""
