// Programs as agents, with limits; and one process that serves many runs.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, describe, test } from 'node:test';
import { Stack, until } from './harness.mjs';

/** @type {Stack} */
let stack;
/** @type {string} */
let dir;

/** A program in the stack's directory; answers its path. @param {string} name @param {string} text */
function program(name, text) {
    const file = path.join(dir, name);
    fs.writeFileSync(file, text, { mode: 0o755 });
    return file;
}

/** What a persistent process does with the lines it gets; `told` is what it is told. */
const TELLER = `#!/usr/bin/python3 -S
import json, os, signal, sys
def say(run, kind, content=None, **more):
    os.write(1, (json.dumps({"type": kind, "runId": run, "content": content, **more}) + "\\n").encode())
def ready(protocol=1):
    os.write(1, ('{"type":"ready","protocol":%d}\\n' % protocol).encode())
def told():
    for line in iter(sys.stdin.readline, ""):
        yield json.loads(line)
`;

function agents() {
    return {
        // message: what its limits do
        spin: { command: program('spin', '#!/bin/sh\nwhile :; do :; done\n'), cpu_limit_s: 1 },
        eater: { command: program('eater', `#!/usr/bin/python3 -S
kept = []
while True: kept.append(b"x" * (1 << 20))
`), memory_limit_mb: 256 },
        slow: { command: 'exec tail -f /dev/null', time_limit_s: 1 },
        endless: { command: program('endless', `#!/usr/bin/python3 -S
import os
while True: os.write(1, b"x" * 65536)
`), output_limit_bytes: 3 << 20 },
        opener: { command: program('opener', `#!/usr/bin/python3 -S
import errno, json, os
held = []
try:
    while True: held.append(os.open("/dev/null", os.O_RDONLY))
except OSError as e:
    for fd in held: os.close(fd)
    print(json.dumps({"type": "token", "content": "%s after %d" % (errno.errorcode[e.errno], len(held))}))
`), files_limit: 16 },
        broken: { command: 'kill -SEGV $$' },
        aborted: { command: 'kill -KILL $$' },
        missing: { command: '/nowhere/to/be/found' },
        forbidden: { command: program('forbidden', 'x') },
        odd: { command: 'exit 42' },
        surrogates: { command: `printf '{"type":"token","content":"a\\\\ud83d\\\\u0000b\\377"}\\n'` },
        twice: { command: `printf '{"type":"token","content":"one"}\\n{"type":"done"}\\n{"type":"done"}\\n` +
                 `{"type":"token","content":"two"}\\n{"type":"error"}\\n'` },
        env: { command: `exec ${program('env', `#!/usr/bin/python3 -S
import json, os, resource
print(json.dumps({"type": "token", "content": json.dumps({
    "env": dict(os.environ), "cwd": os.getcwd(), "group": os.getpgrp() == os.getpid(),
    "fds": sorted(os.listdir("/proc/self/fd")), "core": resource.getrlimit(resource.RLIMIT_CORE),
    "blocked": [l for l in open("/proc/self/status") if l.startswith("SigBlk")][0].split()[1]})}))
`)}`, directory: '/tmp', env: { MODEL: 'small=1', PASSED_ON: true, LANG: 'xx' } },
        nodir: { command: 'true', directory: '/nowhere' },
        // leaves somebody behind who has a session of their own, and no pipe of ours
        leaver: { command: program('leaver', `#!/bin/sh
setsid sh -c 'tail -f /dev/null & echo $! >"$0"; wait' ${path.join(dir, 'left')} >/dev/null 2>&1 </dev/null &
until [ -s ${path.join(dir, 'left')} ]; do :; done
`) },
        hider: { command: program('hider', `#!/bin/sh
env -i setsid tail -f /dev/null >/dev/null 2>&1 </dev/null &
echo $! > ${path.join(dir, 'hidden')}
`) },
        // persistent
        many: { command: program('many', `${TELLER}
waiting = {}
ready()
for line in told():
    run = line.get("runId")
    if line["type"] == "run":
        waiting[run] = line
        say(run, "token", "%d:%s" % (os.getpid(), line["message"]["content"]))
        if line["message"]["content"] == "go":  # all of them, side by side
            for step in "abc":
                for each in waiting: say(each, "token", step)
            for each in waiting: say(each, "done", {"finishReason": "stop"})
            for each in waiting: say(each, "token", "after the end")
            waiting = {}
    elif line["type"] == "cancel" and run in waiting:
        del waiting[run]
        say(run, "done")
`), mode: 'persistent', runs_at_once: 3 },
        pair: { command: `exec ${path.join(dir, 'many')}`, mode: 'persistent', processes: 2, runs_at_once: 1 },
        forger: { command: program('forger', `${TELLER}
ready()
for line in told():
    if line["type"] != "run": continue
    run = line["runId"]
    for other in ("00000000-0000-4000-8000-000000000000", line["message"]["content"], "*", ""):
        say(other, "token", "forged"); say(other, "done")
    os.write(1, b"no line at all\\n" + b'{"type":"token","content":"of nobody"}\\n')
    say(run, "token", "mine", threadId="other", attempt=9, id="9-9", agentId="root", messageId="m")
    say(run, "token", {"no": "text"})
    say(run, "done"); say(run, "done")
`), mode: 'persistent' },
        deaf: { command: program('deaf', `${TELLER}
ready()
for line in told():
    if line["type"] == "run": say(line["runId"], "token", str(os.getpid()))
`), mode: 'persistent', time_limit_s: 1, runs_at_once: 2 },
        crasher: { command: program('crasher', `${TELLER}
ready()
for line in told():
    if line["type"] != "run": continue
    say(line["runId"], "token", "%d " % line["attempt"])
    if line["attempt"] == 1 and line["message"]["content"] == "die": os.kill(os.getpid(), signal.SIGSEGV)
    if line["attempt"] > 1: say(line["runId"], "done")
`), mode: 'persistent', runs_at_once: 4 },
        future: { command: program('future', `${TELLER}
ready(2)
for line in told(): pass
`), mode: 'persistent' },
        mute: { command: 'exec tail -f /dev/null', mode: 'persistent', start_limit_s: 1 },
        flood: { command: program('flood', `${TELLER}
ready()
for line in told():
    if line["type"] != "run": continue
    for i in range(30 if line["message"]["content"] == "short" else 15000):
        say(line["runId"], "token", "%05d " % i + "x" * 94)
    say(line["runId"], "done")
`), mode: 'persistent', processes: 1 },
        ticker: { command: program('ticker', `${TELLER}
import threading, time
going = {}
def go(run, flood):
    while going[run]:
        try: say(run, "token", "x" * 4000 if flood else "tick ")
        except OSError: return
        if not flood: time.sleep(0.02)
    say(run, "done")
ready()
for line in told():
    run = line["runId"] if "runId" in line else None
    if line["type"] == "run":
        going[run] = True
        threading.Thread(target=go, args=(run, line["message"]["content"] == "flood"), daemon=True).start()
    elif line["type"] == "cancel": going[run] = False
`), mode: 'persistent' },
        // burns CPU for each run: together more than one of them may
        burner: { command: program('burner', `${TELLER}
import time
ready()
for line in told():
    if line["type"] != "run": continue
    until = time.process_time() + (30 if line["message"]["content"] == "much" else 0.6)
    while time.process_time() < until: pass
    say(line["runId"], "done")
`), mode: 'persistent', cpu_limit_s: 1 },
        fresh: { command: program('fresh', `${TELLER}
ready()
for line in told():
    if line["type"] == "run": say(line["runId"], "token", str(os.getpid())); say(line["runId"], "done")
`), mode: 'persistent', runs_per_process: 2 },
        idle: { command: path.join(dir, 'fresh'), mode: 'persistent', idle_s: 1 },
    };
}

