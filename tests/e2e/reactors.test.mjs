// Several loops in one bridge: readers are spread over them and cannot tell, what limits or
// ends something counts in the whole process, and one that hangs is noticed.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { before, test } from 'node:test';
import { Stack, run as runToEnd, until } from './harness.mjs';
import { holdReactor } from './lib/hold.mjs';
import { ScriptRun } from './lib/publisher.mjs';

const REACTORS = 3;
/** @type {Stack} */
let stack;
before(async () => {
    stack = await Stack.start({ demo: true, workers: 0,
                                bridge: { reactors: REACTORS, 'drain-ms': 500, 'keepalive-ms': 1000,
                                          'gather-readers': 0 } }); // they are in all of them (gather.test.mjs)
});

const reader = { read: ['*'] };

/** Streams that are live. @param {number} count @param {string} thread @param {any} [options] */
async function live(count, thread, options = {}) {
    const streams = Array.from({ length: count }, () => stack.threadEvents(thread, '', { ...reader, ...options }));
    await Promise.all(streams.map((stream) => stream.named('ready')));
    return streams;
}

/** Streams of each reactor. */
async function spread(bridge = stack.bridge) {
    const metrics = await bridge.metrics();
    return Object.entries(metrics).filter(([name]) => name.startsWith('threadcast_bridge_reactor_streams{'))
        .map(([, value]) => value);
}

/** @param {string} name */
async function metric(name, bridge = stack.bridge) {
    return (await bridge.metrics())[`threadcast_bridge_${name}`];
}

/** A request on a connection of its own, so that any reactor may get it. @param {string} to */
function ask(to, bridge = stack.bridge, options = {}) {
    return bridge.fetch(to, { headers: { Connection: 'close' }, signal: AbortSignal.timeout(2000), ...options });
}

const sum = (/** @type {number[]} */ numbers) => numbers.reduce((a, b) => a + b, 0);

test('readers are spread over the reactors, and all get everything in order', async () => {
    const streams = await live(60, 'spread');
    const counts = await spread();
    assert.equal(counts.length, REACTORS);
    assert.equal(sum(counts), 60);
    assert.ok(counts.filter((n) => n > 0).length >= 2, counts.join());
    const run = new ScriptRun(stack.redis.client, 'spread');
    await run.begin();
    for (let i = 0; i < 50; i++) await run.tokens(`${i} `);
    await Promise.all(streams.map((s) => until(() => s.text() === run.text, { what: 'the whole text' })));
    assert.equal(await metric('clients'), 60);
    assert.ok(await metric('events_out_total') >= 50);
    const latencies = await metric('publish_to_socket_seconds_count');
    assert.ok(latencies >= 50 * 2, `the histograms are summed: ${latencies}`);
    for (const s of streams) s.close();
    await until(async () => sum(await spread()) === 0, { what: 'all have left' });
});

test('one line says where it listens; connections to Redis tell the reactors apart', async () => {
    assert.equal(stack.bridge.output.match(/ info listening address=/g)?.length, 1);
    const names = (await stack.redis.cli('client', 'list')).split('\n')
        .map((line) => /name=(threadcast-bridge\S*)/.exec(line)?.[1]).filter(Boolean);
    assert.equal(names.length, 3 * REACTORS);
    assert.equal(new Set(names).size, 3 * REACTORS);
    for (let i = 0; i < REACTORS; i++) {
        for (const job of ['subscribe', 'read', 'publish']) {
            assert.equal(names.filter((name) => name?.endsWith(`-${i}:${job}`)).length, 1, `${i} ${job}: ${names}`);
        }
    }
});

test('the pool of connections to Postgres is of the process, and one of them listens', async () => {
    let listening = -1;
    let others = -1;
    await until(async () => { // a bridge serves before the last of them is there
        const rows = await stack.pg.query(`select application_name as name from pg_stat_activity
                                           where application_name like 'threadcast-bridge:%'`);
        listening = rows.filter(({ name }) => name.endsWith(':listen')).length;
        others = rows.length - listening;
        return listening >= 1 && others >= 4;
    }, { what: () => `all are there: ${listening} listen, ${others} others` });
    assert.equal(listening, 1);
    assert.equal(others, 4, 'the default of --database-pool');
});

