"""The part without sockets: merging, timing, limits, folding."""

import json
import unittest

import support  # noqa: F401
from threadcast import Ended, EventTooLarge, Fenced, Limits, Refused
from threadcast import _story
from threadcast._event import clean, pieces
from threadcast._script import Place
from threadcast._story import Story


def story(attempt=1, flush_s=0.025, begun=True, **limits):
    s = Story(Place("t1", "", Limits(**limits)), "r1", "m1", "a1", attempt, "w1", flush_s)
    if begun:
        ok(s, s.take(0.0))
    return s


def ok(s, call, epoch="7"):
    call.tries += 1
    first = call.number
    s.answered(["OK", "%s-%d" % (epoch, first), "%s-%d" % (epoch, first + len(call.events) - 1),
                str(first + len(call.events))])


def contents(call):
    result = []
    for event in map(json.loads, call.events):
        content = event["content"]
        result.append(content if isinstance(content, str) else
                      content.get("text") or content.get("status") or content.get("kind") or
                      content.get("finishReason"))
    return result


class Taking(unittest.TestCase):
    def test_the_first_call_begins(self):
        s = story(begun=False)
        call = s.take(0.0)
        self.assertEqual((call.mode, call.number, contents(call)), ("begin", 1, ["started"]))
        self.assertIs(s.take(9.0), call, "nothing else before its answer")

    def test_a_later_attempt_begins_with_rewind(self):
        self.assertEqual(contents(story(attempt=2, begun=False).take(0.0)), ["rewind"])

    def test_an_event_has_all_its_fields(self):
        s = story()
        s.add_text("token", "Österreich 🇦🇹")
        (event,) = s.take(1.0).events
        self.assertTrue(event.startswith(b'{"type":"token","threadId":"t1","content":'))
        event = json.loads(event)
        self.assertIsInstance(event.pop("ts"), int)
        self.assertEqual(event, {
            "type": "token", "threadId": "t1", "content": "Österreich 🇦🇹", "runId": "r1",
            "agentId": "a1", "messageId": "m1", "attempt": 1})

    def test_the_first_token_leaves_at_once_others_wait_and_merge(self):
        s = story()
        s.add_text("token", "a")
        call = s.take(0.001)
        self.assertEqual((call.mode, call.number, contents(call)), ("publish", 2, ["a"]))
        ok(s, call)
        s.add_text("token", "b")
        self.assertIsNone(s.take(0.002))
        s.add_text("token", "c")
        self.assertAlmostEqual(s.wait_s(0.002), 0.024)
        self.assertEqual(contents(s.take(0.027)), ["bc"])

    def test_anything_else_leaves_at_once_and_passes_no_token(self):
        s = story()
        s.add_text("token", "a")
        ok(s, s.take(0.0))
        s.add_text("token", "b")
        s.add("delta", {"kind": "step"})
        s.add_text("token", "c")
        s.add_text("reasoning", "d")
        s.add_text("reasoning", "e")
        s.add_text("token", "f")
        self.assertEqual(contents(s.take(0.001)), ["b", "step", "c", "de", "f"])

    def test_what_waits_for_an_answer_merges(self):
        s = story()
        s.add_text("token", "a")
        first = s.take(1.0)
        for c in "bcdef":
            s.add_text("token", c)
        self.assertIs(s.take(2.0), first)
        ok(s, first)
        self.assertEqual(contents(s.take(2.0)), ["bcdef"])

    def test_the_interval_doubles_every_thousand_events_up_to_200_ms(self):
        s = story()
        seen = []
        for i in range(5000):
            s.add("delta", {"kind": "x"})
            ok(s, s.take(float(i)))
            seen.append(s._interval())
        self.assertEqual(sorted(set(seen)), [0.025, 0.05, 0.1, 0.2])
        self.assertEqual((seen[990], seen[1100], seen[4999]), (0.025, 0.05, 0.2))

    def test_a_call_is_limited(self):
        s = story()
        for i in range(300):
            s.add("delta", {"kind": str(i)})
        sizes = []
        while not s.idle():
            call = s.take(1.0)
            sizes.append(len(call.events))
            ok(s, call)
        self.assertEqual(sizes, [128, 128, 44])
        for i in range(12):
            s.add("delta", {"kind": "x", "data": "y" * 200000})
        call = s.take(1.0)
        self.assertEqual(len(call.events), 5)
        self.assertLess(sum(map(len, call.events)), _story.CALL_MAX_BYTES)

    def test_long_text_is_cut_between_characters(self):
        text = "a" + "🇦🇹ß\u0001" * 20000
        parts = list(pieces(text))
        self.assertEqual("".join(parts), text)
        self.assertTrue(all(len(p.encode()) <= 32768 for p in parts))
        s = story()
        s.add_text("token", text)
        s.done("stop")
        got = ""
        while not s.idle():
            call = s.take(1.0)
            self.assertTrue(all(len(e) + 64 <= 256 * 1024 for e in call.events))
            got += "".join(json.loads(e)["content"] for e in call.events
                           if json.loads(e)["type"] == "token")
            ok(s, call)
        self.assertEqual(got, text)

    def test_an_event_too_large_is_refused_alone(self):
        s = story()
        with self.assertRaises(EventTooLarge):
            s.add("delta", {"kind": "x", "data": "y" * 262144})
        with self.assertRaises(EventTooLarge):
            s.add("delta", {"kind": "x", "data": "\u0001" * 50000})
        s.add("delta", {"kind": "x", "data": "y" * 261800})
        self.assertEqual(len(s.take(1.0).events), 1)

    def test_what_json_cannot_say_is_refused(self):
        s = story()
        nested = []
        for _ in range(40):
            nested = [nested]
        for bad in ({"a": float("nan")}, {"a": float("inf")}, {"a": {1, 2}}, {"a": b"x"},
                    {"a": nested}):
            with self.subTest(bad=str(bad)[:40]), self.assertRaises((ValueError, TypeError)):
                s.add("delta", bad)
        with self.assertRaises(TypeError):
            s.add_text("token", b"bytes")
        self.assertTrue(s.idle())

    def test_what_utf8_cannot_say_is_replaced(self):
        self.assertEqual(clean("a\ud83d\ude00b\ud800c\0"), "a😀b\ufffdc\ufffd")
        s = story()
        s.add("delta", {"kind": "x", "a\0": ["\udfff"]})
        self.assertEqual(json.loads(s.take(1.0).events[0])["content"]["a\ufffd"], ["\ufffd"])

    def test_empty_text_is_nothing(self):
        s = story()
        s.add_text("token", "")
        self.assertTrue(s.idle())

    def test_the_end(self):
        s = story()
        s.add_text("token", "a")
        s.usage = {"inputTokens": 1}
        s.done("length")
        call = s.take(0.0)
        self.assertEqual(call.mode, "end")
        self.assertEqual(json.loads(call.events[-1])["content"], {
            "messageId": "m1", "finishReason": "length", "usage": {"inputTokens": 1}})
        ok(s, call)
        self.assertTrue(s.over)
        with self.assertRaises(RuntimeError):
            s.add_text("token", "b")

    def test_begun_and_ended_in_one_call(self):
        s = story(begun=False)
        s.add_text("token", "a")
        s.done("stop")
        self.assertEqual(s.take(0.0).mode, "beginend")


