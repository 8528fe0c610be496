"""Threads that share a loop; what they run lets go of the interpreter."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType


class Workers:
    """So many threads, while the context lasts; only the caller's outside of it.

    Args:
        threads: How many, the caller's included.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Workers:
        if self.threads > 1:
            self._pool = ThreadPoolExecutor(self.threads - 1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._pool:
            self._pool.shutdown()
            self._pool = None

    def over(self, count: int, work: Callable[[int, int], None], grain: int = 1) -> None:
        """Call ``work(first, end)`` such that the parts make up 0..count.

        Args:
            count: Where the loop ends.
            work: Does one part.
            grain: Parts begin at multiples of this.
        """
        units = -(-count // grain)
        parts = min(self.threads, units)
        edges = [
            min(count, units * part // parts * grain) for part in range(parts + 1 if parts else 0)
        ]
        ranges = list(itertools.pairwise(edges))
        if self._pool is None or len(ranges) < 2:
            for first, end in ranges:
                work(first, end)
            return
        rest = [self._pool.submit(work, first, end) for first, end in ranges[1:]]
        try:
            work(*ranges[0])
        finally:
            for future in rest:
                future.result()
