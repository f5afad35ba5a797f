"""docs/PUBLISHING.md: what can be pasted works, and the rights it prints are the ones that
the other tests have tried."""

import os
import re
import shutil
import subprocess
import unittest

from caller import HERE, Caller
from redis_server import RedisServer
from test_refusals import RIGHTS

ROOT = os.path.join(HERE, "..", "..")


class Publishing(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(os.path.join(ROOT, "docs", "PUBLISHING.md"), encoding="utf-8") as f:
            cls.text = f.read()

    def test_the_example_for_a_shell(self):
        server = RedisServer()
        self.addCleanup(server.close)
        folder = os.path.join(server.home, "bin") # redis-cli that knows its server
        os.mkdir(folder)
        shim = os.path.join(folder, "redis-cli")
        with open(shim, "w", encoding="utf-8") as f:
            f.write('#!/bin/sh\nexec %s -s %s "$@"\n' % (shutil.which("redis-cli"),
                                                          server.socket))
        os.chmod(shim, 0o755)
        (example,) = re.findall(r"```sh\n(.*?)```", self.text, re.S)
        for shell in ("sh", "bash"):
            with self.subTest(shell):
                server.client().flushall()
                done = subprocess.run(
                    [shell], input=example, cwd=ROOT, timeout=30, capture_output=True,
                    encoding="utf-8", check=False,
                    env={**os.environ, "PATH": folder + ":" + os.environ["PATH"]})
                self.assertEqual(done.stderr, "")
                words = [w for w in done.stdout.split() if re.match(r"[A-Z]+$", w)]
                self.assertEqual(words[:6], ["OK", "OK", "OK", "GAP", "OK", "ENDED"])
                entries = Caller(server.client()).entries()
                self.assertEqual("".join(e["content"] for _, e in entries
                                         if e["type"] == "token"), "Hello")
                self.assertEqual(entries[-1][1]["content"]["finishReason"], "stop")

    def test_the_rights(self):
        (printed,) = re.findall(r"ACL SETUSER agent on >… (.*?)```", self.text, re.S)
        self.assertEqual(printed.split(), RIGHTS)

    def test_every_answer_and_error_is_described(self):
        with open(os.path.join(ROOT, "common", "publish.lua"), encoding="utf-8") as f:
            script = f.read()
        for word in set(re.findall(r"'([A-Z]{2,})'[,}]", script)) - {"COUNT", "STREAM", "MINID"}:
            if "return {'%s'" % word in script:
                self.assertIn("| `%s`" % word, self.text)
        for word in set(re.findall(r"THREADCAST (\w+)", script)):
            self.assertIn("`THREADCAST " + word, self.text)


if __name__ == "__main__":
    unittest.main()
