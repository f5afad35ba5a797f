"""What publish.lua answers, mode by mode, and that a call sent again does nothing twice."""

import json
import unittest

import redis

from caller import Caller, Listener, event
from redis_server import RedisServer


class Replies(unittest.TestCase):
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

    def assertNumbers(self, *expected):
        self.assertEqual([e["n"] for _, e in self.t.entries()], list(expected))

    def test_a_run_from_begin_to_end(self):
        ok, first, last, following = self.t.begin("r1", 1, event(1), event(2))
        epoch = first.split("-")[0]
        self.assertEqual((ok, first, last, following),
                         ("OK", epoch + "-1", epoch + "-2", "3"))
        self.assertEqual(self.t.fields()["r:r1"], "1 3 %s-1 w1" % epoch)
        self.assertEqual(self.t.publish("r1", 3, event(3)),
                         ["OK", epoch + "-3", epoch + "-3", "4"])
        self.assertEqual(self.t.end("r1", 4, event(4)),
                         ["OK", epoch + "-4", epoch + "-4", "5"])
        fields = self.t.fields()
        self.assertNotIn("r:r1", fields)
        self.assertEqual(fields["x:r1"], "1 %s-1 %s-4" % (epoch, epoch))
        self.assertEqual(fields["bytes"], str(self.t.bytes_in_log()))
        self.assertEqual((fields["v"], fields["epoch"], fields["n"], fields["redis"]),
                         ("1", epoch, "4", self.t.run_id))
        self.assertNumbers(1, 2, 3, 4)

    def test_subscribers_get_the_bytes_of_the_log(self):
        listener = Listener(self.server, self.t.channel)
        self.t.begin("r1", 1, event(1, text="Österreich 🇦🇹"), event(2))
        self.t.end("r1", 3, event(3))
        live = listener.messages(self.client)
        listener.close()
        self.assertEqual(live, [f[b"e"].decode() for _, f in self.client.xrange(self.t.log)])

    def test_a_prefix_goes_before_every_name(self):
        t = Caller(self.client, prefix="app:")
        t.begin("r1", 1, event(1))
        self.assertEqual(sorted(self.client.keys()),
                         [b"app:{thread:t1}:log", b"app:{thread:t1}:state"])

    def test_begin_and_end_in_one_call(self):
        reply = self.t.call("beginend", "r1", 1, event(1), event(2), event(3))
        self.assertEqual(reply[0::3], ["OK", "4"])
        self.assertEqual(self.t.fields()["x:r1"], "1 %s %s" % (reply[1], reply[2]))
        self.assertEqual(self.t.call("beginend", "r1", 1, event(1), event(2), event(3)),
                         ["ENDED", reply[2]])
        self.assertNumbers(1, 2, 3)

    # Sent again, because the answer did not arrive.

    def test_begin_again(self):
        self.t.begin("r1", 1, event(1), event(2))
        before = self.t.fields()
        self.assertEqual(self.t.begin("r1", 1, event(1), event(2)), ["OK", "", "", "3"])
        self.assertEqual(self.t.fields(), before)
        self.assertNumbers(1, 2)

    def test_begin_again_with_more(self):
        _, first, _, _ = self.t.begin("r1", 1, event(1), event(2))
        reply = self.t.begin("r1", 1, event(1), event(2), event(3))
        self.assertEqual((reply[1], reply[2]), (reply[1], reply[1]))
        self.assertTrue(reply[1].endswith("-3"))
        self.assertEqual(self.t.fields()["r:r1"], "1 4 %s w1" % first) # began stays
        self.assertNumbers(1, 2, 3)

    def test_publish_again(self):
        self.t.begin("r1", 1, event(1))
        self.t.publish("r1", 2, event(2), event(3))
        before = self.t.fields()
        self.assertEqual(self.t.publish("r1", 2, event(2), event(3)), ["OK", "", "", "4"])
        self.assertEqual(self.t.publish("r1", 1, event(1)), ["OK", "", "", "4"])
        self.assertEqual(self.t.fields(), before)
        self.assertNumbers(1, 2, 3)

    def test_publish_again_in_part(self):
        self.t.begin("r1", 1, event(1))
        self.t.publish("r1", 2, event(2))
        reply = self.t.publish("r1", 2, event(2), event(3), event(4))
        self.assertEqual((reply[0], reply[1][-2:], reply[2][-2:], reply[3]),
                         ("OK", "-3", "-4", "5"))
        self.assertNumbers(1, 2, 3, 4)

    def test_end_again(self):
        self.t.begin("r1", 1, event(1))
        _, _, last, _ = self.t.end("r1", 2, event(2))
        self.assertEqual(self.t.end("r1", 2, event(2)), ["ENDED", last])
        self.assertNumbers(1, 2)

    def test_end_whose_events_are_there(self):
        _, first, _, _ = self.t.begin("r1", 1, event(1))
        _, _, last, _ = self.t.publish("r1", 2, event(2))
        self.assertEqual(self.t.end("r1", 2, event(2)), ["OK", "", "", "3"])
        fields = self.t.fields()
        self.assertEqual(fields["x:r1"], "1 %s %s" % (first, last))
        self.assertNotIn("r:r1", fields)
        self.assertNumbers(1, 2)

    def test_outside_again_with_a_once_key(self):
        first = self.t.outside(event(1), event(2), once="k", body_hash="aa")
        self.assertEqual(first[0::3], ["OK", "0"])
        self.assertEqual(self.t.outside(event(1), event(2), once="k", body_hash="aa"),
                         ["ONCE", first[1], first[2]])
        self.assertEqual(self.t.outside(event(9), once="k", body_hash="bb"), ["CONFLICT"])
        self.assertNumbers(1, 2)
        key = self.t.once_key("k")
        self.assertEqual(self.client.get(key).decode(), "aa %s %s" % (first[1], first[2]))
        self.assertTrue(86390 < self.client.ttl(key) <= 86400)

    def test_without_a_once_key_the_state_may_stand_there(self):
        reply = self.client.evalsha(
            self.t.sha, 3, self.t.log, self.t.state, self.t.state, "1", "outside",
            self.t.channel, 10, 1000, 60, self.t.run_id, "", 0, 0, "", event(1))
        self.assertEqual(reply[0], b"OK")

    # Refused.

    def test_gap(self):
        self.t.begin("r1", 1, event(1), event(2))
        before = self.t.fields()
        self.assertEqual(self.t.publish("r1", 5, event(5)), ["GAP", "3"])
        self.assertEqual(self.t.end("r1", 4, event(4)), ["GAP", "3"])
        self.assertEqual(self.t.fields(), before)
        self.assertNumbers(1, 2)

    def test_lost_when_never_begun(self):
        self.assertEqual(self.t.publish("r1", 1, event(1)), ["LOST"])
        self.assertEqual(self.t.end("r1", 1, event(1)), ["LOST"])
        self.assertEqual(self.client.keys(), [])

    def test_fence(self):
        self.t.begin("r1", 1, event(1), attempt=2)
        before = self.t.fields()
        for mode in ("begin", "publish", "end", "beginend"):
            self.assertEqual(self.t.call(mode, "r1", 1, event(9), attempt=1), ["FENCED", "2"])
        self.assertEqual(self.t.publish("r1", 1, event(9), attempt=3), ["LOST"])
        self.assertEqual(self.t.fields(), before)
        self.assertNumbers(1)

    def test_a_higher_attempt_begins_anew(self):
        self.t.begin("r1", 1, event(1), event(2), attempt=1)
        reply = self.t.begin("r1", 1, event(11), attempt=2)
        self.assertEqual(self.t.fields()["r:r1"], "2 2 %s w1" % reply[1])
        self.assertEqual(self.t.publish("r1", 3, event(3), attempt=1), ["FENCED", "2"])
        self.assertNumbers(1, 2, 11)

    def test_the_same_attempt_begins_anew_behind_its_numbers(self):
        self.t.begin("r1", 1, event(1), event(2))
        reply = self.t.begin("r1", 3, event(3), event(4))
        self.assertEqual(self.t.fields()["r:r1"], "1 5 %s w1" % reply[1])
        self.assertEqual(self.t.begin("r1", 3, event(3), event(4)), ["OK", "", "", "5"])
        self.assertNumbers(1, 2, 3, 4)

    def test_nothing_follows_an_end(self):
        self.t.begin("r1", 1, event(1))
        _, _, last, _ = self.t.end("r1", 2, event(2))
        for mode in ("begin", "publish", "end", "beginend"):
            for attempt in (1, 2):
                self.assertEqual(self.t.call(mode, "r1", 3, event(3), attempt=attempt),
                                 ["ENDED", last])
        self.assertNumbers(1, 2)

    def test_outside_events_cannot_claim_a_run(self):
        self.t.begin("live", 1, event(1))
        self.t.call("beginend", "over", 1, event(2))
        self.assertEqual(self.t.outside(event(3), claims="other live"), ["TAKEN", "live"])
        self.assertEqual(self.t.outside(event(3), claims="over"), ["TAKEN", "over"])
        self.assertEqual(self.t.outside(event(3), claims="other")[0], "OK")
        self.assertNotIn("r:other", self.t.fields())
        self.assertNumbers(1, 2, 3)

    def test_a_kept_answer_goes_before_a_claim(self):
        first = self.t.outside(event(1), claims="r1", once="k", body_hash="aa")
        self.t.begin("r1", 1, event(2))
        self.assertEqual(self.t.outside(event(1), claims="r1", once="k", body_hash="aa"),
                         ["ONCE", first[1], first[2]])

    def test_wrong_arguments_do_nothing(self):
        good = ["1", "begin", self.t.channel, 10, 1000, 60, self.t.run_id, "r1", 1, 1, "w",
                event(1)]
        keys = [self.t.log, self.t.state]
        wrong = [
            (0, "2", "version 2"), (0, "", "version"), (1, "Begin", "mode"), (1, "", "mode"),
            (2, "", "channel"), (3, "0", "limits"), (3, "x", "limits"), (3, "1.5", "limits"),
            (4, "-1", "limits"), (4, "nan", "limits"), (5, "0", "limits"), (6, "", "run_id"),
            (7, "", "run is"), (7, "a b", "run is"), (8, "0", "attempt"), (8, "x", "attempt"),
            (9, "0", "number"), (9, "1.5", "number"), (9, "inf", "number"),
            (9, "nan", "number"), (9, "9007199254740992", "number"),
            (11, "{}", "event 1"), (11, '{"id":"1-1","type":"token"}', "event 1"),
            (11, "[]", "event 1"), (11, "", "event 1"), (11, ' {"type":1}', "event 1"),
        ]
        for index, value, words in wrong:
            with self.subTest(index=index, value=value):
                args = list(good)
                args[index] = value
                with self.assertRaisesRegex(redis.ResponseError, "THREADCAST .*" + words):
                    self.client.evalsha(self.t.sha, 2, *keys, *args)
        for count, some in ((2, keys + good[:11]), (1, keys[:1] + good), (0, []),
                            (2, keys[:1] * 2 + good), (3, keys + ["once"] + good),
                            (3, keys + keys[:1] + good)):
            with self.subTest(keys=count, args=len(some)):
                with self.assertRaisesRegex(redis.ResponseError, "THREADCAST"):
                    self.client.evalsha(self.t.sha, count, *some)
        with self.assertRaisesRegex(redis.ResponseError, "THREADCAST .*event 3"):
            self.t.begin("r1", 1, event(1), event(2), "7")
        with self.assertRaisesRegex(redis.ResponseError, "THREADCAST .*hash"):
            self.t.outside(event(1), once="k")
        self.assertEqual(self.client.keys(), [])

    # Long lives.

    def test_the_last_256_ended_are_remembered(self):
        for i in range(319):
            self.t.call("beginend", "r%d" % i, 1, event(i))
        def ended():
            return sorted(int(f[3:]) for f in self.t.fields() if f.startswith("x:"))
        self.assertLessEqual(len(ended()), 320)
        for i in range(319, 700):
            self.t.call("beginend", "r%d" % i, 1, event(i))
            kept = ended()
            self.assertTrue(256 <= len(kept) <= 320, len(kept))
            self.assertEqual(kept, list(range(i + 1 - len(kept), i + 1)))

    def test_live_runs_do_not_push_out_ended_ones(self):
        for i in range(400):
            self.t.begin("live%d" % i, 1, event(i))
        for i in range(260):
            self.t.call("beginend", "r%d" % i, 1, event(i))
        names = self.t.fields()
        self.assertEqual(sum(f.startswith("x:") for f in names), 260)
        self.assertEqual(sum(f.startswith("r:") for f in names), 400)

    def test_no_number_is_printed_as_a_float(self):
        big = 900719925474099
        self.t.begin("r1", big, event(1), attempt=big)
        self.t.publish("r1", big + 1, event(2), attempt=big)
        self.assertEqual(self.t.publish("r1", big + 3, event(2), attempt=big),
                         ["GAP", str(big + 2)])
        self.assertEqual(self.t.begin("r1", 1, event(3)), ["FENCED", str(big)])
        self.client.hset(self.t.state, mapping={"epoch": "5000000000000000"})
        reply = self.t.publish("r1", big + 2, event(3), attempt=big, run_id="other")
        self.assertEqual(reply[1], "5000000000000001-1")
        for text in list(self.t.fields().values()) + [i for i, _ in self.t.entries()]:
            self.assertNotRegex(text, r"e\+|\.")

    def test_many_events_in_one_call(self):
        events = [event(i) for i in range(1, 2001)]
        reply = self.t.begin("r1", 1, *events)
        self.assertEqual((reply[0], reply[3]), ("OK", "2001"))
        self.assertNumbers(*range(1, 2001))

    def test_events_are_not_touched(self):
        texts = ['{"a":"\\u2028 \\" }{","b":[1,{}]}', json.dumps({"x": "ä" * 70000}),
                 '{"":null}', '{"a":1} ']
        self.t.begin("r1", 1, *texts)
        for (entry_id, fields), text in zip(self.client.xrange(self.t.log), texts):
            self.assertEqual(fields[b"e"].decode(),
                             '{"id":"%s",' % entry_id.decode() + text[1:])


if __name__ == "__main__":
    unittest.main()
