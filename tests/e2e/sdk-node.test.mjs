// The Node package as a publisher: against a real Redis, read through real bridges. No
// worker and no PostgreSQL take part.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { Redis } from 'ioredis';
import * as threadcast from '../../sdk/node/src/index.js';
import { Child, freePort, RedisServer, ROOT, run, Stack, until } from './harness.mjs';

const stack = await Stack.start({ postgres: false, bridges: 2, bridge: { 'drain-ms': 500 } });
const reader = { sub: 'ann', read: ['*'] };
/** @type {(() => unknown)[]} */
const left = [];
after(async () => {
    await Promise.all(left.map((leave) => leave()));
    setTimeout(() => process.exit(1), 10_000).unref(); // a run that a failed test has left open goes on
});

/** A client of an application's own. @param {import('ioredis').RedisOptions} [options] */
function application(options = {}) {
    const client = new Redis({ port: stack.redis.port, host: '127.0.0.1', ...options });
    client.on('error', () => {});
    left.push(() => client.disconnect());
    return client;
}
const client = application();

/** @param {string} thread @param {string} [prefix] */
async function logged(thread, prefix = '') {
    const entries = await stack.redis.client.xrange(`${prefix}{thread:${thread}}:log`, '-', '+');
    return entries.map(([, fields]) => JSON.parse(fields[1]));
}

/** @param {any} event */
const shape = ({ type, content }) => `${type}:${typeof content === 'string' ? content
    : content.status ?? content.kind ?? content.finishReason ?? content.code}`;

/** What counts of a run: from its last `started` or `rewind` on. @param {any[]} events @param {string} runId */
function counts(events, runId) {
    const mine = events.filter((e) => e.runId === runId);
    return mine.slice(mine.findLastIndex((e) => ['started', 'rewind'].includes(e.content.status)));
}

/** @param {any[]} events */
const textOf = (events) => events.filter((e) => e.type === 'token').map((e) => e.content).join('');

/** @param {string} runId */
const cancel = (runId) => stack.redis.client.publish('threadcast:control', JSON.stringify({ type: 'cancel', runId }));

test('a run, as its readers see it', async () => {
    const streams = stack.bridges.map((bridge) => stack.threadEvents('t1', 'since=0', { ...reader, bridge }));
    const messageId = await threadcast.run(client, 't1', { agentId: 'search' }, async (run) => {
        run.status('thinking', { since: 'now' });
        run.reasoning('I should ');
        run.reasoning('look.');
        run.toolCall('search', { q: 'capital' }, 'call-1');
        run.progress(1, { total: 2 });
        run.toolResult('call-1', { title: 'Vienna' });
        run.token('Vienna 🇦');
        run.token('🇹'.slice(0, 1));
        run.token(`${'🇹'.slice(1)}\0`);
        await run.usage({ inputTokens: 12, outputTokens: 3 });
        assert.equal(run.text, 'Vienna 🇦🇹\ufffd');
        return run.messageId;
    });
    for (const stream of streams) {
        const done = await stream.type('done');
        assert.deepEqual(done.json.content, { messageId, finishReason: 'stop', usage: {
            inputTokens: 12, outputTokens: 3, totalTokens: 15 } });
        assert.equal(stream.text(), 'Vienna 🇦🇹\ufffd');
        assert.deepEqual(stream.json.map(shape), [
            'status:started', 'status:thinking', 'delta:reasoning', 'delta:tool_call', 'delta:progress',
            'delta:tool_result', 'token:Vienna 🇦🇹\ufffd', 'delta:usage', 'done:stop']);
        assert.equal(stream.json[2].content.text, 'I should look.');
        assert.equal(stream.json[1].agentId, 'search');
        stream.close();
    }
});