test('--max-clients, per address and per user count in all reactors together', async (t) => {
    const cases = /** @type {[Record<string, number>, string][]} */ ([
        [{ 'max-clients': 10 }, 'max-clients'],
        [{ 'max-clients-per-ip': 10 }, 'max-clients-per-ip'],
        [{ 'max-streams-per-user': 10 }, 'max-streams-per-user'],
    ]);
    for (const [options, limit] of cases) {
        await t.test(limit, async () => {
            const bridge = await stack.startBridge({ reactors: REACTORS, 'drain-ms': 500, ...options });
            const streams = Array.from({ length: 40 }, () => stack.threadEvents('limit', '', { ...reader, bridge }));
            await Promise.all(streams.map((s) => s.next((e) => e.event === 'ready' || e.event === 'busy')));
            const ready = streams.filter((s) => s.events[0].event === 'ready');
            assert.equal(ready.length, 10);
            assert.equal(await metric(`limits_total{limit="${limit}"}`, bridge), 30);
            ready[0].close(); // a place that is given back is there for any reactor
            await until(async () => await metric('clients', bridge) === 9, { what: 'nine are left' });
            await live(1, 'limit', { bridge });
            for (const s of streams) s.close();
            await bridge.stop();
        });
    }
});

test('--max-connections counts in all reactors together', async () => {
    const bridge = await stack.startBridge({ reactors: REACTORS, 'max-connections': 4, 'drain-ms': 500 });
    const held = Array.from({ length: 4 }, () => stack.events('/healthz', { bridge, token: null }));
    await Promise.all(held.map((s) => s.opened()));
    await until(async () => await metric('connections', bridge) >= 4, { what: 'they are kept' });
    const answers = await Promise.all(Array.from({ length: 3 }, () => ask('/v1/session', bridge, { method: 'DELETE' })));
    assert.deepEqual(answers.map((r) => r.status), [503, 503, 503]);
    for (const s of held) s.close();
    await until(async () => (await ask('/v1/session', bridge, { method: 'DELETE' })).status === 204,
                { what: 'there is room again' });
    await bridge.stop();
});

test('new guests are counted in all reactors together', async () => {
    const bridge = await stack.startBridge({ reactors: REACTORS, 'demo-sessions-per-min': 5, 'drain-ms': 500 });
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask('/v1/demo/session', bridge, { method: 'POST' })));
    assert.equal(answers.filter((r) => r.status === 200).length, 5);
    assert.equal(answers.filter((r) => r.status === 429).length, 15);
    await bridge.stop();
});

test('an owner who changes, and a row that goes, are noticed in every reactor', async () => {
    for (const change of ['update threads set owner = \'bob\' where id = $1', 'delete from threads where id = $1']) {
        const thread = await stack.thread();
        const streams = await live(30, thread, { read: [] });
        assert.ok((await spread()).filter((n) => n > 0).length >= 2);
        await stack.pg.query(change, [thread]);
        await Promise.all(streams.map((s) => s.end(5000)));
        await until(async () => await metric('clients') === 0);
    }
});

test('a visitor\'s streams are cut in every reactor', async () => {
    const thread = await stack.thread();
    const streams = await live(30, thread, { read: [] });
    const other = await live(3, thread, { sub: 'bob' });
    const answer = await stack.request('POST', '/v1/demo/cut', { json: { threadId: thread } });
    assert.deepEqual([answer.status, answer.json], [200, { closed: 30 }]);
    await Promise.all(streams.map((s) => s.end()));
    for (const s of other) assert.equal(s.ending, '');
    for (const s of other) s.close();
});

