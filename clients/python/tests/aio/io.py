"""Doing things at once, with asyncio. `sync/io.py` is the same with threads."""

import asyncio
import unittest
from typing import Any, Callable, List

TestCase = unittest.IsolatedAsyncioTestCase


async def together(functions: List[Callable[[], Any]]) -> List[Any]:
    """Calls all of them at once, and gives what they return."""
    return list(await asyncio.gather(*[function() for function in functions]))


class begin:
    """Something that goes on beside the test."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._task = asyncio.ensure_future(function())

    async def result(self) -> Any:
        return await asyncio.wait_for(self._task, 20)


pause = asyncio.sleep