class Refusals(unittest.TestCase):
    def told(self, s):
        """A run that has said something of everything."""
        s.add_text("reasoning", "hmm ")
        s.add_text("token", "Hel")
        ok(s, s.take(1.0))
        s.add("status", {"status": "thinking"})
        s.add("delta", {"kind": "tool_call", "toolCallId": "1"})
        s.add("delta", {"kind": "progress", "completed": 1})
        s.add("delta", {"kind": "tool_result", "toolCallId": "1"})
        s.add("status", {"status": "typing"})
        s.add_text("reasoning", "aha")
        s.add_text("token", "lo")
        return s.take(2.0)

    FOLDED = ["rewind", "hmm aha", "tool_call", "tool_result", "typing", "Hello"]

    def test_lost_and_gap_begin_anew_folded(self):
        for reply in (["LOST"], ["GAP", "2"]):
            with self.subTest(reply):
                s = story()
                call = self.told(s)
                s.add_text("token", " there")
                s.answered(reply)
                again = s.take(2.0)
                self.assertEqual((again.mode, again.number), ("begin", call.number))
                self.assertEqual(contents(again), self.FOLDED)
                ok(s, again, epoch="8")
                rest = s.take(3.0)
                self.assertEqual((rest.number, contents(rest)),
                                 (call.number + len(self.FOLDED), [" there"]))

    def test_lost_at_the_end(self):
        s = story()
        ok(s, self.told(s))
        s.done("stop")
        call = s.take(3.0)
        s.answered(["LOST"])
        again = s.take(3.0)
        self.assertEqual((again.mode, contents(again)), ("beginend", self.FOLDED + ["stop"]))
        self.assertEqual(again.number, call.number)
        ok(s, again)
        self.assertTrue(s.over)

    def test_lost_twice_tells_all_once(self):
        s = story()
        self.told(s)
        s.answered(["LOST"])
        ok(s, s.take(2.0))
        s.add_text("token", "!")
        s.take(3.0)
        s.answered(["LOST"])
        self.assertEqual(contents(s.take(3.0)), self.FOLDED[:-1] + ["Hello!"])

    def test_lost_for_ever(self):
        s = story()
        s.add_text("token", "x")
        for _ in range(10):
            s.take(1.0)
            s.answered(["LOST"])
            self.assertIsNone(s.failure)
        s.take(1.0)
        s.answered(["LOST"])
        self.assertIsInstance(s.failure, Refused)

    def test_fenced(self):
        s = story()
        s.add_text("token", "x")
        s.take(1.0)
        s.answered(["FENCED", "3"])
        self.assertIsInstance(s.failure, Fenced)
        self.assertEqual(s.failure.attempt, 3)
        with self.assertRaises(Fenced):
            s.add_text("token", "y")

    def test_ended_by_somebody_else(self):
        s = story()
        s.done("stop")
        s.take(1.0).tries = 1
        s.answered(["ENDED", "7-9"])
        self.assertIsInstance(s.failure, Ended)
        self.assertEqual(s.failure.id, "7-9")

    def test_ended_by_our_own_call_whose_answer_was_lost(self):
        s = story()
        s.done("stop")
        s.take(1.0).tries = 2
        s.answered(["ENDED", "7-9"])
        self.assertIsNone(s.failure)
        self.assertTrue(s.over)


