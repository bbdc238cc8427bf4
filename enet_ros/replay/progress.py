"""Progress bars of the bags that are replayed at the same time."""

from __future__ import annotations

from contextlib import ExitStack
from typing import NoReturn

from tqdm import tqdm


class ProgressBars(ExitStack):
    """One bar for each job, below each other. A job's next bag takes over its bar. Leaving the context ends them."""

    def __init__(self, jobs: int) -> None:
        """Show nothing before the first call of `show`."""
        super().__init__()
        self._jobs = jobs
        self._bars: dict[int, tqdm[NoReturn]] = {}

    def show(self, job: int, name: str, done: int, total: int) -> None:
        """Show that `done` of the `total` frames of the bag `name` are done; 0 of them when it starts."""
        if job not in self._bars:
            position = job if self._jobs > 1 else None
            self._bars[job] = tqdm(desc=name, total=total, unit='frame', position=position)
            self.callback(self._bars[job].close)
        bar = self._bars[job]
        if not done:
            bar.set_description(name, refresh=False)
            bar.reset(total)
        bar.update(done - bar.n)
