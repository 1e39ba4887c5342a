"""Why a request is not answered, with the HTTP status that says so."""

from bijecta.errors import InputError


class RefusedError(InputError):
    """A request that is refused for a reason that HTTP has a number for; any other InputError is 422."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