/** What a careless parent leaves open in the worker is not closed at exec, as our own are. */
const WITH_A_DESCRIPTOR = 'exec 7</dev/null; exec "$@"';

before(async () => {
    stack = await Stack.start({ workers: 0 });
    dir = stack.dir;
    fs.chmodSync(program('forbidden', 'x'), 0o644);
    const made = agents();
    fs.chmodSync(path.join(dir, 'forbidden'), 0o644);
    const file = path.join(dir, 'agents.json');
    fs.writeFileSync(file, JSON.stringify({ default: 'many', agents: Object.fromEntries(
        Object.entries(made).map(([name, agent]) => [name, { kind: 'exec', ...agent }])) }));
    await stack.startWorker({ 'agents-file': file, 'exec-kill-ms': 500, 'max-attempts': 2, 'retry-ms': 10, 'run-buffer-bytes': 65536,
                              'metrics-listen': '127.0.0.1:0' },
                            { PASSED_ON: 'yes', SECRET: 'no', LC_TIME: 'C', OPENAI_API_KEY: 'sk-no' },
                            { via: ['/bin/sh', '-c', WITH_A_DESCRIPTOR, 'sh'] });
});

/** @param {string} agent */
async function ask(agent, content = 'hello') {
    const thread = await stack.thread();
    const receipt = await stack.post(thread, content, { agent });
    const stream = stack.threadEvents(thread, `since=${receipt.cursor}&merge=0`);
    return { thread, stream, ...receipt };
}

