"""A Sentinel replaces the master under two runs: they go on at the promoted replica."""

import asyncio
import os
import subprocess
import threading
import unittest

import redis
import redis.asyncio.sentinel
import redis.sentinel

import threadcast
from redis_server import BINARY, free_port
from support import Reader, RedisServer, wait_for


class Failover(unittest.TestCase):
    def setUp(self):
        self.master = RedisServer("--repl-diskless-sync-delay", "0", tcp=True)
        self.addCleanup(self.master.close)
        self.replica = RedisServer("--replicaof", "127.0.0.1 %d" % self.master.port, tcp=True)
        self.addCleanup(self.replica.close)
        self.port = free_port()
        path = os.path.join(self.master.home, "sentinel.conf")
        with open(path, "w", encoding="utf-8") as f:
            f.write("port %d\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 %d 1\n"
                    "sentinel down-after-milliseconds main 300\n"
                    "sentinel failover-timeout main 3000\n" % (self.port, self.master.port))
        self.sentinel = subprocess.Popen([BINARY, path, "--sentinel"],
                                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(self.sentinel.wait)
        self.addCleanup(self.sentinel.terminate)
        wait_for("the sentinel to know the replica", self.replica_known)
        self.copy = self.replica.client()
        self.addCleanup(self.copy.connection_pool.disconnect)

    def replica_known(self):
        try:
            known = redis.sentinel.Sentinel([("127.0.0.1", self.port)])
            return known.discover_slaves("main")
        except redis.RedisError:
            return False

    def copied(self, run):
        return lambda: Reader(self.copy, run.thread).text(run.run_id) == run.text

    def test_both_kinds_of_runs(self):
        client = redis.sentinel.Sentinel([("127.0.0.1", self.port)]).master_for("main")
        ready, failures = threading.Event(), []

        async def main():
            sentinel = redis.asyncio.sentinel.Sentinel([("127.0.0.1", self.port)])
            async with threadcast.run(sentinel.master_for("main"), "t2") as run:
                await run.token("Hello ")
                await run.flush()
                self.other = run
                ready.set()
                while self.master.process.poll() is None:
                    await asyncio.sleep(0.005)
                await run.token("there")

        def guarded():
            try:
                asyncio.run(main())
            except Exception as e: # told to the test, which looks at it
                failures.append(e)
                ready.set()
        thread = threading.Thread(target=guarded)
        thread.start()
        with threadcast.run(client, "t1") as run:
            run.token("Hello ")
            run.flush()
            ready.wait(20)
            wait_for("the replica to have both", lambda: not failures and
                     self.copied(run)() and self.copied(self.other)())
            self.master.kill()
            run.token("there")
        thread.join(30)
        self.assertEqual(failures, [])
        for each in (run, self.other):
            reader = Reader(self.copy, each.thread)
            self.assertEqual(reader.shapes(), [
                "status:started", "token:Hello ", "token:there", "done:stop"])
            # ids of the old master's epoch are not gone on with
            epochs = [e["id"].split("-")[0] for e in reader.events]
            self.assertEqual(epochs[0], epochs[1])
            self.assertGreater(int(epochs[2]), int(epochs[1]))


if __name__ == "__main__":
    unittest.main()