test('ready only when every reactor is', async () => {
    const list = (await stack.redis.cli('client', 'list')).split('\n');
    const id = list.map((line) => /^id=(\d+) .*name=threadcast-bridge:\S+-1:subscribe /.exec(line)?.[1]).find(Boolean);
    const [, maxclients] = /** @type {string[]} */ (await stack.redis.client.config('GET', 'maxclients'));
    try {
        // one that goes cannot come back: the list ends with an empty line, and redis-cli is in it
        await stack.redis.client.config('SET', 'maxclients', String(list.length - 3));
        await stack.redis.client.call('CLIENT', 'KILL', 'ID', String(id));
        for (let i = 0; i < 12; i++) {
            const answer = await ask('/readyz');
            assert.equal(answer.status, 503, `whoever is asked (${i})`);
            assert.equal((/** @type {any} */ (await answer.json())).redis, 'down');
        }
        assert.equal((await ask('/healthz')).status, 200);
    } finally {
        await stack.redis.client.config('SET', 'maxclients', maxclients);
    }
    await until(async () => (await ask('/readyz')).status === 200, { what: 'ready again' });
});

test('a reactor that hangs makes /healthz say so, and takes nobody else along', async (t) => {
    const bridge = await stack.startBridge({ reactors: 2, 'gather-readers': 0, 'hang-ms': 500, 'upstream-timeout-ms': 1000, 'drain-ms': 500 });
    const streams = await live(20, 'hang', { bridge });
    const counts = await spread(bridge);
    const { held, release } = await holdReactor(bridge, 1);
    if (!held) {
        t.skip('this machine does not let one process hold a thread of another');
        return;
    }
    try {
        const text = await until(async () => {
            const answer = await ask('/healthz', bridge);
            return answer.status === 503 && answer.text();
        }, { what: 'the hanging one is noticed' });
        assert.equal(text, 'reactor 1 hangs\n');
        const run = new ScriptRun(stack.redis.client, 'hang');
        await run.begin();
        await until(() => streams.filter((s) => s.messages.length > 0).length >= counts[0],
                    { what: 'the readers of the other one get on' });
        const page = await until(async () => (await ask('/metrics', bridge)).text(), { what: 'metrics' });
        assert.match(page, /^threadcast_bridge_clients 20$/m, 'with what the hanging one said last');
        const silence = /reactor_silence_seconds\{reactor="1"\} (\S+)/.exec(page)?.[1];
        assert.ok(Number(silence) >= 0.5, silence);
    } finally {
        await release();
    }
    await until(async () => (await ask('/healthz', bridge)).status === 200, { what: 'healthy again' });
    await Promise.all(streams.map((s) => until(() => s.messages.length === 1, { what: 'the event, late' })));
    await bridge.stop();
});

test('nobody is brought to a reactor that hangs', async (t) => {
    const MANY = 200; // the kernel deals them out: 100 come to the other one, whose threads are in both
    const bridge = await stack.startBridge({ reactors: 2, 'upstream-timeout-ms': 1000, 'drain-ms': 500 });
    const { held, release } = await holdReactor(bridge, 1);
    if (!held) {
        t.skip('this machine does not let one process hold a thread of another');
        return;
    }
    try {
        await until(async () => {
            const text = await (await ask('/metrics', bridge)).text();
            return Number(/reactor_silence_seconds\{reactor="1"\} (\S+)/.exec(text)?.[1]) > 1.1;
        }, { what: 'it has been silent for more than a second' });
        const streams = Array.from({ length: MANY }, (_, i) => stack.threadEvents(`calm${i}`, '', { ...reader, bridge }));
        const served = () => streams.filter((s) => s.events.length > 0).length;
        await until(() => served() >= MANY * 3 / 8, { what: () => `about half are served: ${served()} of ${MANY}` });
    } finally {
        await release();
    }
    await bridge.stop();
});

