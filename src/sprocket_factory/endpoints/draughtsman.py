"""Who draws: one thread for all pictures, so that nobody else has to wait for the large ones."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

draughtsman = ThreadPoolExecutor(max_workers=1, thread_name_prefix="draughtsman")
"""Draws one thing after the other: ten thousand teeth take half a second."""


async def drawn(draw: Callable[[*Ts], T], *args: *Ts) -> T:
    """Return what a function draws."""
    return await asyncio.get_running_loop().run_in_executor(draughtsman, draw, *args)