class LongRuns(unittest.TestCase):
    def test_begins_anew_when_half_of_the_events_have_passed(self):
        s = story(max_events=100)
        modes = []
        for i in range(120):
            s.add_text("token", "x")
            call = s.take(float(i))
            modes.append((call.mode, len(call.events)))
            ok(s, call)
        begins = [i for i, (mode, _) in enumerate(modes) if mode == "begin"]
        self.assertEqual(begins, [50, 99])
        self.assertEqual(modes[50], ("begin", 3))  # rewind, the text, the new token
        self.assertEqual(s.text, "x" * 120)

    def test_counts_what_others_write(self):
        s = story(max_events=100)
        s.add_text("token", "x")
        call = s.take(1.0)
        s.answered(["OK", "7-60", "7-60", str(call.number + 1)])
        s.add_text("token", "y")
        self.assertEqual(s.take(2.0).mode, "begin")

    def test_begins_anew_when_half_of_the_bytes_have_passed(self):
        s = story(max_bytes=100000)
        for i in range(9):
            s.add("delta", {"kind": "progress", "data": "x" * 10000})
            call = s.take(float(i))
            ok(s, call)
            if call.mode == "begin":
                break
        self.assertEqual((i, contents(call)), (5, ["rewind", "progress"]))

    def test_not_again_and_again_when_the_fold_fills_the_log(self):
        s = story(max_bytes=20000)
        s.add_text("token", "x" * 30000)
        begins = 0
        for i in range(100):
            s.add_text("token", "y" * 100)
            call = s.take(float(i))
            begins += call.mode == "begin"
            ok(s, call)
        self.assertLess(begins, 3)


if __name__ == "__main__":
    unittest.main()