/** @param {Awaited<ReturnType<typeof ask>>} asked */
async function ended(asked) {
    const end = await asked.stream.next((event) => ['done', 'error'].includes(event.json?.type), 60_000);
    const row = await stack.ended(asked.runId);
    asked.stream.close();
    const tokens = asked.stream.json.filter((event) => event.type === 'token' && event.runId === asked.runId);
    return { ...asked, end: end.json, row, text: asked.stream.text(asked.runId), tokens };
}

/** @param {string} agent */
const answer = async (agent, content = 'hello') => ended(await ask(agent, content));

/**
 * In the worker's log: `queued` is not said any more when the next attempt has begun.
 * @param {string} run @param {string} code
 */
const again = async (run, code) => assert.match((await stack.worker.child.line(new RegExp(`another attempt run=${run}.*`)))[0], new RegExp(code));

async function counters() {
    const [, address] = await stack.worker.child.line(/metrics .*address=(\S+)/);
    const text = await (await fetch(`http://${address}/metrics`)).text();
    return (/** @type {string} */ name) =>
        Number(text.split('\n').find((line) => line.startsWith(`threadcast_worker_agent_${name} `))?.split(' ').at(-1));
}

/** @param {string | number} pid */
const hasGone = (pid) => {
    try {
        return fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1][0] === 'Z';
    } catch {
        return true;
    }
};

