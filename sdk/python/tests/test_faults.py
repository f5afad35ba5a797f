"""Runs of both kinds while connections are killed and Redis is restarted, crashes, is
emptied and goes back to older data. Whatever happens, a reader of the log has the whole
answer, once and in order, with one end."""

import asyncio
import os
import random
import threading
import unittest

import redis.asyncio

import threadcast
from support import Reader, RedisServer, wait_for

RUNS = 4  # of each kind, in two threads


class WithAgents(unittest.TestCase):
    OPTIONS = {}  # of their clients

    def setUp(self):
        self.server = RedisServer("--appendfsync", "always")
        self.addCleanup(self.server.close)
        self.stop = threading.Event()
        self.runs, self.failures = [], []
        self.seed = random.randrange(1 << 30)
        self.rand = random.Random(self.seed)
        self.threads = [threading.Thread(target=self.guarded, args=(self.sync_agent, i))
                        for i in range(RUNS)]
        self.threads.append(threading.Thread(target=self.guarded, args=(self.async_agents, 0)))
        for thread in self.threads:
            thread.daemon = True
            thread.start()
        wait_for("all runs to begin", lambda: len(self.runs) == 2 * RUNS or self.failures)
        self.progress()

    def guarded(self, agent, i):
        try:
            agent(i)
        except Exception as e: # told to the test, which looks at it
            self.failures.append(e)

    def sync_agent(self, i):
        client = self.server.client(**self.OPTIONS)
        with threadcast.run(client, "t%d" % (i % 2), flush_ms=2) as run:
            self.runs.append(run)
            n = 0
            while not self.stop.wait(0.001):
                n += 1
                run.token("%d " % n)
                if n % 50 == 0:
                    run.delta("step", name=str(n))

    def async_agents(self, _):
        async def agent(client, i):
            async with threadcast.run(client, "t%d" % (i % 2), flush_ms=2) as run:
                self.runs.append(run)
                n = 0
                while not self.stop.is_set():
                    n += 1
                    await run.token("%d " % n)
                    await asyncio.sleep(0.001)

        async def main():
            client = redis.asyncio.Redis(unix_socket_path=self.server.socket, **self.OPTIONS)
            await asyncio.gather(*[agent(client, i) for i in range(RUNS)])
        asyncio.run(main())

    def progress(self):
        """Every run gets something new into Redis."""
        client = self.server.client()
        texts = {r.run_id: r.text for r in self.runs}

        def all_there():
            if self.failures:
                raise self.failures[0]
            readers = {t: Reader(client, t) for t in ("t0", "t1")}
            return all(len(readers[r.thread].text(r.run_id)) > len(texts[r.run_id])
                       for r in self.runs)
        wait_for("all runs to go on (seed %d)" % self.seed, all_there)
        client.connection_pool.disconnect()

    def kill_connections(self):
        admin = self.server.client()
        for _ in range(5):
            for c in admin.client_list():
                if c["name"].endswith(":publish") and self.rand.random() < 0.5:
                    admin.client_kill_filter(_id=c["id"])
        admin.connection_pool.disconnect()
        self.progress()

    def finish(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(20)
        if self.failures:
            raise self.failures[0]
        client = self.server.client()
        rewinds = 0
        for run in self.runs:
            reader = Reader(client, run.thread)
            shapes = reader.shapes(run.run_id)
            self.assertEqual(reader.text(run.run_id), run.text)
            self.assertEqual(run.text, "".join("%d " % n for n in range(
                1, run.text.count(" ") + 1)))
            self.assertEqual(shapes[-1], "done:stop")
            self.assertEqual(sum(s.startswith(("done", "error")) for s in shapes), 1)
            steps = [s for s in shapes if s == "delta:step"]
            if isinstance(run, threadcast.Run):
                self.assertEqual(len(steps), run.text.count(" ") // 50)
            rewinds += shapes[0] == "status:rewind"
        for thread in ("t0", "t1"):
            ids = [e["id"] for e in Reader(client, thread).events]
            self.assertEqual(len(ids), len(set(ids)))
        client.connection_pool.disconnect()
        return rewinds


class Faults(WithAgents):
    def test_connections_killed_and_redis_restarted(self):
        for _ in range(2):
            self.kill_connections()
            self.server.restart()
            self.progress()
            self.server.kill()
            self.server.start()
            self.kill_connections()
        self.assertEqual(self.finish(), 0, "nothing was lost, nothing had to be told anew")

    def test_emptied(self):
        admin = self.server.client()
        admin.flushall()
        admin.connection_pool.disconnect()
        self.kill_connections()
        self.assertEqual(self.finish(), 2 * RUNS)

    def test_older_data(self):
        self.server.backup()
        self.progress()
        self.server.restore()
        self.kill_connections()
        self.assertEqual(self.finish(), 2 * RUNS)


class Silence(WithAgents):
    ANSWER_S = 5 if os.environ.get("THREADCAST_FULL") else 0.5
    OPTIONS = {} if ANSWER_S == 5 else {"socket_timeout": ANSWER_S}

    def test_silent_for_longer_than_an_answer_may_take(self):
        for run in self.runs:
            self.assertFalse(run.text == "")
        self.server.process.send_signal(19) # SIGSTOP
        threading.Timer(self.ANSWER_S + 1, self.server.process.send_signal, (18,)).start()
        self.progress()
        self.assertEqual(self.finish(), 0)


if __name__ == "__main__":
    unittest.main()
