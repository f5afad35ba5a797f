"""A real redis-server for one test, on a unix socket in a directory of its own.

Nothing here sleeps for a fixed time: wait_for() polls a condition until a deadline."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import redis

DEADLINE_S = 20
_pause = threading.Event()  # never set
BINARY = os.environ.get("REDIS_SERVER", "redis-server")


def wait_for(what, condition, deadline_s=DEADLINE_S):
    """Returns the first true value of condition(); fails with `what` after the deadline."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("waited %d s for %s" % (deadline_s, what))
        _pause.wait(0.005)


class RedisServer:
    def __init__(self, *options, tcp=False):
        self.home = tempfile.mkdtemp(prefix="threadcast-redis-")
        self.data = os.path.join(self.home, "data")
        self.socket = os.path.join(self.home, "redis.sock")
        self.options = list(options)
        self.port = free_port() if tcp else 0
        self.process = None
        os.mkdir(self.data)
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [BINARY, "--port", str(self.port), "--bind", "127.0.0.1",
             "--unixsocket", self.socket, "--dir", self.data, "--appendonly", "yes",
             "--save", "", "--maxmemory-policy", "noeviction",
             "--logfile", os.path.join(self.home, "log")] + self.options,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for("redis-server to answer", self.answers)

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError("redis-server ended: " + self.log())
        client = self.client()
        try:
            return client.ping()
        except redis.RedisError:
            return False
        finally:
            client.close()
            client.connection_pool.disconnect()

    def client(self, **kwargs):
        return redis.Redis(unix_socket_path=self.socket, **kwargs)

    def run_id(self):
        client = self.client()
        try:
            return client.info("server")["run_id"]
        finally:
            client.connection_pool.disconnect()

    def kill(self):
        """As a crash does: SIGKILL."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """As an operator does: SIGTERM, which writes everything."""
        self.process.terminate()
        self.process.wait()

    def restart(self):
        self.stop()
        self.start()

    def backup(self):
        """Stops, keeps a copy of the data, starts again; restore() goes back to it."""
        self.stop()
        copy = os.path.join(self.home, "backup")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.data, copy)
        self.start()

    def restore(self):
        self.stop()
        shutil.rmtree(self.data)
        shutil.copytree(os.path.join(self.home, "backup"), self.data)
        self.start()

    def log(self):
        try:
            with open(os.path.join(self.home, "log"), encoding="utf-8") as f:
                return f.read()[-2000:]
        except OSError:
            return "(no log)"

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