test('how a run ends when its body throws', async () => {
    const told = new threadcast.AgentError('Out of paper.', { code: 'paper', retryable: true });
    await assert.rejects(threadcast.run(client, 't2', () => { throw told; }), told);
    await assert.rejects(threadcast.run(client, 't2', () => { throw new Error('secret'); }), /secret/);
    await assert.rejects(threadcast.run(client, 't2', async () => AbortSignal.abort().throwIfAborted()),
                         { name: 'AbortError' });
    const ends = (await logged('t2')).filter((e) => e.content.status !== 'started');
    assert.deepEqual(ends.map((e) => e.content.message ?? shape(e)),
                     ['Out of paper.', 'The agent failed.', 'status:cancelled', 'done:cancelled']);
    assert.deepEqual({ ...ends[0].content }, { code: 'paper', message: 'Out of paper.', retryable: true });
    const run = await threadcast.start(client, 't2');
    assert.throws(() => run.delta('x', { a: NaN }), TypeError);
    assert.throws(() => run.delta('x', { a: 'y'.repeat(300_000) }), threadcast.EventTooLarge);
    await run.error({ code: 'mine', message: 'So.' });
    await run.done();
    assert.throws(() => run.token('x'), /over/);
    assert.equal(shape((await logged('t2')).at(-1)), 'error:mine');
});

test('two runs at once while connections are killed and Redis crashes: each whole, with one end', async () => {
    let stop = false;
    const agents = [1, 2].map(() => threadcast.run(client, 'faults', { flushMs: 2 }, async (run) => {
        for (let n = 1; !stop; n++) {
            await run.token(`${n} `);
            if (n % 50 === 0) run.delta('step', { name: String(n) });
            await new Promise(setImmediate);
        }
        return run;
    }));
    const progress = async () => {
        const before = (await logged('faults')).length;
        await until(async () => (await logged('faults')).length > before + 20, { what: 'the runs go on' });
    };
    await progress();
    for (let i = 0; i < 20; i++) {
        for (const line of String(await stack.redis.client.client('LIST')).split('\n')) {
            if (/name=threadcast-node:\S+:publish/.test(line)) {
                await stack.redis.client.call('CLIENT', 'KILL', 'ID', /id=(\d+)/.exec(line)?.[1] ?? '');
            }
        }
        await new Promise(setImmediate);
    }
    await progress();
    await stack.redis.client.call('SCRIPT', 'FLUSH');
    await progress();
    await stack.redis.kill();
    await stack.redis.start();
    await progress();
    await stack.redis.client.del('{thread:faults}:log'); // LOST: told anew
    await progress();
    stop = true;
    const events = [];
    for (const run of await Promise.all(agents)) {
        events.push(...counts(await logged('faults'), run.runId));
        const mine = events.filter((e) => e.runId === run.runId);
        assert.equal(textOf(mine), run.text);
        assert.match(shape(mine[0]), /status:rewind/);
        assert.equal(mine.filter((e) => ['done', 'error'].includes(e.type)).length, 1);
        assert.equal(shape(mine.at(-1)), 'done:stop');
        const steps = mine.filter((e) => e.type === 'delta').map((e) => Number(e.content.name));
        assert.deepEqual(steps, steps.map((_, i) => 50 * (i + 1)), 'every step once');
    }
    assert.equal(new Set(events.map((e) => e.id)).size, events.length);
});

test('a call whose answer was lost is sent again, and its end is known for its own', async () => {
    for (const lose of ['before', 'after']) {
        const run = await threadcast.start(client, `again-${lose}`);
        run.token('x');
        await run.flush();
        // ioredis sends what is written before it ends: the kill is behind the call, or before
        const kill = async () => {
            const list = String(await stack.redis.client.client('LIST')).split('\n');
            const mine = list.filter((line) => /name=threadcast-node:\S+:publish/.test(line));
            for (const line of mine) {
                await stack.redis.client.call('CLIENT', 'KILL', 'ID', /id=(\d+)/.exec(line)?.[1] ?? '');
            }
        };
        if (lose === 'before') await kill();
        const ended = run.done();
        if (lose === 'after') await kill();
        await ended;
        assert.deepEqual((await logged(`again-${lose}`)).map(shape), ['status:started', 'token:x', 'done:stop']);
    }
});

