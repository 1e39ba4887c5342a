"""Compute the next items of an iterator while the present one is used."""

import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from queue import Full, Queue
from typing import Any, TypeVar

Item = TypeVar("Item")

_END = object()


@dataclass(frozen=True)
class _Failure:
    error: BaseException


def in_background(items: Iterator[Item], *, ahead: int = 2) -> Generator[Item, None, None]:
    """Hand out what an iterator yields, while a thread computes what comes next.

    Reading files leaves the interpreter's lock to the training, so that both go on at once. The thread ends with the
    iteration, also where that is abandoned.

    Args:
        items: what to compute in the thread.
        ahead: how many finished items may wait, which bounds the memory.

    Yields:
        The items, in order. What the iterator raises is raised here.

    Example:
        >>> list(in_background(iter(range(3))))
        [0, 1, 2]
    """
    ready: Queue[Any] = Queue(ahead)
    abandoned = threading.Event()
    thread = threading.Thread(target=_work, args=(items, ready, abandoned), daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not _END:
            if isinstance(item, _Failure):
                raise item.error
            yield item
    finally:
        abandoned.set()
        thread.join()


def _work(items: Iterator[Any], ready: "Queue[Any]", abandoned: threading.Event) -> None:
    try:
        for item in items:
            _put(item, ready, abandoned)
            if abandoned.is_set():
                return
        _put(_END, ready, abandoned)
    except BaseException as error:  # every one is raised again, where the items are used
        _put(_Failure(error), ready, abandoned)


def _put(item: Any, ready: "Queue[Any]", abandoned: threading.Event) -> None:
    while not abandoned.is_set():
        try:
            ready.put(item, timeout=0.05)
        except Full:
            continue
        return
