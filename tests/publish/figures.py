"""Prints how many calls a second publish.lua does. A figure, not a test: nothing is
asserted. One connection, all calls written without waiting for the answers."""

import re
import socket
import threading
import time

from caller import Caller, event
from redis_server import RedisServer

CALLS = 40000
TOKEN = event(type="token", threadId="t1", content="hello ", ts=1763637000000, runId="r1",
              agentId="demo", messageId="0b9b8f6e-5d0c-4c55-9a3d-6a0f2f0c8e11", attempt=1)


def command(*args):
    out = [b"*%d\r\n" % len(args)]
    for arg in args:
        arg = arg if isinstance(arg, bytes) else str(arg).encode()
        out.append(b"$%d\r\n%s\r\n" % (len(arg), arg))
    return b"".join(out)


def measure(server, events_per_call, calls):
    """Returns (calls a second, µs a call inside Redis)."""
    client = server.client()
    client.flushall()
    t = Caller(client)
    t.begin("r1", 1, TOKEN)
    client.config_resetstat()
    load = b"".join(
        command("EVALSHA", t.sha, 2, t.log, t.state, 1, "publish", t.channel, 20000, 1 << 24,
                86400, t.run_id, "r1", 1, 2 + i * events_per_call, "w1",
                *[TOKEN] * events_per_call)
        for i in range(calls)) + command("ECHO", "the end")
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(server.socket)
        writer = threading.Thread(target=s.sendall, args=(load,))
        start = time.monotonic()
        writer.start()
        tail = b""
        while not tail.endswith(b"the end\r\n"):
            tail = (tail + s.recv(1 << 20))[-64:]
        seconds = time.monotonic() - start
        writer.join()
    assert client.hget(t.state, "r:r1").split()[1] == b"%d" % (2 + calls * events_per_call)
    text = client.execute_command("INFO", "commandstats")
    client.connection_pool.disconnect()
    return calls / seconds, text["cmdstat_evalsha"]["usec_per_call"]


def main():
    for name, options in (("append-only file", []), ("memory only", ["--appendonly", "no"])):
        server = RedisServer(*options)
        try:
            for count in (1, 8):
                rate, inside = measure(server, count, CALLS // count)
                print("publish.lua, %s: %d event%s a call: %s calls/s, %s events/s "
                      "(%.1f µs a call in Redis)" % (
                          name, count, "s"[:count - 1], group(rate), group(rate * count),
                          inside))
        finally:
            server.close()


def group(number):
    return re.sub(r"(?<=\d)(?=(\d{3})+$)", ",", "%.0f" % number)


if __name__ == "__main__":
    main()
