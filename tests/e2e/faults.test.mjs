// Redis and PostgreSQL die, come back, forget; connections are cut; a worker is killed.
// Streams go on by themselves or say `reset`; runs complete; the text is the same.

import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { EventSource } from 'eventsource';
import { Proxy, Stack, until } from './harness.mjs';

/** @type {Stack} */
let stack;
before(async () => {
    stack = await Stack.start({
        worker: { 'demo-rate': 150, 'lease-ms': 3000, 'poll-ms': 300 },
        bridge: { 'retry-ms': 100, 'keepalive-ms': 300 },
    });
});

beforeEach(async () => {
    await until(async () => (await stack.bridge.fetch('/readyz')).ok, { what: 'the bridge is ready' });
});

/** A reader that reconnects as browsers do and shows what a page would show. */
class Reader {
    /** @type {any[]} */
    events = [];
    resets = 0;
    notices = [];
    #text = new Map();
    #seen = new Set();

    /** @param {string} thread @param {string} query */
    constructor(thread, query) {
        const token = stack.token();
        this.source = new EventSource(stack.url(`/v1/threads/${thread}/events?${query}`), {
            fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, Authorization: `Bearer ${token}` } }),
        });
        this.source.onmessage = (message) => this.#onEvent(JSON.parse(message.data));
        for (const name of ['ready', 'reset', 'bye', 'busy', 'stalled', 'auth']) {
            this.source.addEventListener(name, (message) => {
                this.notices.push(`${name} ${message.data}`);
                if (name === 'reset') this.resets++;
            });
        }
        after(() => this.source.close());
    }

    #onEvent(event) {
        this.events.push(event);
        if (this.#seen.has(event.id)) throw new Error(`twice: ${event.id}`);
        this.#seen.add(event.id);
        const run = event.runId;
        // the rule of the contract: nothing of a run before its `started` or `rewind`
        if (event.type === 'status' && ['started', 'rewind'].includes(event.content.status)) this.#text.set(run, '');
        if (event.type === 'token' && this.#text.has(run)) this.#text.set(run, this.#text.get(run) + event.content);
    }

    /** @param {string} run */
    text(run) {
        return this.#text.get(run);
    }

    /** @param {string} run */
    ended(run) {
        return this.events.find((event) => event.runId === run && ['done', 'error'].includes(event.type));
    }

    /** @param {string} run */
    tokens(run) {
        return this.events.filter((event) => event.runId === run && event.type === 'token').length;
    }
}

/** @param {string} prompt */
async function begin(prompt) {
    const thread = await stack.thread();
    const receipt = await stack.post(thread, prompt);
    const reader = new Reader(thread, `since=${receipt.cursor}&merge=0`);
    await until(() => reader.tokens(receipt.runId) >= 5, { what: 'the answer has begun' });
    return { thread, reader, run: receipt.runId, message: receipt.runs[0].messageId };
}

/** @param {Awaited<ReturnType<typeof begin>>} started */
async function endsWell({ reader, run, message }) {
    const end = await until(() => reader.ended(run), {
        timeout: 60_000,
        what: () => `the run's end reaches the reader; ${reader.events.length} events, ` +
                    `${reader.notices}\n${stack.logs(30)}` });
    assert.equal(end.type, 'done', JSON.stringify(end));
    const row = await stack.ended(run);
    assert.equal(row.status, 'done');
    const record = await stack.messageText(message);
    assert.equal(reader.text(run), record, `${reader.notices}`);
    assert.equal(reader.events.filter((e) => e.runId === run && ['done', 'error'].includes(e.type)).length, 1);
    reader.source.close();
    return { row, end };
}

test('Redis is killed and comes back with its data', async () => {
    const started = await begin('redis dies, and remembers');
    const before = started.reader.events.length;
    await stack.redis.kill();
    await stack.redis.start();
    // (a slow machine may have brought all of it before the end came)
    await until(() => started.reader.events.length > before || started.reader.ended(started.run), { what: 'it streams again' });
    await endsWell(started);
    assert.equal(started.reader.resets, 0, 'nothing was lost');
});

test('Redis is killed and comes back empty', async () => {
    const started = await begin('redis dies, and forgets everything');
    await stack.redis.kill();
    stack.redis.wipe();
    await stack.redis.start();
    await endsWell(started);
    assert.equal(started.reader.resets, 1, `${started.reader.notices}`);
});

