"""The thinnest possible caller of publish.lua: one method, no retry, no memory."""

import json
import os

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPT_PATH = os.path.join(HERE, "..", "..", "common", "publish.lua")

with open(SCRIPT_PATH, "rb") as f:
    SCRIPT = f.read()


def event(n=1, type="token", **fields):
    """An event as a caller gives it: compact JSON without an id."""
    return json.dumps({"type": type, "n": n, **fields}, separators=(",", ":"))


class Caller:
    """Speaks for one thread over one client (redis-py)."""

    def __init__(self, client, thread="t1", prefix="", script=SCRIPT, run_id=None):
        self.client = client
        self.prefix = prefix
        self.channel = "%sthread:%s" % (prefix, thread)
        self.log = "%s{thread:%s}:log" % (prefix, thread)
        self.state = "%s{thread:%s}:state" % (prefix, thread)
        self.script = script
        self.sha = client.script_load(script)
        self.run_id = run_id or client.info("server")["run_id"]

    def once_key(self, key):
        return self.log[:-len("log")] + "once:" + key

    def call(self, mode, run, number, *events, attempt=1, worker="w1", once=None,
             max_events=20000, max_bytes=1 << 24, ttl=86400, run_id=None):
        keys = [self.log, self.state] + ([self.once_key(once)] if once else [])
        reply = self.client.evalsha(
            self.sha, len(keys), *keys, "1", mode, self.channel, max_events, max_bytes, ttl,
            run_id or self.run_id, run, attempt, number, worker, *events)
        return [item.decode() if isinstance(item, bytes) else item for item in reply]

    def begin(self, run, number, *events, **options):
        return self.call("begin", run, number, *events, **options)

    def publish(self, run, number, *events, **options):
        return self.call("publish", run, number, *events, **options)

    def end(self, run, number, *events, **options):
        return self.call("end", run, number, *events, **options)

    def outside(self, *events, claims="", body_hash="", once=None, **options):
        return self.call("outside", claims, 0, *events, attempt=0, worker=body_hash,
                         once=once, **options)

    def entries(self):
        """[(id, event)] of the log, every one checked to hold its own id, first."""
        result = []
        for entry_id, fields in self.client.xrange(self.log):
            entry_id, text = entry_id.decode(), fields[b"e"].decode()
            assert text.startswith('{"id":"%s",' % entry_id), (entry_id, text)
            result.append((entry_id, json.loads(text)))
        return result

    def fields(self):
        return {k.decode(): v.decode() for k, v in self.client.hgetall(self.state).items()}

    def bytes_in_log(self):
        return sum(len(f[b"e"]) for _, f in self.client.xrange(self.log))


class Listener:
    """A subscriber that can say: nothing arrived up to here."""

    def __init__(self, server, channel):
        self.client = server.client()
        self.channel = channel
        self.pubsub = self.client.pubsub()
        self.pubsub.subscribe(channel)
        assert self.pubsub.get_message(timeout=10)["type"] == "subscribe"

    def messages(self, admin):
        """Everything up to a mark that admin publishes now."""
        admin.publish(self.channel, "mark")
        result = []
        while True:
            message = self.pubsub.get_message(timeout=10)
            assert message, "the mark did not arrive"
            if message["data"] == b"mark":
                return result
            result.append(message["data"].decode())

    def close(self):
        self.pubsub.close()
        self.client.connection_pool.disconnect()
