"""The sign of life of a run, and what becomes of a run that gave none for a lease."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import unittest
from unittest import mock

import redis

import threadcast
from caller import Caller, event
from support import SDK, Reader, WithRedis, wait_for
from threadcast import _aio, _link, _sync
from threadcast._life import Life

LOST = {"type": "error", "content": {"code": "worker_lost", "message": "gone",
                                     "retryable": True}}


def worker_of(client, run_id, thread="t1", prefix=""):
    """The last word of the run's state, as a bridge reads it."""
    state = client.hget("%s{thread:%s}:state" % (prefix, thread), "r:" + run_id)
    return state.split()[3].decode() if state else ""


def life_of(client, run, prefix=""):
    return prefix + "threadcast:worker:" + worker_of(client, run.run_id, run.thread, prefix)


def end_as_a_bridge(client, run):
    """As docs/PUBLISHING.md says: `end`, with the attempt and the number of the state."""
    state = client.hget("{thread:t1}:state", "r:" + run.run_id).split()
    reply = Caller(client).end(run.run_id, int(state[1]), event(
        **LOST, threadId="t1", runId=run.run_id), attempt=int(state[0]))
    assert reply[0] == "OK", reply


class Names(unittest.TestCase):
    def test_a_name_fits_the_state_and_the_bridge(self):
        names = {Life("", 1000).worker for _ in range(100)}
        self.assertEqual(len(names), 100)
        for name in names:
            self.assertRegex(name, r"\Asdk:[A-Za-z0-9.-]+\Z")
            self.assertLessEqual(len(name), 128)
            self.assertIn(_link.instance(), name)

    def test_a_third_of_the_lease(self):
        life = Life("app:", 9000)
        self.assertEqual(life.beat(), ("SET", life.key, "1", "PX", 9000))
        self.assertTrue(life.key.startswith("app:threadcast:worker:sdk:"))
        life.beaten(100.0)
        self.assertEqual(life.due, 103.0)
        pauses = []
        for _ in range(10):
            life.missed(100.0)
            pauses.append(life.due - 100)
        self.assertLess(pauses[0], 0.03)
        self.assertLessEqual(max(pauses), 1.0)


