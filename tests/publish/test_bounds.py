"""The log never holds more than it may, to the event and to the byte, and expires."""

import random
import unittest

from caller import Caller, event
from redis_server import RedisServer, wait_for


class Bounds(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = RedisServer()
        cls.client = cls.server.client()

    @classmethod
    def tearDownClass(cls):
        cls.client.connection_pool.disconnect()
        cls.server.close()

    def setUp(self):
        self.client.flushall()
        self.t = Caller(self.client)

    def numbers(self):
        return [e["n"] for _, e in self.t.entries()]

    def test_events(self):
        for n in range(1, 251):
            self.t.outside(event(n), max_events=160)
            numbers = self.numbers()
            self.assertEqual(numbers, list(range(n + 1 - len(numbers), n + 1)))
            self.assertTrue(len(numbers) == n if n <= 160 else 150 <= len(numbers) <= 160)
            self.assertEqual(self.t.fields()["bytes"], str(self.t.bytes_in_log()))

    def test_exactly_the_limit_stays(self):
        self.t.outside(*[event(n) for n in range(160)], max_events=160)
        self.assertEqual(len(self.numbers()), 160)
        size = self.t.bytes_in_log()
        self.client.flushall()
        self.t.outside(*[event(n) for n in range(160)], max_bytes=size)
        self.assertEqual(len(self.numbers()), 160)
        self.client.flushall()
        self.t.outside(*[event(n) for n in range(160)], max_bytes=size - 1)
        self.assertLess(len(self.numbers()), 160)

    def test_small_limits(self):
        for limit in (1, 2, 3):
            self.client.flushall()
            for n in range(1, 9):
                self.t.outside(event(n), max_events=limit)
                self.assertEqual(self.numbers(), list(range(max(1, n + 1 - limit), n + 1)))

    def test_bytes_with_events_of_every_size(self):
        rand = random.Random(7)
        for n in range(300):
            texts = [event(n, text="x" * rand.choice((0, 1, 50, 900)))
                     for _ in range(rand.choice((1, 1, 1, 5)))]
            _, _, last, _ = self.t.outside(*texts, max_bytes=10000)
            size = self.t.bytes_in_log()
            self.assertLessEqual(size, 10000)
            self.assertEqual(self.t.fields()["bytes"], str(size))
            self.assertEqual(self.t.entries()[-1][0], last)

    def test_the_newest_stays_whatever_its_size(self):
        self.t.outside(event(1), event(2))
        self.t.outside(event(3, text="x" * 5000), max_bytes=1000)
        self.assertEqual(self.numbers(), [3])
        self.assertEqual(self.t.fields()["bytes"], str(self.t.bytes_in_log()))
        self.t.outside(event(4), max_bytes=1000)
        self.assertEqual(self.numbers(), [4])
        self.assertEqual(self.t.fields()["bytes"], str(self.t.bytes_in_log()))

    def test_more_in_one_call_than_the_log_holds(self):
        self.t.outside(*[event(n) for n in range(1000)], max_events=160)
        self.assertEqual(self.numbers(), list(range(850, 1000)))
        self.assertEqual(self.t.fields()["bytes"], str(self.t.bytes_in_log()))

    def test_ids_go_on_over_a_trim(self):
        _, first, _, _ = self.t.begin("r1", 1, event(1), max_events=4)
        for n in range(2, 50):
            self.t.publish("r1", n, event(n), max_events=4)
        entries = self.t.entries()
        self.assertEqual(entries[-1][0], first[:-1] + "49")
        # A run whose beginning was trimmed away goes on.
        self.assertEqual(self.t.end("r1", 50, event(50), max_events=4)[0], "OK")
        self.assertEqual(self.t.fields()["x:r1"], "1 %s %s50" % (first, first[:-1]))

    def test_a_wrong_sum_mends_itself(self):
        self.t.outside(*[event(n) for n in range(100)])
        self.client.xtrim(self.t.log, maxlen=3, approximate=False)
        for n in range(100, 400):
            self.t.outside(event(n), max_bytes=2000)
            self.assertLessEqual(self.t.bytes_in_log(), 2000)
        self.assertEqual(self.t.fields()["bytes"], str(self.t.bytes_in_log()))

    def test_ttl(self):
        self.t.begin("r1", 1, event(1), ttl=100)
        for key in (self.t.log, self.t.state):
            self.assertTrue(99000 < self.client.pttl(key) <= 100000)
        self.t.publish("r1", 2, event(2), ttl=50)
        for key in (self.t.log, self.t.state):
            self.assertTrue(49000 < self.client.pttl(key) <= 50000)
        for key in (self.t.log, self.t.state):
            self.client.expire(key, 7)
        self.t.publish("r1", 3, event(3), ttl=50)
        for key in (self.t.log, self.t.state):
            self.assertTrue(49000 < self.client.pttl(key) <= 50000)

    def test_an_expired_thread_begins_anew(self):
        _, _, last, _ = self.t.begin("r1", 1, event(1), ttl=1)
        wait_for("the keys to expire", lambda: self.client.keys() == [])
        self.assertEqual(self.t.publish("r1", 2, event(2)), ["LOST"])
        reply = self.t.begin("r1", 2, event(2))
        self.assertGreater(reply[1].split("-"), last.split("-"))


if __name__ == "__main__":
    unittest.main()