test('SIGTERM with a reactor that hangs: the others drain, then the process ends without it', async (t) => {
    const bridge = await stack.startBridge({ reactors: 2, 'gather-readers': 0, 'drain-ms': 200 });
    bridge.forgiven = true;
    const streams = await live(20, 'stuck', { bridge });
    const [free] = await spread(bridge);
    const { held, release } = await holdReactor(bridge, 1);
    if (!held) {
        t.skip('this machine does not let one process hold a thread of another');
        return;
    }
    try {
        bridge.child.kill('SIGTERM');
        await until(() => streams.filter((s) => s.events.at(-1)?.event === 'bye').length === free,
                    { what: 'bye to the readers of the other one' });
        await bridge.child.line(/ error a reactor does not end: leaving without it/);
    } finally {
        await release(); // while it is held, the kernel does not let it go either
    }
    await bridge.child.exit;
    assert.equal(bridge.child.code, 1);
});

test('SIGTERM: /readyz says no at once, streams are still opened during the delay, all get bye', async () => {
    const bridge = await stack.startBridge({ reactors: REACTORS, 'shutdown-delay-ms': 1500, 'drain-ms': 500 });
    const streams = await live(30, 'drain', { bridge });
    bridge.child.kill('SIGTERM');
    await bridge.child.line(/ info draining streams=30/);
    for (let i = 0; i < 6; i++) {
        const answer = await ask('/readyz', bridge);
        assert.equal(answer.status, 503);
        assert.equal((/** @type {any} */ (await answer.json())).draining, true);
    }
    streams.push(...await live(6, 'drain', { bridge }));
    await Promise.all(streams.map(async (s) => {
        assert.ok(Number((await s.named('bye')) && s.retry) > 0);
        assert.equal(await s.end(), 'fin');
    }));
    await bridge.child.exit;
    assert.equal(bridge.child.code, 0);
    assert.equal(bridge.output.match(/ info stopped streams=0/g)?.length, 1);
});

test('a second signal exits at once', async () => {
    const bridge = await stack.startBridge({ reactors: REACTORS, 'drain-ms': 60_000 });
    bridge.forgiven = true;
    await live(12, 'twice', { bridge });
    bridge.child.kill('SIGTERM');
    await bridge.child.line(/ info draining/);
    bridge.child.kill('SIGTERM');
    await bridge.child.exit;
    assert.equal(bridge.child.code, 1);
});

test('--max-stream-age-ms: bye, not all at once (with THREADCAST_FULL=1), and the next one resumes by id', async (t) => {
    // a reactor looks once a second: only an age whose tenth is several of those shows the spread
    const age = process.env.THREADCAST_FULL ? 40_000 : 4000;
    const bridge = await stack.startBridge({ reactors: 2, 'max-stream-age-ms': age, 'drain-ms': 500 });
    const run = new ScriptRun(stack.redis.client, 'age');
    await run.begin();
    await run.tokens('before ');
    const streams = Array.from({ length: 20 }, () => stack.threadEvents('age', '', { ...reader, bridge }));
    await Promise.all(streams.map((s) => until(() => s.text() === run.text)));
    await Promise.all(streams.map(async (s) => {
        const bye = await s.named('bye', age + 10_000);
        assert.match(bye.data, /old/);
        assert.ok(Number(s.retry) > 0);
        assert.equal(await s.end(), 'fin');
    }));
    assert.equal(await metric('streams_closed_total{reason="aged"}', bridge), 20);
    const ends = streams.map((s) => s.events.at(-1)?.at ?? 0);
    const spread = Math.round(Math.max(...ends) - Math.min(...ends));
    t.diagnostic(`they go within ${spread} ms`);
    if (process.env.THREADCAST_FULL) assert.ok(spread >= age / 20, `they go together, within ${spread} ms`);
    await run.tokens('meanwhile');
    const next = stack.threadEvents('age', '', { ...reader, bridge, lastEventId: streams[0].lastEventId });
    await until(() => next.text() === 'meanwhile', { what: 'what came meanwhile, once' });
    await bridge.stop();
});

