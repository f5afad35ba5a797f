"""Eight callers at once, four runs in each of two threads, while connections are killed
and Redis is restarted, crashes, is emptied and goes back to older data under them. At the
end every run's events are in the log once and in order, or the caller was told LOST or GAP
and began it anew, folded, and then they are there."""

import random
import threading
import unittest

import redis

from caller import Caller, event
from redis_server import DEADLINE_S, RedisServer, wait_for

CALLERS = 8


class Agent:
    """Does what docs/PUBLISHING.md asks of a caller, and no more. Its events are numbered
    n = 1, 2, 3 …; a folded one stands for all up to `folded`."""

    def __init__(self, server, run, thread, seed):
        self.server, self.run, self.thread = server, run, thread
        self.rand = random.Random(seed)
        self.stop = threading.Event()
        self.made = 0        # events of the run that were answered with OK
        self.number = 1      # of the next event of the attempt
        self.answers = 0
        self.resent = 0
        self.anew = []       # LOST, GAP
        self.failure = None
        self.caller = None

    def event(self, n, **fields):
        return event(n, run=self.run, **fields)

    def connect(self):
        """A connection, and with it the run_id of this Redis, read over that connection."""
        client = redis.Redis(unix_socket_path=self.server.socket, client_name="caller",
                             single_connection_client=True)
        self.caller = Caller(client, self.thread)

    def disconnect(self):
        if self.caller:
            self.caller.client.close()
            self.caller.client.connection_pool.disconnect()
            self.caller = None

    def send(self, mode, events):
        """The same call until it is answered."""
        def answer():
            try:
                if not self.caller:
                    self.connect()
                return self.caller.call(mode, self.run, self.number, *events)
            except (redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError):
                self.disconnect()
                self.resent += 1
                return None
        reply = wait_for("an answer", answer)
        self.answers += 1
        return reply

    def begin(self):
        reply = self.send("begin", [self.event(0, folded=self.made)])
        if reply[0] != "OK":
            raise AssertionError(reply)
        self.number += 1

    def work(self):
        self.begin()
        while True:
            mode = "end" if self.stop.is_set() else "publish"
            count = self.rand.randint(1, 4)
            reply = self.send(mode, [self.event(self.made + 1 + i) for i in range(count)])
            if reply[0] in ("LOST", "GAP"):
                self.anew.append(reply[0])
                self.begin()
                continue
            # ENDED: by this very call, whose first answer was lost.
            if reply[0] != "OK" and (reply[0], mode) != ("ENDED", "end"):
                raise AssertionError(reply)
            self.made += count
            self.number += count
            if mode == "end":
                return

    def main(self):
        try:
            self.work()
        except Exception as e: # told to the test, which looks at it
            self.failure = e
        finally:
            self.disconnect()


class EightCallers(unittest.TestCase):
    def setUp(self):
        # always: what was acknowledged survives SIGKILL, so it can be demanded afterwards
        self.server = RedisServer("--appendfsync", "always")
        self.addCleanup(self.server.close)
        self.seed = random.randrange(1 << 30)
        self.rand = random.Random(self.seed)
        self.agents = [Agent(self.server, "run%d" % i, "t%d" % (i % 2), self.seed + i)
                       for i in range(CALLERS)]
        self.threads = [threading.Thread(target=a.main, daemon=True) for a in self.agents]
        for thread in self.threads:
            thread.start()
        self.progress()

    def progress(self, answers=8):
        """Every caller gets some answers."""
        marks = [a.answers + answers for a in self.agents]

        def all_passed():
            for agent in self.agents:
                if agent.failure:
                    raise agent.failure
            return all(a.answers >= mark for a, mark in zip(self.agents, marks))
        wait_for("eight callers to go on (seed %d)" % self.seed, all_passed)

    def kill_connections(self, rounds):
        admin = self.server.client()
        for _ in range(rounds):
            for client in admin.client_list():
                if client["name"] == "caller" and self.rand.random() < 0.5:
                    admin.client_kill_filter(_id=client["id"])
        admin.connection_pool.disconnect()
        self.progress()

    def finish(self):
        for agent in self.agents:
            agent.stop.set()
        for thread in self.threads:
            thread.join(DEADLINE_S)
        for agent in self.agents:
            if agent.failure:
                raise agent.failure
        for thread in ("t0", "t1"):
            client = self.server.client()
            with self.subTest(thread=thread, seed=self.seed):
                self.check(Caller(client, thread),
                           [a for a in self.agents if a.thread == thread])
            client.connection_pool.disconnect()

    def check(self, t, agents):
        entries = t.entries()
        ids = [tuple(map(int, entry_id.split("-"))) for entry_id, _ in entries]
        for (epoch, n), following in zip(ids, ids[1:]):
            self.assertTrue(following == (epoch, n + 1) or
                            following[0] > epoch and following[1] == 1, (epoch, n, following))
        fields = t.fields()
        self.assertEqual(fields["bytes"], str(t.bytes_in_log()))
        for agent in agents:
            self.assertNotIn("r:" + agent.run, fields)
            ended = fields["x:" + agent.run].split()[2]
            mine = [(i, e) for i, e in entries if e["run"] == agent.run]
            self.assertEqual(mine[-1][0], ended)
            begins = [k for k, (_, e) in enumerate(mine) if "folded" in e]
            self.assertLessEqual(len(begins), 1 + len(agent.anew))
            # What was published before a beginning does not count any more.
            since = mine[begins[-1]:]
            numbers = [e["n"] for _, e in since[1:]]
            self.assertEqual(numbers,
                             list(range(since[0][1]["folded"] + 1, agent.made + 1)))

    def test_connections_killed_and_redis_restarted(self):
        for _ in range(3):
            self.kill_connections(5)
            self.server.restart()
            self.progress()
            self.server.kill()
            self.server.start()
            self.kill_connections(5)
        self.finish()
        # Nothing was lost, so nobody may have been told so: begun once, each number once.
        self.assertEqual([a.anew for a in self.agents], [[]] * CALLERS)
        self.assertGreater(sum(a.resent for a in self.agents), 0)

    def test_emptied(self):
        for _ in range(2):
            admin = self.server.client()
            admin.flushall()
            admin.connection_pool.disconnect()
            self.kill_connections(3)
        self.finish()
        for agent in self.agents:
            self.assertEqual(agent.anew, ["LOST"] * len(agent.anew))
            self.assertTrue(1 <= len(agent.anew) <= 2)

    def test_older_data(self):
        for _ in range(2):
            self.server.backup()
            self.progress()
            self.server.restore()
            self.kill_connections(3)
        self.finish()
        for agent in self.agents:
            self.assertEqual(agent.anew, ["GAP"] * 2)


if __name__ == "__main__":
    unittest.main()