test('Redis comes back from an older dump', async () => {
    const started = await begin('redis dies, and remembers the day before');
    await stack.redis.stop();
    const copy = stack.redis.copy();
    await stack.redis.start();
    const before = started.reader.events.length;
    await until(() => started.reader.events.length > before + 20 || started.reader.ended(started.run), { what: 'it has gone on' });
    assert.ok(!started.reader.ended(started.run), 'in mid-run, or this shows nothing');
    await stack.redis.kill();
    stack.redis.restore(copy);
    await stack.redis.start();
    await endsWell(started);
    assert.equal(started.reader.resets, 1, `${started.reader.notices}`);
});

test('Redis is away while a prompt is posted', async () => {
    const thread = await stack.thread();
    await stack.redis.kill();
    const posted = await stack.request('POST', `/v1/threads/${thread}/messages`, { json: { content: 'are you there?' } });
    assert.equal(posted.status, 202, posted.text);
    assert.equal(posted.json.cursor, '0', 'the cursor is 0 then');
    assert.equal((await stack.bridge.fetch('/readyz')).status, 503);
    assert.equal((await stack.bridge.fetch('/healthz')).status, 200);
    const busy = stack.threadEvents(thread);
    assert.equal(await busy.opened(), 200);
    await busy.named('busy');
    await busy.end();
    assert.equal(busy.ending, 'fin');
    await stack.redis.start();
    const row = await stack.ended(posted.json.runId, 60_000);
    assert.equal(row.status, 'done');
});

test('open streams live through a long absence of Redis: keepalives, no end', async () => {
    const thread = await stack.thread();
    const stream = stack.threadEvents(thread);
    await stream.named('ready');
    await stack.redis.kill();
    const from = stream.body.length;
    await until(() => (stream.body.slice(from).match(/:keepalive\n/g) ?? []).length >= 5, { what: 'keepalives' });
    await stack.redis.start();
    await until(async () => (await stack.bridge.fetch('/readyz')).ok, { what: 'ready again', timeout: 10_000 });
    const { runId } = await stack.post(thread, 'back again');
    await stream.next((event) => event.json?.runId === runId && event.json.type === 'done', 60_000);
    assert.equal(stream.ending, '');
    stream.close();
});

test('CLIENT KILL of subscribers and publishers, again and again', async () => {
    const started = await begin('cut by CLIENT KILL');
    let kills = 0;
    while (kills < 12 && !started.reader.ended(started.run)) {
        const before = started.reader.events.length;
        await stack.redis.client.call('CLIENT', 'KILL', 'TYPE', kills % 2 ? 'pubsub' : 'normal', 'SKIPME', 'yes');
        kills++;
        await until(() => started.reader.events.length > before || started.reader.ended(started.run),
                    { what: 'events go on' });
    }
    assert.ok(kills >= 3);
    const { row } = await endsWell(started);
    assert.equal(row.attempt, 1);
    assert.equal(started.reader.resets, 0, 'the log was there all the time');
});

test('FLUSHALL in the middle of a run', async () => {
    const started = await begin('flushed');
    await stack.redis.client.flushall();
    await endsWell(started);
    assert.equal(started.reader.resets, 1, `${started.reader.notices}`);
});

test('Redis refuses to write for a while (OOM)', async () => {
    const started = await begin('no memory');
    await stack.redis.client.config('SET', 'maxmemory', '1mb');
    const stopped = started.reader.events.length;
    await until(async () => /errorstat_OOM:count=(\d+)/.test(await stack.redis.client.info('errorstats')),
                { what: 'a refusal' });
    await stack.redis.client.config('SET', 'maxmemory', '0');
    await until(() => started.reader.events.length > stopped, { what: 'it goes on' });
    await endsWell(started);
    assert.equal(started.reader.resets, 0);
});

test('PostgreSQL restarts under open streams and running jobs', async () => {
    const started = await begin('postgres restarts');
    const before = started.reader.events.length;
    await stack.pg.restart('SIGQUIT');
    await until(() => started.reader.events.length > before || started.reader.ended(started.run), { what: 'the stream does not notice' });
    await endsWell(started);
    const next = await until(() => stack.post(started.thread, 'and after that?'), { what: 'a prompt is taken again' });
    assert.equal((await stack.ended(next.runId)).status, 'done');
});

