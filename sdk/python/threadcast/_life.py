"""Life: the sign of life of one run. A key in Redis that expires after a lease unless the
run's sender sets it again, which it does before the run begins, after every reconnect, and
every third of the lease. When the key is gone a bridge ends the run (`worker_lost`).

A run has a key of its own, and its sender sets it: so a run that nobody publishes any more
is noticed, also when other runs of the same process go on."""

from __future__ import annotations

import uuid
from typing import Any, Tuple

from ._link import delays, instance


class Life:
    def __init__(self, prefix: str, lease_ms: int) -> None:
        self.worker = "sdk:%s-%s" % (instance(), uuid.uuid4().hex[:12])
        self.key = "%sthreadcast:worker:%s" % (prefix, self.worker)
        self.due = 0.0  # when the key has to be set, on the monotonic clock
        self._lease_ms = lease_ms
        self._pauses = delays()

    def beat(self) -> Tuple[Any, ...]:
        return ("SET", self.key, "1", "PX", self._lease_ms)

    def end(self) -> Tuple[Any, ...]:
        return ("DEL", self.key)

    def beaten(self, at: float) -> None:
        """It was set by a command sent at `at`."""
        self.due = at + self._lease_ms / 3000
        self._pauses = delays()

    def missed(self, at: float) -> None:
        """Redis is away: tried again, for as long as that takes."""
        self.due = at + next(self._pauses)
