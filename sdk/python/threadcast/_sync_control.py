"""The subscription to threadcast:control over redis.Redis: one connection and one daemon
thread for all open runs of a client. Mirrored by _aio_control.py."""

from __future__ import annotations

import atexit
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Tuple

import redis
import redis.exceptions as rx

from ._control import PING_S, Hearers, channel, control_settings
from ._link import delays, make_connection
from ._script import gave_up, lasting, passes
from .errors import Refused, ThreadcastError

if TYPE_CHECKING:
    from ._sync import Run

POLL_S = 0.25  # so long is it still there when the last run has left
_changed = threading.Condition()  # guards all below
_controls: Dict[Tuple[int, str], "Control"] = {}


def _after_fork() -> None:
    """The child has none of the threads."""
    global _changed
    _changed = threading.Condition()
    _controls.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@atexit.register
def _at_exit() -> None:
    """Open runs are those of daemon threads, which the process does not wait for."""
    with _changed:
        runs = [run for control in _controls.values() for run in control.hearers]
    end = time.monotonic() + 1
    for run in runs:
        run._abandon()
    for run in runs:
        if run._sender and run._sender.ident:
            run._sender.join(max(0.0, end - time.monotonic()))


def subscribe(client: redis.Redis, prefix: str, run: "Run", give_up_s: float) -> "Control":
    """Returns when cancels of the run are heard."""
    key = (id(client.connection_pool), prefix)
    with _changed:
        control = _controls.get(key)
        if not control:
            control = _controls[key] = Control(client, key)
            control.thread.start()
        control.hearers.add(run.run_id, run)
    try:
        control.wait(give_up_s)
    except BaseException:
        control.leave(run)
        raise
    return control


class Control:
    def __init__(self, client: redis.Redis, key: Tuple[int, str]) -> None:
        pool: Any = client.connection_pool
        self._make: Callable[[], Any] = (
            lambda: make_connection(pool, control_settings(client)))
        self._key, self._channel = key, channel(key[1])
        self.hearers: Hearers["Run"] = Hearers()
        self._subscribed = False
        self._refused: Optional[ThreadcastError] = None
        self._trouble: Optional[Exception] = None
        self._heard_at = self._asked_at = 0.0
        self.thread = threading.Thread(target=self._listen, daemon=True,
                                       name="threadcast control")

    def wait(self, give_up_s: float) -> None:
        end = time.monotonic() + give_up_s
        with _changed:
            while not self._subscribed:
                left = end - time.monotonic()
                if self._refused:
                    raise self._refused
                if left <= 0 and self._trouble:  # it was tried once at least
                    raise gave_up(self._trouble, give_up_s) from self._trouble
                _changed.wait(left if left > 0 else None)

    def leave(self, run: "Run") -> None:
        with _changed:
            self.hearers.remove(run.run_id, run)
            _changed.notify_all()

    # The thread.

    def _listen(self) -> None:
        pauses = delays()
        while self._wanted():
            connection = None
            try:
                connection = self._make()
                self._open(connection)
                pauses = delays()
                while self._wanted():
                    self._hear(connection)
            except Exception as e:
                self._lost(e)
                with _changed:
                    _changed.wait_for(lambda: not self.hearers, next(pauses))
            finally:
                if connection:
                    connection.disconnect()

    def _wanted(self) -> bool:
        with _changed:
            if not self.hearers and _controls.get(self._key) is self:
                del _controls[self._key]  # from now on nobody joins
            return bool(self.hearers)

    def _open(self, connection: Any) -> None:
        connection.connect()
        connection.send_command("SUBSCRIBE", self._channel)
        connection.read_response()
        self._heard_at = time.monotonic()
        with _changed:
            self._subscribed, self._refused = True, None
            _changed.notify_all()

    def _lost(self, error: Exception) -> None:
        with _changed:
            self._subscribed, self._trouble = False, error
            if not passes(error):
                self._refused = Refused("%s: %s" % (self._channel, lasting(error)))
            _changed.notify_all()

    def _hear(self, connection: Any) -> None:
        if not connection.can_read(timeout=POLL_S):
            self._quiet(connection)
            return
        message = connection.read_response()
        self._heard_at = time.monotonic()
        with _changed:
            meant = list(self.hearers.meant(message))
        for run in meant:
            run._cancel()

    def _quiet(self, connection: Any) -> None:
        now = time.monotonic()
        if self._asked_at > self._heard_at:
            if now - self._asked_at > PING_S:
                raise rx.TimeoutError("no answer to a PING")
        elif now - self._heard_at > PING_S:
            self._asked_at = now
            connection.send_command("PING")
