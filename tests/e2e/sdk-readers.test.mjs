// The packages' readers, all three of them through the same days: JavaScript's, Python's, and
// Python's for asyncio. Published is with the Node package.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { Redis } from 'ioredis';
import * as threadcast from '../../sdk/node/src/index.js';
import { freePort, Proxy, ROOT, run, Stack, until } from './harness.mjs';
import { Readers } from './lib/readers.mjs';

const bridge = { 'retry-ms': 50, 'keepalive-ms': 200, 'drain-ms': 1000 };
const stack = await Stack.start({ bridges: 2, bridge, worker: { 'demo-rate': 1000 } });
const [first, second] = stack.bridges; // the first is restarted
const readers = await Readers.start();
const client = new Redis(stack.redis.url).on('error', () => {});
/** @type {Proxy[]} */
const proxies = [];
after(async () => {
    client.disconnect();
    await Promise.all(proxies.map((proxy) => proxy.stop()));
    setTimeout(() => process.exit(1), 10_000).unref(); // a run that a failed test has left open goes on
    assert.equal(readers.stop(), '');
});
const tokens = [stack.token({ read: ['*'] })];

/** @param {import('./harness.mjs').Bridge} to @param {(index: number) => number} [plan] */
async function proxiesTo(to, plan) {
    const made = await Promise.all([0, 1, 2].map(() => Proxy.start({ port: to.port }, { plan })));
    proxies.push(...made);
    return { made, bases: made.map(({ port }) => `http://127.0.0.1:${port}/`) };
}

/** Waits until it is true of each. @param {import('./lib/readers.mjs').Reader[]} all @param {(reader: any) => unknown} condition */
async function each(all, condition) {
    for (const reader of all) {
        await until(() => condition(reader), { what: () => `${condition}\n${reader.story}` });
    }
}

/** @param {string} thread */
async function logged(thread) {
    const entries = await stack.redis.client.xrange(`{thread:${thread}}:log`, '-', '+');
    return entries.map(([, fields]) => JSON.parse(fields[1]));
}

const isEnd = (/** @type {any} */ e) => e.type === 'done' || e.type === 'error';

