"""A request that is not answered."""


class HttpRefusal(Exception):
    """A refused request: the client gets the status and one sentence, and nothing else of this process.

    Args:
        status: of HTTP.
        sentence: for the client.
        retry_after: seconds after which the same request may be answered.
    """

    def __init__(self, status: int, sentence: str, retry_after: int | None = None):
        super().__init__(sentence)
        self.status, self.sentence, self.retry_after = status, sentence, retry_after

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the response."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return {**headers, "WWW-Authenticate": "Bearer"} if self.status == 401 else headers
