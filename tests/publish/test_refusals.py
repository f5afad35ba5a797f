"""What Redis may refuse, it refuses before anything was done: no key changes, and no
subscriber gets a byte."""

import contextlib
import shutil
import unittest

import redis

from caller import Caller, Listener, event
from redis_server import RedisServer, wait_for


class Refusals(unittest.TestCase):
    def setUp(self):
        self.server = RedisServer()
        self.addCleanup(self.server.close)
        self.admin = self.server.client()
        self.addCleanup(self.admin.connection_pool.disconnect)
        self.t = Caller(self.admin)

    def listen(self, server=None):
        listener = Listener(server or self.server, self.t.channel)
        self.addCleanup(listener.close)
        return listener

    def dump(self):
        return {key: self.admin.dump(key) for key in sorted(self.admin.keys())}

    def assertRefused(self, words, caller=None, fresh_too=True):
        """Every mode is refused, in a thread that has a live run and in an empty one."""
        caller = caller or self.t
        listener = self.listen()
        before = self.dump()
        calls = [("publish", "r1", 2), ("end", "r1", 2), ("begin", "r2", 1),
                 ("beginend", "r3", 1), ("outside", "", 0)]
        for mode, run, number in calls:
            with self.subTest(mode=mode):
                with self.refused(words):
                    caller.call(mode, run, number, event(7), event(8),
                                attempt=0 if mode == "outside" else 1)
        if fresh_too:
            empty = Caller(self.admin, thread="empty")
            empty.client, empty.sha = caller.client, caller.sha
            empty.channel = caller.channel
            for mode in ("begin", "beginend", "outside"):
                with self.subTest(mode=mode, thread="empty"):
                    with self.refused(words):
                        empty.call(mode, "" if mode == "outside" else "r1", 1, event(7))
        self.assertEqual(self.dump(), before)
        self.assertEqual(listener.messages(self.admin), [])

    @contextlib.contextmanager
    def refused(self, words):
        """redis-py turns known error codes into classes: look at both."""
        with self.assertRaises(redis.RedisError) as caught:
            yield
        self.assertRegex("%s %s" % (type(caught.exception).__name__, caught.exception), words)

    def user(self, *rules):
        self.admin.execute_command("ACL", "SETUSER", "agent", "reset", "on", ">secret", *rules)
        client = self.server.client(username="agent", password="secret")
        self.addCleanup(client.connection_pool.disconnect)
        caller = Caller.__new__(Caller)
        caller.__dict__.update(self.t.__dict__)
        caller.client = client
        return caller

    def test_wrong_types(self):
        for key, make in (
                (self.t.log, lambda: self.admin.set(self.t.log, "x")),
                (self.t.log, lambda: self.admin.hset(self.t.log, "a", "b")),
                (self.t.state, lambda: self.admin.set(self.t.state, "x")),
                (self.t.state, lambda: self.admin.xadd(self.t.state, {"e": "x"}))):
            self.admin.flushall()
            make()
            with self.subTest(key=key):
                self.assertRefused("THREADCAST wrongtype " + key.replace("{", r"\{"),
                                   fresh_too=False)

    def test_wrong_type_of_the_once_key(self):
        self.admin.rpush(self.t.once_key("k"), "x")
        listener = self.listen()
        with self.assertRaisesRegex(redis.ResponseError, "^THREADCAST wrongtype .*once:k"):
            self.t.outside(event(1), once="k", body_hash="aa")
        self.assertEqual(listener.messages(self.admin), [])
        self.assertEqual(len(self.admin.keys()), 1)

    def test_oom(self):
        self.t.begin("r1", 1, event(1))
        self.admin.config_set("maxmemory", 1)
        self.assertRefused("OOM|used memory > 'maxmemory'")
        self.admin.config_set("maxmemory", 0)
        self.assertEqual(self.t.publish("r1", 2, event(2))[0], "OK")

    def test_misconf(self):
        self.t.begin("r1", 1, event(1))
        self.admin.config_set("save", "3600 1")
        shutil.rmtree(self.server.data)
        self.admin.bgsave()
        wait_for("the dump to fail", lambda: self.admin.info("persistence")[
            "rdb_last_bgsave_status"] == "err")
        self.assertRefused("MISCONF")
        self.admin.config_set("save", "")
        self.assertEqual(self.t.publish("r1", 2, event(2))[0], "OK")

    def test_noreplicas(self):
        self.t.begin("r1", 1, event(1))
        self.admin.config_set("min-replicas-to-write", 1)
        self.assertRefused("NOREPLICAS")

    def test_readonly(self):
        self.t.begin("r1", 1, event(1))
        self.admin.replicaof("127.0.0.1", "1")
        self.assertRefused("READONLY|read only replica")

    def test_no_right_to_the_channel(self):
        self.t.begin("r1", 1, event(1))
        self.assertRefused("NoPermissionError", self.user("+@all", "~*", "&elsewhere"))

    def test_no_right_to_the_keys(self):
        self.t.begin("r1", 1, event(1))
        self.assertRefused("NoPermissionError", self.user("+@all", "~elsewhere:*", "&*"))
        self.assertRefused("NoPermissionError", self.user("+@all", "%R~*", "&*"))
        self.assertRefused("NoPermissionError", self.user("+@all", "~*:log", "&*"))

    def test_no_right_to_a_command(self):
        self.t.begin("r1", 1, event(1))
        for command in ("publish", "xadd", "hsetnx"):
            with self.subTest(command):
                self.assertRefused("NoPermissionError|can't run this command",
                                   self.user("+@all", "-" + command, "~*", "&*"))

    def test_no_right_to_what_only_a_long_run_needs(self):
        for command in ("xtrim", "xdel", "xrange", "expire", "hdel"):
            with self.subTest(command):
                caller = self.user("+@all", "-" + command, "~*", "&*")
                listener = self.listen()
                with self.refused("NoPermissionError"):
                    caller.begin("r1", 1, event(1))
                self.assertEqual(listener.messages(self.admin), [])
                self.assertEqual(self.admin.keys(), [])

    def test_no_right_to_keep_the_once_key(self):
        caller = self.user("+@all", "-set", "~*", "&*")
        with self.refused("NoPermissionError"):
            caller.outside(event(1), once="k", body_hash="aa")
        self.assertEqual(self.admin.keys(), [])

    def test_the_rights_the_documentation_names_are_enough(self):
        t = self.user(*RIGHTS)
        t.begin("r1", 1, event(1))
        self.admin.delete(self.t.state)
        for i in range(330):
            t.call("beginend", "r%d" % i, 1, event(1), event(2), max_events=20)
        t.begin("live", 1, event(1))
        self.assertEqual(t.end("live", 2, event(1))[0], "OK")
        self.admin.delete(self.t.log)
        self.assertEqual(t.outside(event(1), once="k", body_hash="aa")[0], "OK")
        self.assertEqual(t.client.script_load("return 1"),
                         "e0e1f9fabfc9d4800c877a703b823ac0578ff8db")
        t.client.info("server")
        t.client.client_setname("x")

    def test_unknown_script(self):
        self.admin.script_flush()
        with self.assertRaises(redis.exceptions.NoScriptError):
            self.t.begin("r1", 1, event(1))


# As docs/PUBLISHING.md prints it.
RIGHTS = ["~{thread:*", "&thread:*", "~threadcast:worker:*", "&threadcast:control",
          "+evalsha", "+script|load", "+publish", "+subscribe", "+ping", "+info", "+time",
          "+client|setname", "+exists", "+ttl", "+expire", "+get", "+set", "+del", "+hget",
          "+hmget", "+hgetall", "+hkeys", "+hlen", "+hset", "+hsetnx", "+hdel", "+xlen",
          "+xadd", "+xrange", "+xtrim", "+xdel", "+xinfo|stream"]

if __name__ == "__main__":
    unittest.main()
