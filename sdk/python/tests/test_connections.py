"""The connections of a run: made like the client's, whatever its redis-py puts into them."""

import asyncio
import os
import signal
import threading
import unittest

import redis
import redis.asyncio

import threadcast
from support import Reader, RedisServer, WithRedis
from threadcast._aio import Link
from threadcast._link import settings
from threadcast._script import passes

SHAPES = ["status:started", "token:x", "done:stop"]


def within(seconds, test):
    """A run that waits for ever is a failure, and not the end of all tests."""
    outcome = []

    def guarded():
        try:
            outcome.append(test())
        except Exception as e: # told below
            outcome.append(e)
    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise AssertionError("nothing for %d s" % seconds)
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]


class Connections(WithRedis):
    def test_over_tcp(self):
        server = RedisServer(tcp=True)
        self.addCleanup(server.close)

        def sync():
            with threadcast.run(redis.Redis(port=server.port), "sync") as run:
                run.token("x")

        async def main():
            client = redis.asyncio.Redis(port=server.port)
            async with threadcast.run(client, "asyncio") as run:
                await run.token("x")
            await client.connection_pool.disconnect()
        within(20, sync)
        within(20, lambda: asyncio.run(main()))
        client = server.client()
        self.addCleanup(client.connection_pool.disconnect)
        for thread in ("sync", "asyncio"):
            self.assertEqual(Reader(client, thread).shapes(), SHAPES)

    def test_what_cannot_be_made_is_refused(self):
        async def main(client):
            client.connection_pool.connection_kwargs["nonsense"] = 1
            with self.assertRaisesRegex(threadcast.Refused, "nonsense"):
                async with threadcast.run(client, "t1"):
                    self.fail("it has no connection")

        def sync():
            client = self.server.client()
            client.connection_pool.connection_kwargs["nonsense"] = 1
            with self.assertRaisesRegex(threadcast.Refused, "nonsense"):
                with threadcast.run(client, "t1"):
                    self.fail("it has no connection")
        within(20, sync)
        within(20, lambda: self.in_loop(main))

    def test_a_reset_while_another_error_is_handled_passes(self):
        server = RedisServer()
        self.addCleanup(server.close)

        async def main():
            client = redis.asyncio.Redis(unix_socket_path=server.socket)
            link = Link(client, "publish")
            await link._connect()
            try:
                await link._ask("EVALSHA", "0" * 40, 0)
            except redis.exceptions.NoScriptError:
                os.kill(server.process.pid, signal.SIGSTOP)
                await link._connection.send_command("PING")  # which is never read
                server.kill()
                with self.assertRaises(Exception) as lost:
                    await link._connection.read_response()
            await link.close()
            return [lost.exception]
        [lost] = within(20, lambda: asyncio.run(main()))
        self.assertIsInstance(lost, redis.exceptions.ConnectionError)
        self.assertTrue(passes(lost))

    def test_what_a_pool_keeps_for_its_own_stays_there(self):
        client = redis.Redis()
        client.connection_pool.connection_kwargs.update(
            maint_notifications_config=1, maint_notifications_pool_handler=2,
            oss_cluster_maint_notifications_handler=3, orig_host_address=4,
            orig_socket_timeout=5, orig_socket_connect_timeout=6)
        found = settings(client, "x")
        self.assertEqual([n for n in found if "maint" in n or n.startswith("orig_")], [])
        self.assertIn("host", found)


if __name__ == "__main__":
    unittest.main()