class Lives(WithRedis):
    # otherwise what was acknowledged may be gone with a server that is killed
    OPTIONS = ("--appendfsync", "always")

    def keys(self):
        return self.client.keys("*threadcast:worker:*")

    def test_a_run_lives_from_before_its_beginning_to_its_end(self):
        for lease_ms in (15000, 60000):
            with threadcast.run(self.client, "t1", lease_ms=lease_ms) as run:
                key = life_of(self.client, run)
                self.assertTrue(key.startswith("threadcast:worker:sdk:"))
                self.assertGreater(self.client.pttl(key), lease_ms * 2 / 3)
            self.assertEqual(self.keys(), [])

    def test_each_run_has_its_own(self):
        with threadcast.run(self.client, "t1", prefix="app:"):
            with threadcast.run(self.client, "t1", prefix="app:"):
                self.assertEqual(len(self.keys()), 2)
            self.assertEqual(len(self.keys()), 1)

    def test_an_agent_that_says_nothing_lives(self):
        async def main(client):
            async with threadcast.run(client, "t2", lease_ms=900) as run:
                await asyncio.get_running_loop().run_in_executor(None, self.watch, run)
        with threadcast.run(self.client, "t1", lease_ms=900) as run:
            self.watch(run)
        self.in_loop(main)
        self.assertEqual(self.keys(), [])

    def watch(self, run):
        """Four times the key grows younger, and it is never gone."""
        client = self.server.client()
        key, last, renewals = life_of(client, run), 0, 0

        def renewed():
            nonlocal last, renewals
            left = client.pttl(key)
            self.assertGreater(left, 0, "it was gone")
            renewals += left > last and last > 0
            last = left
            return renewals >= 4
        wait_for("the key to be set again", renewed)
        client.connection_pool.disconnect()

    def test_an_agent_that_speaks_all_the_time_lives(self):
        with threadcast.run(self.client, "t1", lease_ms=900, flush_ms=0) as run:
            key, stop = life_of(self.client, run), threading.Event()
            threading.Timer(1.5, stop.set).start()
            while not stop.is_set():
                run.token("x")
                self.assertEqual(self.client.exists(key), 1)

    def test_redis_without_memory_of_it_is_told_again(self):
        for lost in (self.client.flushall, self.emptied):
            with threadcast.run(self.client, "t1", lease_ms=600000) as run:
                key = life_of(self.client, run)
                lost()
                run.token("x")
                run.flush()
                self.assertEqual(self.client.exists(key), 1)

    def emptied(self):
        """A restart without its data: only the reconnect tells."""
        self.server.kill()
        shutil.rmtree(self.server.data)
        os.mkdir(self.server.data)
        self.server.start()

    def test_redis_away_and_an_agent_that_says_nothing(self):
        async def main(client):
            async with threadcast.run(client, "t2", lease_ms=300, give_up_s=0.1) as run:
                await asyncio.get_running_loop().run_in_executor(None, self.away, run)
        with threadcast.run(self.client, "t1", lease_ms=300, give_up_s=0.1) as run:
            self.away(run)
        self.in_loop(main)
        for thread in ("t1", "t2"):
            self.assertEqual(Reader(self.client, thread).shapes()[-1], "done:stop")

    def away(self, run):
        """For longer than give_up_s: nothing was said meanwhile, nothing is given up."""
        key = life_of(self.client, run)
        self.server.kill()
        over = threading.Event()
        threading.Timer(0.5, over.set).start()
        over.wait()
        self.server.start()
        admin = self.server.client()
        admin.delete(key)
        wait_for("a sign of life", lambda: admin.exists(key))
        admin.connection_pool.disconnect()

    def test_a_run_that_was_given_up_gives_no_more_signs(self):
        """While another run of the same process goes on."""
        with threadcast.run(self.client, "t1", lease_ms=300) as other:
            with self.assertRaises(threadcast.Fenced):
                with threadcast.run(self.client, "t1", run_id="r1") as old:
                    key = life_of(self.client, old)
                    with threadcast.run(self.client, "t1", run_id="r1", attempt=2):
                        old.token("x")
                        wait_for("the refusal", lambda: old._story.failure)
                        wait_for("the key to go", lambda: not self.client.exists(key))
                        old.flush()
            self.assertEqual(self.client.exists(life_of(self.client, other)), 1)

    def test_no_right_to_live(self):
        self.client.execute_command("ACL", "SETUSER", "agent", "reset", "on", ">pw", "+@all",
                                    "~{thread:*", "&*")
        denied = self.server.client(username="agent", password="pw")
        with self.assertRaisesRegex(threadcast.Refused, "NOPERM"):
            with threadcast.run(denied, "t1"):
                self.fail("it would be taken for dead")
        denied.connection_pool.disconnect()

    def test_the_documented_rights_are_enough(self):
        from test_refusals import RIGHTS
        self.client.execute_command("ACL", "SETUSER", "agent", "reset", "on", ">pw", *RIGHTS)
        client = self.server.client(username="agent", password="pw")
        with threadcast.run(client, "t1", lease_ms=900) as run:
            self.watch(run)
        with self.assertRaises(threadcast.Cancelled):
            with threadcast.run(client, "t1") as run:
                self.client.publish("threadcast:control",
                                    '{"type":"cancel","runId":"%s"}' % run.run_id)
                wait_for("the cancel", lambda: run.cancelled)
        client.connection_pool.disconnect()

    def test_arguments(self):
        for wrong in (99, 3_600_001, 1000.0, "1000", None):
            with self.subTest(wrong), self.assertRaisesRegex(ValueError, "lease_ms"):
                threadcast.run(self.client, "t1", lease_ms=wrong)