/** @param {number} pid @param {number} soft */
async function limitDescriptors(pid, soft) {
    const { code, stderr } = await runToEnd('prlimit', ['--pid', String(pid), `--nofile=${soft}:`]);
    assert.equal(code, 0, stderr);
}

test('descriptors run out: who is there goes on, the next is told so, /healthz answers', async () => {
    const bridge = await stack.startBridge({ reactors: 2, 'drain-ms': 500 });
    const open = await live(10, 'full', { bridge });
    const { pid } = bridge.child;
    const limits = fs.readFileSync(`/proc/${pid}/limits`, 'utf8').match(/Max open files\s+(\d+)/);
    await ask('/healthz', bridge); // takes over, and closes, what an earlier fetch has kept open
    const used = fs.readdirSync(`/proc/${pid}/fd`).map(Number);
    await limitDescriptors(pid, Math.max(...used) + 1);
    for (let full = false; !full;) { // numbers below the limit that were free
        const more = stack.threadEvents('full', '', { ...reader, bridge });
        full = (await more.next((e) => e.event === 'ready' || e.event === 'busy')).event === 'busy';
        if (!full) open.push(more);
    }
    for (let i = 0; i < 10; i++) {
        assert.equal((await ask('/healthz', bridge)).status, 200);
        const more = stack.threadEvents('full', '', { ...reader, bridge });
        assert.match((await more.named('busy')).data, /descriptors/);
        assert.equal(await more.end(), 'fin');
        assert.ok(Number(more.retry) > 0);
    }
    const run = new ScriptRun(stack.redis.client, 'full');
    await run.begin();
    await run.tokens('on it goes');
    await Promise.all(open.map((s) => until(() => s.text() === run.text)));
    assert.ok(await metric('reserve_lent_total', bridge) >= 20);
    assert.ok(await metric('limits_total{limit="descriptors"}', bridge) >= 20);
    await limitDescriptors(pid, Number(limits?.[1]));
    await until(async () => {
        const more = stack.threadEvents('full', 'since=now', { ...reader, bridge });
        open.push(more);
        return (await more.next((e) => e.event === 'ready' || e.event === 'busy')).event === 'ready';
    }, { what: 'there is room again' });
    for (const s of open) s.close();
    await bridge.stop();
});

test('rolling restarts on one port: every reader gets everything once', async () => {
    const options = { reactors: 2, 'drain-ms': 300, 'retry-ms': 20 };
    let bridge = await stack.startBridge(options);
    const { port } = bridge;
    const run = new ScriptRun(stack.redis.client, 'rolling');
    const began = await run.begin();
    let over = false;
    const troubles = { refused: 0, reset: 0 };
    const readers = Array.from({ length: 30 }, async () => {
        let text = '';
        let lastEventId = began[1];
        for (;;) {
            const stream = stack.threadEvents('rolling', '', { ...reader, bridge: { port }, lastEventId });
            await until(() => stream.ending || (over && text + stream.text() === run.text), { every: 5 });
            text += stream.text();
            lastEventId = stream.lastEventId || lastEventId;
            const code = /** @type {any} */ (stream.trouble)?.code;
            if (code === 'ECONNREFUSED') troubles.refused++;
            else if (code) troubles.reset++;
            if (!stream.ending) {
                stream.close();
                return text;
            }
        }
    });
    for (let i = 0; i < 6; i++) {
        await run.tokens(`${i} `);
        const next = await stack.startBridge({ ...options, listen: `127.0.0.1:${port}` });
        await run.tokens('both ');
        const gone = bridge.stop();
        await run.tokens('one ');
        await gone;
        assert.equal(bridge.child.code, 0);
        bridge = next;
    }
    over = true;
    for (const text of await Promise.all(readers)) assert.equal(text, run.text);
    console.log(`# 6 restarts, 30 readers: ${troubles.refused} refused, ${troubles.reset} reset`);
    assert.equal(troubles.refused, 0);
    await bridge.stop();
});
