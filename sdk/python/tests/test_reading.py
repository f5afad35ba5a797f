"""The subscriber without sockets: bytes into blocks, where to go on, how long to wait. What
it does with real bridges is in tests/e2e/sdk-readers.test.mjs."""

import json
import unittest
from unittest import mock

import support  # noqa: F401
from threadcast import Refused, ThreadcastError
from threadcast._course import Course, path_of
from threadcast._sse import Block, Parser


def tell(course, id, retry_ms=100, **more):
    said = {"id": id, "type": "token", "threadId": "t1", **more}
    return course.block(Block("", json.dumps(said), id), retry_ms)


class Blocks(unittest.TestCase):
    def test_cut_at_every_byte(self):
        text = ('\ufeffretry: 70\n:threadcast\ndata: {"ä":\ndata: 1}\r\nid: 1-1\r\rdata:x\n'
                'event: ready\nid: 1-2\n\n:keepalive\nid: 1-3\n\nnonsense\ndata\n\ndata: no end')
        data = text.encode()
        for cut in range(len(data) + 1):
            parser = Parser()
            blocks = [b for part in (data[:cut], data[cut:]) for b in parser.push(part)]
            self.assertEqual(blocks, [
                Block("", "", "", "threadcast"), Block("", '{"ä":\n1}', "1-1"),
                Block("ready", "x", "1-2"), Block("", "", "", "keepalive"),
                Block("", "", "1-3")], cut)
            self.assertEqual(parser.retry_ms, 70)

    def test_a_block_without_an_end(self):
        with self.assertRaises(ThreadcastError):
            list(Parser().push(b"data: " + b"x" * (2 << 20)))


class Going(unittest.TestCase):
    def test_every_event_once_and_after_a_reset_again(self):
        course = Course(since="run")
        self.assertEqual(course.connect(), ({}, {"since": "run"}))
        self.assertFalse(tell(course, "5-1").again)
        self.assertEqual(tell(course, "5-3").id, "5-3")
        self.assertIsNone(tell(course, "5-2"))
        self.assertEqual(course.duplicates, 1)
        self.assertEqual(course.connect(), ({"Last-Event-ID": "5-2"}, {}))
        course.block(Block("reset", '{"reason":"x","threadId":"t1"}', "6-0"), None)
        self.assertEqual(course.position, "6-0")
        self.assertTrue(tell(course, "5-3").again)
        self.assertFalse(tell(course, "6-1").again)
        bare = course.block(Block("", '{"type":"test","attempt":"x"}', ""), None)
        self.assertEqual((bare.id, bare.type, bare.attempt), ("", "test", 0))
        self.assertIsNone(course.block(Block("", "no JSON", ""), None))
        self.assertIsNone(course.block(Block("", "[1]", ""), None))

    def test_answers(self):
        course = Course()
        for status in (408, 425, 429, 500, 502, 503, 504):
            course.answered(status, b"")
        for status in (200, 302, 400, 401, 403, 404, 501):
            with self.assertRaises(Refused) as caught:
                course.answered(status, b'{"error":{"code":"c","message":"m"}}')
            self.assertEqual((caught.exception.status, caught.exception.code), (status, "c"))
        with self.assertRaises(Refused) as caught:
            course.answered(404, b"<html>")
        self.assertEqual(str(caught.exception), "the bridge answers 404")
        self.assertFalse(course.over)
        course.answered(204, b"")
        self.assertTrue(course.over)

    def test_how_long_to_wait(self):
        course = Course()
        tell(course, "1-1")
        with mock.patch("random.random", return_value=1.0):
            waits = [course.lost_s() for _ in range(12)]
            self.assertEqual(waits[:4], [0.1, 0.2, 0.4, 0.8])
            self.assertEqual(waits[-1], 30.0)
            self.assertTrue(course.failing)
            course.block(Block("", "", "", "keepalive"), 100)
            self.assertFalse(course.failing)
        with mock.patch("random.random", return_value=0.0):
            self.assertEqual(course.lost_s(), 0.0)
            course.connect()
            course.block(Block("busy", "{}", ""), 100)
            self.assertEqual(course.lost_s(), 0.1, "not before the bridge has said")
            course.connect()
            self.assertEqual(course.lost_s(), 0.0)

    def test_a_right_to_read_that_ends(self):
        course = Course(ticket="a")
        self.assertEqual(course.connect(), ({}, {"ticket": "a"}))

        def auth(**data):
            return course.extends(course.block(Block("auth", json.dumps(data), ""), None))
        self.assertEqual(auth(expiresAt=10), "", "of a bridge that knows no other way")
        self.assertEqual(auth(expiresAt=10, connection="c", ticket="b"), "c")
        self.assertEqual(auth(expiresAt=20, connection="c"), "", "it was")
        self.assertEqual(auth(expiresAt=20, connection="c"), "c", "it ends, too")
        self.assertEqual(auth(expiresAt=20, connection="c", reason="expired"), "")
        self.assertEqual(course.connect(), ({}, {"ticket": "b"}))
        self.assertEqual(auth(expiresAt=30, connection="d"), "d")

    def test_a_run_is_over_with_its_end(self):
        course = Course(run="r1")
        tell(course, "1-1", runId="r2", type="done")
        self.assertFalse(course.over)
        tell(course, "1-2", runId="r1", type="error")
        self.assertTrue(course.over)

    def test_addresses(self):
        self.assertEqual(path_of("t1", None, True), ("/v1/threads/t1/events", []))
        self.assertEqual(path_of("a/b", None, False)[0], "/v1/threads/a%2Fb/events")
        self.assertEqual(path_of(["a", "b"], None, False), (
            "/v1/events", [("thread", "a"), ("thread", "b"), ("merge", "0")]))
        self.assertEqual(path_of(None, "r1", True), ("/v1/runs/r1/events", []))
        for wrong in (("t1", "r1"), (None, None)):
            with self.assertRaises(ValueError):
                path_of(*wrong, True)


if __name__ == "__main__":
    unittest.main()
