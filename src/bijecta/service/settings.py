"""How much a service takes on: every limit in one frozen record."""

from dataclasses import dataclass, fields

from bijecta.errors import InputError


@dataclass(frozen=True)
class ServiceSettings:
    """Limits of a service, so that no request and no crowd of them can exhaust the machine.

    At most ``queue`` requests are in the house at once, each of at most ``max_body`` bytes: their product bounds the
    memory that bodies can take.

    Args:
        max_rows: rows that one request may score or draw.
        max_body: bytes that the body of a request may have.
        queue: requests that are read, waiting or computed at once; one more is told to come back.
        threads: threads of torch.
        body_seconds: how long a body may take to arrive.
        retry_seconds: when those who were turned away are asked to come back.
        shutdown_seconds: how long a service that is told to stop may work on what it accepted.

    Raises:
        InputError: a limit below 1.

    Example:
        >>> from bijecta.service import ServiceSettings
        >>> ServiceSettings(queue=4).max_rows
        100000
    """

    max_rows: int = 100_000
    max_body: int = 16 * 2**20
    queue: int = 32
    threads: int = 1
    body_seconds: int = 30
    retry_seconds: int = 1
    shutdown_seconds: int = 30

    def __post_init__(self) -> None:
        for each in fields(self):
            if (value := getattr(self, each.name)) < 1:
                raise InputError(f"The setting {each.name} must be at least 1, got {value}.")
