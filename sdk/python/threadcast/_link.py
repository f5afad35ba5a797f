"""What the connections of both kinds share: how a connection of our own is made from a
client's settings, and how long to wait before trying again.

A run has one connection to itself, never one of the pool: so the run_id in a call is
always the one that was read over the connection that carries the call, and a Redis that
was restarted is never published to under the old one. Nothing reconnects by itself here:
health checks and retries of redis-py are off, and a connection that failed is dropped."""

from __future__ import annotations

import os
import random
import re
import socket
from typing import Any, Dict, Iterator

CONNECT_S = 3.0
ANSWER_S = 5.0
_BACKOFF_FIRST_S, _BACKOFF_MAX_S = 0.02, 1.0
# What redis-py puts into the settings for the connections of its pool. (From 8 on also how
# they follow a server's maintenance, over RESP3: the control's speaks RESP2.)
_OF_THE_POOL = ("retry", "retry_on_error", "retry_on_timeout")


def instance() -> str:
    """The name of this process: for Redis, and in the state of its runs."""
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:40] or "host"
    return "%s-%d" % (host, os.getpid())


def settings(client: Any, job: str) -> Dict[str, Any]:
    """Arguments for a connection like the client's, but our own."""
    kwargs = dict(client.connection_pool.connection_kwargs)
    for name in list(kwargs):
        if name in _OF_THE_POOL or name.startswith(("maint_", "oss_cluster_maint_", "orig_")):
            del kwargs[name]
    kwargs["health_check_interval"] = 0
    kwargs["client_name"] = "threadcast-python:%s:%s" % (instance(), job)
    kwargs["decode_responses"] = False
    if not kwargs.get("socket_timeout"):
        kwargs["socket_timeout"] = ANSWER_S
    if not kwargs.get("socket_connect_timeout") and "path" not in kwargs:
        kwargs["socket_connect_timeout"] = CONNECT_S
    return kwargs


def make_connection(pool: Any, arguments: Dict[str, Any]) -> Any:
    made = pool.connection_class(**arguments)
    if not hasattr(made, "host"):
        # redis-py before 4.6 words an asyncio Unix socket's errors with these
        made.host, made.port = getattr(made, "path", ""), 0
    return made


def delays() -> Iterator[float]:
    delay = _BACKOFF_FIRST_S
    while True:
        yield delay * random.uniform(0.5, 1.0)
        delay = min(delay * 2, _BACKOFF_MAX_S)