describe('subscribers', { concurrency: true }, () => {
    test('every event once and in order, whatever becomes of the connections', async () => {
        const { bases, made } = await proxiesTo(first, (i) => (i < 12 ? 300 + 171 * i : Infinity));
        const all = readers.open(bases, { thread: 's1', since: '0', tokens, merge: false });
        const publisher = await threadcast.start(client, 's1', { flushMs: 1 });
        for (let n = 0; n < 100; n++) {
            publisher.token(`${n} ä🇦🇹 `);
            publisher.delta('step', { name: String(n) });
        }
        await each(all, (reader) => reader.events.length > 200);
        await Promise.all([first.restart(), publisher.token('meanwhile ')]);
        await each(all, (reader) => reader.noticed('bye').length);
        await stack.redis.client.publish('thread:s1', 'no JSON');
        await until(async () => {
            await stack.redis.client.publish('thread:s1', '{"type":"bare"}');
            return all.every((reader) => reader.events.some((e) => e.type === 'bare'));
        }, { what: () => all.map((r) => r.story).join('\n'), every: 50 });
        await publisher.done();
        const log = (await logged('s1')).map((e) => ({ ...e, again: false }));
        await each(all, (reader) => isEnd(reader.events.at(-1)));
        for (const [i, reader] of all.entries()) {
            assert.deepEqual(reader.events.filter((e) => e.id), log, reader.kind);
            assert.equal(reader.events.find((e) => e.type === 'bare').id, '');
            assert.equal(reader.position, log.at(-1).id);
            assert.ok(reader.noticed('lost').length >= 12 && made[i].cuts >= 11, reader.story);
            assert.equal(reader.noticed('reset').length, 0);
            reader.close();
        }
        await each(all, (reader) => reader.ended);
    });

    test('the example of the README for Python', async () => {
        const text = fs.readFileSync(path.join(ROOT, 'sdk/python/README.md'), 'utf8');
        const [code] = [...text.matchAll(/```python\n(.*?)```/gs)].map((m) => m[1])
            .filter((example) => example.includes('threadcast.client'));
        await threadcast.run(client, 't1', (run) => { run.token('Hello'); });
        const done = await run('/usr/bin/python3', ['-c', code.replace('http://127.0.0.1:8080', second.url(''))], {
            env: { TOKEN: tokens[0], PYTHONPATH: path.join(ROOT, 'sdk/python') } });
        assert.equal(done.code, 0, done.stderr);
        assert.match(done.stdout, /name='open'[^]*Hello$/);
    });

    test('several threads on one connection, and none of the others', async () => {
        const { bases, made } = await proxiesTo(second);
        const all = readers.open(bases, { thread: ['m1', 'm2', 'm3'], tokens });
        await each(all, (reader) => reader.noticed('ready').length);
        const say = (/** @type {string} */ thread) => threadcast.run(client, thread, (run) => { run.token(thread); });
        await Promise.all(['m1', 'm2', 'm4'].map(say));
        await each(all, (reader) => reader.events.filter(isEnd).length === 2);
        for (const proxy of made) proxy.resetAll();
        await say('m3');
        await each(all, (reader) => reader.events.filter(isEnd).length === 3);
        for (const reader of all) {
            assert.deepEqual([...reader.text.matchAll(/m./g)].map(String).sort(), ['m1', 'm2', 'm3']);
            assert.equal(reader.position.split(',').length, 3);
            reader.close();
        }
    });

    test('a run, from its beginning to its end, and then no more of it', async () => {
        const thread = await stack.thread();
        const { runId } = await stack.post(thread, 'hello');
        const all = readers.open(second.url(''), { run: runId, tokens });
        await each(all, (reader) => reader.ended);
        const { reply_id: reply } = await stack.run(runId);
        for (const reader of all) {
            assert.equal(reader.events.at(-1).type, 'done');
            assert.equal(reader.text, await stack.messageText(reply));
        }
        const later = readers.open(second.url(''), { run: runId, since: all[0].position, tokens });
        await each(later, (reader) => reader.ended && !reader.events.length);
    });

    test('what is refused for good is thrown, with its code; a newer token is tried', async () => {
        const good = stack.token({ read: ['r1'] });
        const expired = stack.token({ read: ['r1'], seconds: -100 });
        for (const [options, status, code] of /** @type {[any, number, string][]} */ ([
            [{ thread: 'r2', tokens: [good] }, 403, 'forbidden'],
            [{ thread: 'r1', tokens: [expired] }, 401, 'token_expired'],
            [{ thread: 'a b', tokens: [good] }, 400, ''],
        ])) {
            const all = readers.open(second.url(''), options);
            await each(all, (reader) => reader.error);
            for (const { error } of all) {
                assert.deepEqual([error?.name, error?.status], ['Refused', status], error?.message);
                if (code) assert.equal(error?.code, code);
            }
        }
        const all = readers.open(second.url(''), { thread: 'r1', tokens: [expired, good] });
        await each(all, (reader) => reader.noticed('ready').length);
        for (const reader of all) reader.close();
        await each(all, (reader) => reader.ended);
    });

    /** Which kinds of readers have gone on, the right way, when their token ended: a machine that stands
     *  still for longer than the notice is given lets them be late. @param {string} thread @param {number} seconds */
    async function wentOn(thread, seconds) {
        const short = stack.token({ read: ['*'], seconds }), ends = Date.now() + seconds * 1000;
        const all = readers.open(second.url(''), { thread, tokens: [short, ...tokens], silenceMs: 20_000 });
        // lengthened where the bridge knows how, else opened again
        const right = (/** @type {any} */ reader) => {
            const [auth, confirmed] = reader.noticed('auth'), opened = reader.noticed('open').length;
            return auth?.data.connection ? confirmed?.data.expiresAt > ends && opened === 1 : auth && opened === 2;
        };
        await each(all, (reader) => reader.noticed('ready').length && (right(reader) || Date.now() > ends + 2000));
        await until(() => Date.now() > ends, { timeout: seconds * 1000 + 1000 });
        await threadcast.run(client, thread, (run) => { run.token('x'); });
        await each(all, (reader) => reader.events.some(isEnd));
        const kinds = all.filter(right).map(({ kind }) => kind);
        for (const reader of all) reader.close();
        return kinds;
    }

    test('a token that ends: `auth`, and on with the next', async () => {
        const kinds = new Set();
        for (const seconds of [4, 8, 16]) {
            for (const kind of await wentOn(`u${seconds}`, seconds)) kinds.add(kind);
            if (kinds.size === 3) return;
        }
        assert.fail(`only ${[...kinds].join()} have gone on`);
    });

    test('busy: later, and in turn', async () => {
        const small = await stack.startBridge({ ...bridge, 'max-clients': 3, reactors: 1 });
        const held = [1, 2, 3].map(() => stack.threadEvents('b1', '', { read: ['*'], bridge: small }));
        for (const stream of held) await stream.named('ready');
        const all = readers.open(small.url(''), { thread: 'b1', tokens });
        await each(all, (reader) => reader.noticed('busy').length >= 2);
        for (const stream of held) stream.close();
        await each(all, (reader) => reader.noticed('ready').length);
        for (const reader of all) reader.close();
        await small.stop();
    });

    test('a position that is gone: reset, and what comes again says so', async () => {
        const { bases, made } = await proxiesTo(second);
        const all = readers.open(bases, { thread: 'p1', since: '1-1', tokens });
        await each(all, (reader) => reader.noticed('reset').length);
        const publisher = await threadcast.start(client, 'p1');
        publisher.delta('step', { name: 'a' });
        publisher.delta('step', { name: 'b' });
        await publisher.flush();
        await each(all, (reader) => reader.events.length === 3);
        await stack.redis.client.xdel('{thread:p1}:log', all[0].position);
        for (const proxy of made) proxy.resetAll();
        await each(all, (reader) => reader.noticed('reset').length === 2);
        await publisher.done();
        await each(all, (reader) => reader.events.some(isEnd));
        for (const reader of all) {
            assert.deepEqual(reader.events.map((e) => [e.content.status ?? e.content.name ?? e.type, e.again]), [
                ['started', false], ['a', false], ['b', false], ['started', true], ['a', true], ['done', false]]);
            reader.close();
        }
    });

    test('a bridge that says nothing, and one that is not there', async () => {
        const { bases, made } = await proxiesTo(second);
        const all = readers.open(bases, { thread: 'q1', tokens, silenceMs: 1500 });
        await each(all, (reader) => reader.noticed('ready').length);
        for (const proxy of made) proxy.hold();
        await threadcast.run(client, 'q1', (run) => { run.token('x'); });
        await each(all, (reader) => reader.noticed('lost').length);
        for (const proxy of made) proxy.release();
        await each(all, (reader) => reader.events.some(isEnd));
        for (const reader of all) {
            assert.equal(reader.text, 'x');
            reader.close();
        }
        const nobody = readers.open(`http://127.0.0.1:${await freePort()}`, { thread: 'q1', tokens, giveUpMs: 300 });
        await each(nobody, (reader) => reader.error);
        for (const { error } of nobody) assert.equal(error?.name, 'Unavailable');
    });
});
