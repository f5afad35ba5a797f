"""The package: the script inside it, its metadata, the examples of its README."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile

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

    @unittest.skipUnless(os.environ.get("THREADCAST_FULL"), "a wheel: THREADCAST_FULL=1")
    def test_the_wheel(self):
        with tempfile.TemporaryDirectory() as folder:
            source = os.path.join(folder, "source")
            shutil.copytree(SDK, source, ignore=shutil.ignore_patterns(
                "dist", "build", "*.egg-info"))
            build = "import sys; from setuptools import build_meta as b; b.build_wheel(sys.argv[1])"
            subprocess.run([sys.executable, "-c", build, folder], cwd=source, check=True,
                           capture_output=True, timeout=120)
            (wheel,) = [f for f in os.listdir(folder) if f.endswith(".whl")]
            self.assertEqual(wheel, "threadcast-%s-py3-none-any.whl" % threadcast.__version__)
            with zipfile.ZipFile(os.path.join(folder, wheel)) as packed:
                names = {n for n in packed.namelist() if n.startswith("threadcast/")}
                self.assertEqual(packed.read("threadcast/publish.lua"), _script.TEXT)
        here = os.listdir(os.path.join(SDK, "threadcast"))
        self.assertEqual(names, {"threadcast/" + n for n in here if n != "__pycache__"})

    def test_the_examples_of_the_readme(self):
        text = read(SDK, "README.md").decode()
        examples = [e for e in re.findall(r"```python\n(.*?)```", text, re.S)
                    if "threadcast.client" not in e] # sdk-readers.test.mjs has a bridge
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