test('fenced by a higher attempt, ended by another, ended as lost', async () => {
    const first = await threadcast.start(client, 't3', { runId: 'r3' });
    const second = await threadcast.start(client, 't3', { runId: 'r3', attempt: 2 });
    first.token('late');
    await assert.rejects(first.flush(), (/** @type {any} */ e) => e instanceof threadcast.Fenced && e.attempt === 2);
    assert.throws(() => first.token('x'), threadcast.Fenced);
    await assert.rejects(first.done(), threadcast.Fenced);
    assert.ok(first.signal.aborted);
    await second.done();
    await assert.rejects(threadcast.start(client, 't3', { runId: 'r3', attempt: 3 }), threadcast.Ended);
    assert.deepEqual((await logged('t3')).map(shape), ['status:started', 'status:rewind', 'done:stop']);
});

test('cancelled over threadcast:control: the signal, the readers, the caller', async () => {
    const began = performance.now();
    await assert.rejects(threadcast.run(client, 'c1', async (run) => {
        run.token('Hel');
        await run.flush();
        assert.ok(await cancel(run.runId), 'somebody hears it');
        await new Promise((_, reject) => {
            run.signal.addEventListener('abort', () => reject(run.signal.reason));
        });
    }), threadcast.Cancelled);
    assert.ok(performance.now() - began < 15_000);
    assert.deepEqual((await logged('c1')).map(shape),
                     ['status:started', 'token:Hel', 'status:cancelled', 'done:cancelled']);
    // an agent that does not look: the next call, then done() say so
    const run = await threadcast.start(client, 'c2');
    for (const hint of ['no JSON', '[]', '{"type":"cancel"}', '{"type":"cancel","runId":"other"}']) {
        await stack.redis.client.publish('threadcast:control', hint);
    }
    await cancel(run.runId);
    await until(() => run.cancelled);
    assert.throws(() => run.token('lo'), threadcast.Cancelled);
    await assert.rejects(run.done(), threadcast.Cancelled);
    // one that wants to come to its own end, over a subscription that was cut
    let heard = false;
    const own = await threadcast.start(client, 'c3', { onCancel: () => { heard = true; } });
    const control = String(await stack.redis.client.client('LIST')).split('\n')
        .find((line) => /name=threadcast-node:\S+:control/.test(line));
    await stack.redis.client.call('CLIENT', 'KILL', 'ID', /id=(\d+)/.exec(control ?? '')?.[1] ?? '');
    await until(() => cancel(own.runId), { what: 'it hears again' });
    await until(() => heard);
    own.token('(stopped)');
    await own.done();
    assert.deepEqual((await logged('c3')).map(shape),
                     ['status:started', 'token:(stopped)', 'status:cancelled', 'done:cancelled']);
});

test('a prefix, a Unix socket, a key prefix of the client\'s own; nothing is left behind', async () => {
    const own = application({ path: stack.redis.socket, keyPrefix: 'mine:' });
    const [life] = await threadcast.run(own, 't4', { prefix: 'stage:' }, async (run) => {
        run.token('x');
        await run.flush();
        const keys = await stack.redis.client.keys('stage:threadcast:worker:sdk:*');
        assert.equal(keys.length, 1);
        assert.ok(await stack.redis.client.pttl(keys[0]) > 0);
        return keys;
    });
    assert.deepEqual((await logged('t4', 'stage:')).map(shape), ['status:started', 'token:x', 'done:stop']);
    assert.deepEqual(await stack.redis.client.keys('*mine:*'), []);
    await until(async () => !/name=threadcast-node:/.test(String(await stack.redis.client.client('LIST'))),
                { what: 'its connections are closed' });
    assert.equal(await stack.redis.client.exists(life), 0);
});