test('PostgreSQL is away when a run ends: written when it is back, then done', async () => {
    const started = await begin('postgres is away at the end');
    await stack.pg.stop('SIGQUIT');
    assert.equal((await stack.request('GET', `/v1/threads/${started.thread}/messages`)).status, 503);
    // the tokens come to their end, the run does not
    let count = -1;
    await until(() => {
        const now = started.reader.events.length;
        const quiet = now === count;
        count = now;
        return quiet;
    }, { every: 1000, what: 'the tokens have ended' });
    assert.equal(started.reader.ended(started.run), undefined, 'no `done` before the record is written');
    await stack.pg.start();
    await endsWell(started);
});

test('the LISTEN connection is away: the poll finds the work; back, it hears again', async (t) => {
    const proxy = await Proxy.start({ path: `${stack.pg.dir}/.s.PGSQL.5432` });
    const url = `postgresql://threadcast:${stack.pg.password}@127.0.0.1:${proxy.port}/threadcast`;
    await stack.worker.stop();
    const worker = await stack.startWorker({ 'demo-rate': 1500, 'metrics-listen': '127.0.0.1:0' }, { DATABASE_LISTEN_URL: url });
    t.after(async () => {
        await worker.stop();
        stack.workers.splice(stack.workers.indexOf(worker), 1);
        await proxy.stop();
        await stack.worker.start();
    });
    const [, address] = await worker.child.line(/metrics address=(\S+)/);
    const count = async (name) => {
        const text = await (await fetch(`http://${address}/metrics`)).text();
        return Number(text.match(new RegExp(`^threadcast_worker_${name} (\\d+)`, 'm'))?.[1]);
    };
    proxy.refuse(true);
    proxy.cutAll();
    await until(async () => await count('postgres_lost_total') >= 1, { what: 'LISTEN is lost' });
    const told = await count('notifies_total');
    const asked = async () => {
        const posted = await stack.post(await stack.thread(), 'nobody told me');
        const from = performance.now();
        await until(async () => (await stack.run(posted.runId)).status !== 'queued', { what: 'it begins' });
        const took = Math.round(performance.now() - from);
        assert.equal((await stack.ended(posted.runId)).status, 'done');
        return took;
    };
    const took = await asked();
    assert.ok(took <= 2500, `after ${took} ms`);
    assert.equal(await count('notifies_total'), told, 'nothing was heard');
    proxy.refuse(false);
    // a connection that is there has not said LISTEN yet, and the poll may be sooner than the news
    await until(async () => {
        const heard = await asked();
        return await count('notifies_total') > told && t.diagnostic(`by the poll after ${took} ms, by NOTIFY after ${heard} ms`) === undefined;
    }, { what: 'it is heard again' });
});

test('a worker is killed: another attempt, rewind first, one end', async () => {
    const started = await begin('the worker dies');
    stack.worker.forgiven = true;
    await stack.worker.kill();
    await stack.worker.start();
    const { row } = await endsWell(started);
    assert.equal(row.attempt, 2);
    const second = started.reader.events.filter((event) => event.runId === started.run && event.attempt === 2);
    assert.equal(second[0].type, 'status');
    assert.equal(second[0].content.status, 'rewind');
});

test('a worker is stopped in an orderly way: nothing twice, nothing lost', async () => {
    const started = await begin('the worker is told to go');
    await stack.worker.stop();
    assert.equal(stack.worker.child.code, 0, stack.worker.child.tail());
    await stack.worker.start();
    await endsWell(started);
});

test('the bridge is killed: clients resume by id with nothing lost', async () => {
    const started = await begin('the bridge dies');
    stack.bridge.forgiven = true;
    await stack.bridge.kill();
    await stack.bridge.start();
    await endsWell(started);
    assert.equal(started.reader.resets, 0);
});

test('the bridge restarts in an orderly way under a stream', async () => {
    const started = await begin('the bridge is told to go');
    await stack.bridge.restart();
    await endsWell(started);
    assert.equal(started.reader.resets, 0);
    assert.ok(started.reader.notices.some((notice) => notice.startsWith('bye')));
});
