"""What both kinds of runs know of threadcast:control, the channel on which everybody asks
publishers to cancel a run."""

from __future__ import annotations

import json
import logging
from typing import Any, Callable, Dict, Generic, Iterator, List, Optional, TypeVar

import redis

from ._link import settings

LOG = logging.getLogger("threadcast")
PING_S = 5.0  # so long may it be quiet before it is asked whether it is still there
_HINT_MAX_BYTES = 1024
R = TypeVar("R")


class Hearers(Generic[R]):
    """The open runs of one subscription. Two attempts of one run may be among them."""

    def __init__(self) -> None:
        self._runs: Dict[str, List[R]] = {}

    def __bool__(self) -> bool:
        return bool(self._runs)

    def __iter__(self) -> Iterator[R]:
        return iter([run for runs in self._runs.values() for run in runs])

    def add(self, run_id: str, run: R) -> None:
        self._runs.setdefault(run_id, []).append(run)

    def remove(self, run_id: str, run: R) -> None:
        left = [r for r in self._runs.get(run_id, []) if r is not run]
        if left:
            self._runs[run_id] = left
        else:
            self._runs.pop(run_id, None)

    def meant(self, message: Any) -> Iterator[R]:
        """The runs that an answer of the subscription says to cancel."""
        if isinstance(message, list) and len(message) == 3 and message[0] == b"message":
            yield from list(self._runs.get(cancels(message[2]) or "", []))


def channel(prefix: str) -> str:
    return prefix + "threadcast:control"


def cancels(hint: bytes) -> Optional[str]:
    """The id of the run to cancel; None for anything else."""
    if len(hint) > _HINT_MAX_BYTES:
        return None
    try:
        said = json.loads(hint)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or said.get("type") != "cancel":
        return None
    run_id = said.get("runId")
    return run_id if isinstance(run_id, str) else None


def control_settings(client: Any) -> Dict[str, Any]:
    kwargs = settings(client, "control")
    if int(redis.__version__.split(".")[0]) >= 5:  # older ones know no other
        kwargs["protocol"] = 2  # messages come as plain answers
    return kwargs


def tell(on_cancel: Callable[[], Any]) -> bool:
    """Calls it; False, and a line in the log, when it raises."""
    try:
        on_cancel()
        return True
    except Exception:
        LOG.exception("on_cancel raised: the run is ended instead")
        return False