test('events outside of a run', async () => {
    const shipped = { type: /** @type {const} */ ('delta'), content: { kind: 'milestone', title: 'Shipped' } };
    const first = await threadcast.publish(client, 't5', shipped, { idempotencyKey: 'order-17' });
    const again = await threadcast.publish(client, 't5', shipped, { idempotencyKey: 'order-17' });
    assert.deepEqual([first.repeated, again], [false, { ...first, repeated: true }]);
    await assert.rejects(threadcast.publish(client, 't5', { ...shipped, type: 'status' }, {
        idempotencyKey: 'order-17' }), threadcast.Conflict);
    const run = await threadcast.start(client, 't5');
    await assert.rejects(threadcast.publish(client, 't5', [shipped, { ...shipped, runId: run.runId }]), threadcast.Taken);
    await run.done();
    assert.equal((await logged('t5')).filter((e) => e.type === 'delta').length, 1);
});

test('what is refused, and what passes', async () => {
    const port = await freePort();
    const nobody = application({ port, lazyConnect: true });
    await assert.rejects(threadcast.start(nobody, 't6', { giveUpMs: 50 }), threadcast.Unavailable);
    await stack.redis.client.call('ACL', 'SETUSER', 'agent', 'reset', 'on', '>pw', '+@all', '~*', '&thread:*');
    await assert.rejects(threadcast.start(application({ username: 'agent', password: 'pw' }), 't6'),
                         (/** @type {any} */ e) => e instanceof threadcast.Refused && /NOPERM/.test(e.message));
    await assert.rejects(threadcast.start(application({ username: 'agent', password: 'no', lazyConnect: true }), 't6'),
                         (/** @type {any} */ e) => e instanceof threadcast.Refused && /WRONGPASS/.test(e.message));
    await assert.rejects(threadcast.start(/** @type {any} */ ({ isCluster: true }), 't6'), TypeError);
    for (const wrong of [{ attempt: 0 }, { leaseMs: 1 }, { runId: 'a b' }, { prefix: '{' }, { limits: { ttlS: 0 } }]) {
        await assert.rejects(threadcast.start(client, 't6', wrong), /whole number|is 1 to|prefix/);
    }
    await assert.rejects(threadcast.start(client, 'a/b'), TypeError);
    assert.deepEqual(await logged('t6'), []);
});

/** A Redis of the test's own. @param {string} name @param {string[]} [more] */
async function server(name, more = []) {
    const made = new RedisServer(path.join(stack.dir, name), await freePort());
    await made.start(more);
    left.push(() => made.kill());
    return made;
}

/** @param {RedisServer} from @param {string} thread */
const shapesOf = async (from, thread) => (await from.client.xrange(`{thread:${thread}}:log`, '-', '+'))
    .map(([, fields]) => shape(JSON.parse(fields[1])));

