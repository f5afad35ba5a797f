"""The package: the script inside it, its metadata, the examples of its README."""

import os
import re
import subprocess
import sys
import unittest

import threadcast
from support import ROOT, SDK, Reader, WithRedis
from threadcast import _script


def read(*path):
    with open(os.path.join(*path), "rb") as f:
        return f.read()


class Package(WithRedis):
    def test_the_script_is_the_one_script(self):
        self.assertEqual(read(SDK, "threadcast", "publish.lua"),
                         read(ROOT, "common", "publish.lua"))
        self.assertEqual(self.client.script_load(_script.TEXT), _script.SHA)

    def test_metadata(self):
        text = read(SDK, "pyproject.toml").decode()
        self.assertIn('threadcast = ["publish.lua", "py.typed"]', text)
        self.assertIn('requires-python = ">=3.9"', text)
        self.assertIn('client = ["httpx>=', text)
        self.assertTrue(os.path.exists(os.path.join(SDK, "threadcast", "py.typed")))
        for name in threadcast.__all__:
            self.assertTrue(hasattr(threadcast, name), name)

    def test_the_examples_of_the_readme(self):
        text = read(SDK, "README.md").decode()
        examples = re.findall(r"```python\n(.*?)```", text, re.S)
        self.assertGreaterEqual(len(examples), 4)
        for index, example in enumerate(examples):
            with self.subTest(example=index):
                self.client.flushall()
                self.assertIn("redis://127.0.0.1:6379", example)
                done = subprocess.run(
                    [sys.executable, "-c", example.replace(
                        "redis://127.0.0.1:6379", "unix://" + self.server.socket)],
                    env={**os.environ, "PYTHONPATH": SDK}, capture_output=True, timeout=30)
                self.assertEqual(done.returncode, 0, done.stderr.decode())
                self.assertGreater(len(Reader(self.client).events), 0)


if __name__ == "__main__":
    unittest.main()
