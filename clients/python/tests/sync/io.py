"""Doing things at once, with threads. `aio/io.py` is the same with asyncio."""

import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, List

TestCase = unittest.TestCase


def together(functions: List[Callable[[], Any]]) -> List[Any]:
    """Calls all of them at once, and gives what they return."""
    with ThreadPoolExecutor(len(functions)) as pool:
        return [future.result() for future in [pool.submit(function) for function in functions]]


class begin:
    """Something that goes on beside the test."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._future = self._pool.submit(function)

    def result(self) -> Any:
        try:
            return self._future.result(20)
        finally:
            self._pool.shutdown(wait=False)


pause = time.sleep