class Dead(WithRedis):
    """Other processes, which end in their ways."""

    def publisher(self, body):
        text = ("import asyncio, os, sys, threading, redis, redis.asyncio, threadcast\n"
                "path = %r\n" % self.server.socket) + textwrap.dedent(body)
        child = subprocess.Popen([sys.executable, "-c", text], env={
            **os.environ, "PYTHONPATH": SDK}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(child.communicate)
        self.addCleanup(child.kill)
        return child

    def lives(self):
        return self.client.keys("threadcast:worker:*")

    def test_killed(self):
        child = self.publisher("""
            with threadcast.run(redis.Redis(unix_socket_path=path), "t1", lease_ms=400):
                threading.Event().wait()
            """)
        (key,) = wait_for("its life", self.lives)
        wait_for("the beginning", lambda: Reader(self.client).events)
        child.send_signal(signal.SIGKILL)
        child.wait()
        self.assertLessEqual(self.client.pttl(key), 400)
        wait_for("the lease to pass", lambda: not self.lives())

    def test_ended_while_daemon_threads_publish(self):
        child = self.publisher("""
            open = threading.Event()
            def agent():
                with threadcast.run(redis.Redis(unix_socket_path=path), "t1"):
                    open.set()
                    threading.Event().wait()
            threading.Thread(target=agent, daemon=True).start()
            open.wait()
            """)
        self.assertEqual(child.wait(20), 0, child.stderr.read())
        self.assertEqual(Reader(self.client).shapes(), ["status:started"])
        self.assertEqual(self.lives(), [], "nobody has to wait for the lease")

    def test_a_loop_that_is_left(self):
        """asyncio.run() cancels the run's sender too: nothing but the key can still go."""
        child = self.publisher("""
            async def main():
                async def agent():
                    client = redis.asyncio.Redis(unix_socket_path=path)
                    async with threadcast.run(client, "t1"):
                        open.set()
                        await asyncio.Event().wait()
                open = asyncio.Event()
                task = asyncio.ensure_future(agent())
                await open.wait()
            asyncio.run(main())
            """)
        self.assertEqual(child.wait(20), 0, child.stderr.read())
        self.assertEqual(Reader(self.client).shapes(), ["status:started"])
        self.assertEqual(self.lives(), [])

    def test_a_fork_has_runs_of_its_own(self):
        child = self.publisher("""
            client = redis.Redis(unix_socket_path=path)
            with threadcast.run(client, "t1", run_id="parent") as run:
                pid = os.fork()
                if not pid:
                    try:
                        with threadcast.run(client, "t2", run_id="child") as run:
                            client.publish("threadcast:control",
                                           '{"type":"cancel","runId":"child"}')
                            while True:
                                run.token("x")
                    except threadcast.Cancelled:
                        os._exit(7)
                assert os.waitpid(pid, 0)[1] >> 8 == 7
            """)
        self.assertEqual(child.wait(20), 0, child.stderr.read())
        self.assertEqual(Reader(self.client, "t2").shapes()[-1], "done:cancelled")
        self.assertEqual(Reader(self.client, "t1").shapes()[-1], "done:stop")


class EndedByABridge(WithRedis):
    def test_the_publisher_is_told_clearly(self):
        async def main(client):
            with self.assertRaisesRegex(threadcast.WorkerLost, "lease_ms"):
                async with threadcast.run(client, "t1") as run:
                    await run.token("Hel")
                    await run.flush()
                    end_as_a_bridge(self.client, run)
                    await run.token("lo")
                    await run.flush()
            return run
        for publish in (self.sync, lambda: self.in_loop(main)):
            self.client.flushall()
            run = publish()
            self.assertEqual(Reader(self.client).shapes(run.run_id), [
                "status:started", "token:Hel", "error:worker_lost"])

    def sync(self):
        with self.assertRaises(threadcast.WorkerLost) as caught:
            with threadcast.run(self.client, "t1") as run:
                run.token("Hel")
                run.flush()
                end_as_a_bridge(self.client, run)
                run.token("lo")
        self.assertIsInstance(caught.exception, threadcast.Ended)
        self.assertEqual(caught.exception.id, Reader(self.client).events[-1]["id"])
        return run

    def test_others_may_end_it_too(self):
        with self.assertRaises(threadcast.Ended) as caught:
            with threadcast.run(self.client, "t1", run_id="r1") as run:
                with threadcast.run(self.client, "t1", run_id="r1", attempt=2):
                    pass
                run.token("x")
        self.assertNotIsInstance(caught.exception, threadcast.WorkerLost)

    def test_whose_end_it_was_when_the_answer_to_ours_is_lost(self):
        async def main(client):
            async with threadcast.run(client, "t1") as run:
                self.run = run

        def sync():
            with threadcast.run(self.client, "t1") as run:
                self.run = run
        for module, publish in ((_sync, sync), (_aio, lambda: self.in_loop(main))):
            for ours in (True, False):
                self.client.flushall()
                with self.subTest(module=module.__name__, ours=ours), \
                        self.lossy(module.Link, ours):
                    if ours:
                        publish()
                    else:
                        self.assertRaises(threadcast.WorkerLost, publish)
                    self.assertEqual(Reader(self.client).shapes()[-1],
                                     "done:stop" if ours else "error:worker_lost")

    def lossy(self, link, arrives):
        """The first answer to an `end` is lost: it arrived, or a bridge was faster."""
        send = link.send

        def before(call):
            if arrives or not call.ends or call.tries:
                return
            call.tries += 1
            end_as_a_bridge(self.client, self.run)
            raise redis.ConnectionError("lost on the way there")

        def after(call, reply):
            if arrives and call.ends and call.tries == 1:
                raise redis.ConnectionError("lost on the way back")
            return reply

        def sync(this, call):
            before(call)
            return after(call, send(this, call))

        async def aio(this, call):
            before(call)
            return after(call, await send(this, call))
        return mock.patch.object(link, "send", aio if link is _aio.Link else sync)


if __name__ == "__main__":
    unittest.main()