describe('side by side', { concurrency: 4 }, () => {
    test('open files are limited', async () => {
        const { text } = await answer('opener');
        assert.match(text, /^EMFILE after (8|9|1[0-3])$/);
    });

    test('text that is none is repaired; what comes behind the end is nothing', async () => {
        assert.equal((await answer('surrogates')).text, 'a\ufffd\ufffdb\ufffd');
        const { end, text, stream } = await answer('twice');
        assert.deepEqual([end.type, text], ['done', 'one']);
        assert.equal(stream.json.at(-1).type, 'done');
        assert.ok((await counters())('after_end_total') > 0);
    });

    test('environment, directory, group, descriptors, signals', async () => {
        const told = JSON.parse((await answer('env')).text);
        const { env } = told;
        assert.deepEqual([env.MODEL, env.PASSED_ON, env.LANG, env.LC_TIME], ['small=1', 'yes', 'xx', 'C']);
        const allowed = /^(PATH|HOME|LANG|TZ|TMPDIR|USER|LC_\w+|MODEL|PASSED_ON|PWD|SHLVL|OLDPWD|_|THREADCAST_(RUN_ID|THREAD_ID|ATTEMPT|REQUEST_ID|PROCESS)|TRACEPARENT)$/;
        assert.deepEqual(Object.keys(env).filter((name) => !allowed.test(name)), []);
        assert.equal(told.cwd, '/tmp');
        assert.equal(told.group, true);
        assert.deepEqual(told.core, [0, 0]);
        assert.match(told.blocked, /^0+$/);
        assert.deepEqual(told.fds.map(Number).filter((/** @type {number} */ fd) => fd > 3), [], 'descriptors of others');
    });

    for (const [agent, file] of [['leaver', 'left'], ['hider', 'hidden']]) {
        test(`${agent}: who left its session is gone with its program`, async () => {
            const { end } = await answer(agent);
            assert.equal(end.type, 'done', JSON.stringify(end));
            const pid = fs.readFileSync(path.join(dir, file), 'utf8').trim();
            await until(() => hasGone(pid), { what: `${pid} has gone` });
            assert.ok((await counters())('orphans_killed_total') > 0);
        });
    }

    test('persistent: three runs side by side in one process, a fourth waits for a place', async () => {
        const three = await Promise.all(['one', 'two', 'three'].map((content) => ask('many', content)));
        for (const { stream } of three) await stream.type('token');
        const fourth = await ask('many', 'go');
        await fourth.stream.type('status');
        const cancelled = await stack.request('POST', `/v1/runs/${three[2].runId}/cancel`, { json: {} });
        assert.equal(cancelled.status, 202);
        const [one, two, third, go] = await Promise.all([...three, fourth].map(ended));
        assert.equal(third.end.content.finishReason, 'cancelled');
        const pid = one.text.split(':')[0];
        assert.deepEqual([one, two, go].map(({ text }) => text), [`${pid}:oneabc`, `${pid}:twoabc`, `${pid}:goabc`]);
        assert.equal(third.text, `${pid}:three`);
        for (const run of [one, two, go]) assert.equal(run.stream.json.at(-1).type, 'done');
    });

    test('persistent: two processes, one run in each; the third waits', async () => {
        const two = await Promise.all(['one', 'two'].map(() => ask('pair', 'wait')));
        const pids = await Promise.all(two.map(async ({ stream }) => (await stream.type('token')).json.content));
        assert.notEqual(pids[0], pids[1]);
        const third = await ask('pair', 'go');
        await third.stream.type('status');
        assert.equal((await stack.request('POST', `/v1/runs/${two[0].runId}/cancel`, { json: {} })).status, 202);
        assert.equal((await ended(third)).text, pids[0].replace('wait', 'goabc'));
        assert.equal((await stack.request('POST', `/v1/runs/${two[1].runId}/cancel`, { json: {} })).status, 202);
        for (const asked of two) assert.equal((await ended(asked)).end.content.finishReason, 'cancelled');
    });

    test('persistent: what a line says of another run is nothing, and counted', async () => {
        const other = await ask('many', 'wait');
        await other.stream.type('token');
        const { text, stream, end, runId, thread } = await answer('forger', other.runId);
        assert.equal(text, 'mine');
        assert.equal(end.type, 'done');
        for (const event of stream.json) {
            assert.deepEqual([event.runId, event.threadId, event.attempt, event.agentId], [runId, thread, 1, 'forger']);
        }
        const count = await counters();
        assert.ok(count('foreign_lines_total') >= 4, String(count('foreign_lines_total')));
        assert.ok(count('bad_lines_total') >= 3);
        assert.equal((await stack.request('POST', `/v1/runs/${other.runId}/cancel`, { json: {} })).status, 202);
        assert.equal((await ended(other)).text.includes('forged'), false);
    });

    test('persistent: who does not obey a cancel loses its process, when nobody else needs it', async () => {
        const [one, two] = await Promise.all(['one', 'two'].map(() => ask('deaf')));
        const [{ json: { content: pid } }] = await Promise.all([one.stream.type('token'), two.stream.type('token')]);
        for (const asked of [one, two]) assert.equal((await ended(asked)).end.content.code, 'agent_time_limit');
        await until(() => hasGone(pid), { what: `${pid} has gone` });
        const next = await ask('deaf');
        assert.notEqual((await next.stream.type('token')).json.content, pid);
        await stack.request('POST', `/v1/runs/${next.runId}/cancel`, { json: {} }); // or its time is over
        await ended(next);
        await until(async () => (await counters())('stuck_total') >= 2, { what: 'both are counted' });
    });

    test('persistent: a process that dies in the middle of its runs: each is tried anew', async () => {
        const one = await ask('crasher', 'wait');
        await one.stream.type('token');
        const two = await ask('crasher', 'die');
        for (const asked of [one, two]) {
            const { end, row, text } = await ended(asked);
            assert.equal(end.type, 'done', JSON.stringify(end));
            assert.equal(row.attempt, 2);
            assert.equal(text, '2 ');
            // a shell that takes long to notice is one that has closed its output
            await again(asked.runId, 'agent_(signal|closed)');
        }
        assert.ok((await counters())('processes_lost_total') >= 1);
    });

    test('persistent: a flood is slowed, not lost, and the one beside it comes to its end', async () => {
        const [long, short] = [await ask('flood'), await ask('flood', 'short')];
        const [flood, other] = await Promise.all([ended(long), ended(short)]);
        assert.equal(flood.end.type, 'done', JSON.stringify(flood.end));
        assert.equal(flood.text.length, 15000 * 100);
        assert.equal(other.text.length, 30 * 100);
    });

    test('persistent: CPU seconds are for each run', async () => {
        for (let i = 0; i < 2; i++) assert.equal((await answer('burner')).end.type, 'done');
        if (!process.env.THREADCAST_FULL) return; // and three seconds of CPU more
        const asked = await ask('burner', 'much');
        await again(asked.runId, 'agent_cpu_limit');
        assert.equal((await stack.request('POST', `/v1/runs/${asked.runId}/cancel`, { json: {} })).status, 202);
        await ended(asked);
    });

    test('persistent: a new process after so many runs, and none when nobody asks', async () => {
        const pids = [];
        for (let i = 0; i < 3; i++) pids.push((await answer('fresh')).text);
        assert.equal(pids[0], pids[1]);
        assert.notEqual(pids[1], pids[2]);
        const idle = (await answer('idle')).text;
        for (const pid of [pids[0], idle]) await until(() => hasGone(pid), { what: `${pid} has gone` });
    });


    for (const [agent, code, message, counter] of [
        ['spin', 'agent_cpu_limit', /used the 1 s of CPU/, 'limits_total{limit="cpu"}'],
        ['eater', 'agent_memory_limit', /256 MiB/, 'limits_total{limit="memory"}'],
        ['slow', 'agent_time_limit', /longer/, 'limits_total{limit="time"}'],
        ['endless', 'agent_output_limit', /more than it may/, 'limits_total{limit="output"}'],
        ['broken', 'agent_signal', /signal 11 \(SIGSEGV\)/],
        ['aborted', 'agent_killed', /was killed/],
        ['missing', 'agent_not_found', /not there/],
        ['forbidden', 'agent_not_executable', /cannot be executed/],
        ['odd', 'agent_exit', /status 42/],
        ['nodir', 'agent_start', /could not be started/],
        ['future', 'agent_protocol', /another version/],
        ['mute', 'agent_start', /not ready in time/],
    ]) {
        test(`${agent}: ${code}`, async () => {
            const { end, row } = await answer(String(agent));
            assert.equal(end.type, 'error', JSON.stringify(end));
            assert.equal(end.content.code, code);
            assert.match(end.content.message, /** @type {RegExp} */ (message));
            assert.equal(row.status, 'failed');
            if (counter) assert.ok((await counters())(String(counter)) >= 1);
        });
    }
});