describe('other servers', { concurrency: true }, () => {
    test('over TLS, with both packages', async () => {
        const dir = fs.mkdtempSync(path.join(stack.dir, 'tls-'));
        const [cert, key] = [path.join(dir, 'cert.pem'), path.join(dir, 'key.pem')];
        const made = await run('openssl', ['req', '-x509', '-newkey', 'ed25519', '-nodes', '-days', '2', '-subj',
            '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert]);
        assert.equal(made.code, 0, made.stderr);
        const port = await freePort();
        const own = await server('tls', ['--tls-port', String(port), '--tls-cert-file', cert, '--tls-key-file', key,
                                         '--tls-ca-cert-file', cert, '--tls-auth-clients', 'no']);
        const ca = fs.readFileSync(cert);
        await threadcast.run(application({ port, tls: { ca } }), 'node', (run) => { run.token('x'); });
        const python = await run('/usr/bin/python3', ['-c', `
import asyncio, redis, redis.asyncio, threadcast
url = "rediss://127.0.0.1:${port}?ssl_ca_certs=${cert}"
with threadcast.run(redis.from_url(url), "python") as run:
    run.token("x")
async def main():
    async with threadcast.run(redis.asyncio.from_url(url), "asyncio") as run:
        await run.token("x")
asyncio.run(main())
`], { env: { PYTHONPATH: path.join(ROOT, 'sdk/python') } });
        assert.equal(python.code, 0, python.stderr);
        for (const thread of ['node', 'python', 'asyncio']) {
            assert.deepEqual(await shapesOf(own, thread), ['status:started', 'token:x', 'done:stop'], thread);
        }
        await assert.rejects(threadcast.start(application({ port, tls: {} }), 'node', { giveUpMs: 100 }),
                             threadcast.Unavailable, 'somebody else\'s certificate');
    });

    const full = process.env.THREADCAST_FULL ? false : 'takes 5 s: THREADCAST_FULL=1';
    test('a Sentinel replaces the master in mid-run', { skip: full }, async () => {
        const master = await server('master');
        const replica = await server('replica', ['--replicaof', `127.0.0.1 ${master.port}`]);
        const port = await freePort(), conf = path.join(stack.dir, 'sentinel.conf');
        fs.writeFileSync(conf, `port ${port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 ${master.port} 1\n` +
            'sentinel down-after-milliseconds main 300\nsentinel failover-timeout main 3000\n');
        const child = new Child('sentinel', 'redis-server', [conf, '--sentinel']);
        left.push(() => child.stop('SIGKILL'));
        const sentinel = new Redis({ port, host: '127.0.0.1' }).on('error', () => {});
        left.push(() => sentinel.disconnect());
        await until(async () => String(await sentinel.call('SENTINEL', 'REPLICAS', 'main')).includes(String(replica.port)),
                    { what: () => `the sentinel knows the replica\n${child.tail()}` });
        const own = application({ port: undefined, sentinels: [{ host: '127.0.0.1', port }], name: 'main' });
        const run = await threadcast.start(own, 's1');
        run.token('Hello ');
        await run.flush();
        await until(async () => (await shapesOf(replica, 's1')).length === 2, { what: 'the replica has it' });
        await master.kill();
        run.token('again');
        await run.done();
        const events = (await replica.client.xrange('{thread:s1}:log', '-', '+')).map(([, f]) => JSON.parse(f[1]));
        assert.equal(textOf(counts(events, run.runId)), 'Hello again');
        assert.equal(shape(events.at(-1)), 'done:stop');
    });
});

test('the examples of the README', async () => {
    const dir = path.join(stack.dir, 'readme');
    fs.mkdirSync(path.join(dir, 'node_modules'), { recursive: true });
    fs.symlinkSync(path.join(ROOT, 'sdk/node'), path.join(dir, 'node_modules/threadcast-node'));
    fs.symlinkSync(path.join(ROOT, 'tests/e2e/node_modules/ioredis'), path.join(dir, 'node_modules/ioredis'));
    const text = fs.readFileSync(path.join(ROOT, 'sdk/node/README.md'), 'utf8');
    const examples = [...text.matchAll(/```js\n(.*?)```/gs)].map(([, code]) => code
        .replace('redis://127.0.0.1:6379', stack.redis.url));
    assert.equal(examples.length, 3);
    await Promise.all(examples.map(async (code, i) => {
        fs.writeFileSync(path.join(dir, `${i}.mjs`), code);
        const done = await run(process.execPath, [path.join(dir, `${i}.mjs`)], { env: { TOKEN: stack.token(reader) } });
        assert.equal(done.code, 0, `${code}\n${done.stdout}${done.stderr}`);
    }));
});

test('an agent that is faster than Redis is held back, and begins anew before its log is full', async () => {
    const run = await threadcast.start(client, 't7', { limits: { maxEvents: 400 } });
    const piece = 'ä'.repeat(100_000);
    for (let i = 0; i < 20; i++) await run.token(piece);
    for (let i = 0; i < 600; i++) {
        run.delta('activity', { message: String(i) });
        if (i % 10 === 0) await run.flush();
    }
    await run.done();
    const events = counts(await logged('t7'), run.runId);
    assert.equal(shape(events[0]), 'status:rewind', 'its beginning is in the log');
    assert.equal(textOf(events), piece.repeat(20));
});