test('persistent: Redis stands still: who does not pause pays, the others go on', async () => {
    const beside = await ask('ticker', 'beside');
    await beside.stream.type('token');
    const flood = await ask('ticker', 'flood');
    await flood.stream.type('token');
    await stack.redis.cli('client', 'pause', '60000', 'write');
    await until(async () => (await counters())('limits_total{limit="flood"}') === 1, { what: 'the flood has ended' });
    await stack.redis.cli('client', 'unpause');
    assert.equal((await ended(flood)).end.content.code, 'agent_flood');
    const seen = beside.stream.json.length;
    await until(() => beside.stream.json.length > seen + 3, { what: 'the other one goes on' });
    assert.equal((await stack.request('POST', `/v1/runs/${beside.runId}/cancel`, { json: {} })).status, 202);
    assert.equal((await ended(beside)).end.content.finishReason, 'cancelled');
    assert.ok((await counters())('held_up_total') >= 1);
});

test('persistent: read again, the old process finishes what it has and goes', async () => {
    const old = await ask('many', 'wait');
    const [pid] = (await old.stream.type('token')).json.content.split(':');
    stack.worker.child.kill('SIGHUP');
    await stack.worker.child.line(/agents read again/);
    const fresh = await answer('many', 'go');
    assert.notEqual(fresh.text.split(':')[0], pid);
    assert.equal((await stack.request('POST', `/v1/runs/${old.runId}/cancel`, { json: {} })).status, 202);
    assert.equal((await ended(old)).end.content.finishReason, 'cancelled');
    await until(() => hasGone(pid), { what: `${pid} has gone` });
});

test('a worker that is killed takes its programs along', async () => {
    await ask('slow');
    const { pid } = stack.worker.child;
    const child = await until(() => fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ')
        .find((each) => each && fs.readFileSync(`/proc/${each}/cmdline`, 'utf8').startsWith('tail')),
    { what: 'the program' });
    await stack.worker.kill();
    await until(() => hasGone(String(child)), { what: `${child} has gone` });
});
