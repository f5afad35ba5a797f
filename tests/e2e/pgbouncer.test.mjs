// Both daemons behind a pooler that gives a server's connection to somebody else after every
// transaction: DATABASE_URL is PgBouncer, DATABASE_LISTEN_URL is PostgreSQL itself.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Bridge, BIN, run as command, Stack, until } from './harness.mjs';
import { PgBouncer } from './lib/pgbouncer.mjs';

/** @type {Stack} */
let stack;
/** @type {PgBouncer} */
let bouncer;
/** @type {Record<string, string>} */
let env;
async function setUp() {
    bouncer = await PgBouncer.start(path.join(stack.dir, 'bouncer'), stack.pg);
    env = { DATABASE_URL: bouncer.url, DATABASE_LISTEN_URL: stack.pg.url };
    // what the pool's other users may have: tables of the same names, first in their search_path
    await stack.pg.query(`create table public.threads (id int); create table public.messages (id int);
                          create table public.runs (id int); create table public.migrations (id int)`);
    await Promise.all([stack.startWorker({ 'demo-rate': 200, 'poll-ms': 500 }, env),
                       stack.startBridge({ reactors: 2 }, env)]);
}
before(async () => {
    stack = await Stack.start({ workers: 0, bridges: 0 });
    await setUp().catch(async (error) => { // behind a hook that failed no other is called
        await Promise.allSettled([stack.stop(), bouncer?.stop('SIGKILL')]);
        throw error;
    });
});
after(() => bouncer?.stop('SIGKILL'));

/** A neighbour's habits: all servers of the pool get another search_path, and keep it. */
async function disturb() {
    const clients = await Promise.all(Array.from({ length: 3 }, () => bouncer.connect()));
    await Promise.all(clients.map(async (client) => {
        await client.query('begin');
        await client.query(`set search_path = public`);
    }));
    await Promise.all(clients.map((client) => client.query('commit')));
    await Promise.all(clients.map((client) => client.end()));
}

test('runs, history, lists, retry, cancel and delete, whatever the session was left with', async () => {
    const thread = await stack.thread();
    await disturb();
    const { runId, cursor } = await stack.post(thread, 'through a pool', { key: 'once' });
    assert.equal((await stack.post(thread, 'through a pool', { key: 'once' })).runId, runId);
    const stream = stack.threadEvents(thread, `since=${cursor}`);
    await stream.type('done');
    const row = await stack.ended(runId);
    assert.equal(row.status, 'done');
    await disturb();
    assert.equal(stream.text(runId), await stack.messageText(row.reply_id));
    const get = async (/** @type {string} */ to) => {
        const answer = await stack.request('GET', to);
        assert.equal(answer.status, 200, `${to}: ${answer.text}`);
        return answer.json;
    };
    assert.equal((await get(`/v1/threads/${thread}/messages`)).messages.length, 2);
    assert.equal((await get(`/v1/threads/${thread}/runs`)).runs[0].status, 'done');
    assert.ok((await get('/v1/threads')).threads.some((found) => found.id === thread));
    assert.equal((await get(`/v1/runs/${runId}`)).status, 'done');
    const again = await stack.request('POST', `/v1/runs/${runId}/retry`);
    assert.equal(again.status, 202, again.text);
    const cancelled = await stack.request('POST', `/v1/runs/${again.json.runId}/cancel`);
    assert.ok([200, 202].includes(cancelled.status), cancelled.text);
    await stack.ended(again.json.runId);
    assert.equal((await stack.request('DELETE', `/v1/threads/${thread}`)).status, 204);
    await stream.end();
});

test('nothing of ours stays in a session of the pool', async () => {
    const client = await bouncer.connect();
    try {
        const { rows: [left] } = await client.query(
            `select current_setting('client_connection_check_interval') as interval,
                    current_setting('search_path') as path,
                    (select count(*)::int from pg_prepared_statements) as prepared,
                    (select count(*)::int from pg_listening_channels()) as channels`);
        assert.deepEqual(left, { interval: '0', path: left.path, prepared: 0, channels: 0 });
        assert.doesNotMatch(left.path, /threadcast/);
    } finally {
        await client.end();
    }
});

test('the pooler restarts in mid-run: the run ends once, its reader gets every word', async () => {
    const thread = await stack.thread();
    const { runId, cursor } = await stack.post(thread, 'the pool is drained meanwhile');
    const stream = stack.threadEvents(thread, `since=${cursor}`);
    const first = await stream.type('token');
    await bouncer.stop('SIGKILL');
    assert.equal((await stack.request('GET', '/readyz', { token: null })).status, 503);
    await bouncer.start();
    await stream.type('done');
    const row = await stack.ended(runId);
    assert.deepEqual([row.status, row.attempt], ['done', 1]);
    assert.equal(stream.text(runId), await stack.messageText(row.reply_id));
    await until(async () => (await stack.bridge.fetch('/readyz')).ok, { what: 'the bridge is ready again' });
    const resumed = stack.threadEvents(thread, '', { lastEventId: first.id });
    await resumed.type('done');
    assert.equal(first.json.content + resumed.text(runId), stream.text(runId), 'resumed where it was cut');
    resumed.close();
    const next = await stack.post(thread, 'and the next one');
    assert.equal((await stack.ended(next.runId)).status, 'done');
});

test('cancelled in SQL, through the pool: its worker hears of it', async () => {
    const thread = await stack.thread();
    const asked = await stack.post(thread, 'never mind');
    const stream = stack.threadEvents(thread, `since=${asked.cursor}`);
    await stream.type('token');
    const client = await bouncer.connect();
    await client.query('select threadcast.cancel_run($1)', [asked.runId]);
    await client.end();
    assert.equal((await stream.type('done')).json.content.finishReason, 'cancelled');
    await disturb();
});

test('what needs a session is refused through it, and says what to do', async () => {
    const migrate = (/** @type {Record<string, string>} */ more) => command(
        path.join(BIN, 'threadcast-worker'), ['migrate'], { env: { ...stack.env(), DATABASE_SCHEMA: 'pooled', ...more } });
    const refused = await migrate({ DATABASE_URL: bouncer.url });
    assert.notEqual(refused.code, 0);
    assert.match(refused.stderr, /cannot connect: .*DATABASE_LISTEN_URL/);
    assert.equal((await migrate(env)).code, 0, 'past it: it works');

    // a pooler that swallows what it does not know
    const lax = await PgBouncer.start(path.join(stack.dir, 'lax'), stack.pg,
                                      { ignore_startup_parameters: 'options' });
    const refuses = async () => {
        const pooled = await migrate({ DATABASE_URL: lax.url, DATABASE_SCHEMA: 'swallowed' });
        assert.notEqual(pooled.code, 0);
        assert.match(pooled.stderr, /a pooler stands between.*DATABASE_LISTEN_URL/);
        assert.deepEqual(await stack.pg.query(`select 1 from pg_namespace where nspname = 'swallowed'`), []);
        const worker = await stack.startWorker({}, { DATABASE_URL: lax.url }, { mute: true });
        await worker.child.line(/postgres lost connection=listen why=.*DATABASE_LISTEN_URL/);
        await worker.child.line(/postgres lost connection=pool why=.*DATABASE_LISTEN_URL/);
        await worker.stop();
    };
    const isDeaf = async () => { // said to be for LISTEN, and it is not
        const bridge = new Bridge(stack, 'bridge', { listen: '127.0.0.1:0' }, stack.env({
            JWT_SECRET: stack.signer.secret, DATABASE_URL: lax.url, DATABASE_LISTEN_URL: lax.url }));
        stack.bridges.push(bridge);
        const [, port] = await bridge.child.line(/ info listening address=\S+:(\d+)/);
        await bridge.child.line(/ info postgres connected/);
        // nobody would tell its streams that a thread has another owner
        const ready = async () => {
            const answer = await fetch(`http://127.0.0.1:${port}/readyz`);
            const { ready: yes, postgres, listen } = await answer.json();
            return [answer.status, yes, postgres, listen];
        };
        await until(async () => (await ready())[2] === 'ok', { what: 'the pool is there' });
        assert.deepEqual(await ready(), [503, false, 'ok', 'down']);
        await bridge.child.line(/listening for changes of owners why="LISTEN hears nothing through its pooler: set DATABASE_LISTEN_URL/);
        assert.deepEqual(await ready(), [503, false, 'ok', 'down']);
        await bridge.stop();
    };
    try {
        await Promise.all([refuses(), isDeaf()]);
    } finally {
        await lax.stop('SIGKILL');
    }
});

test('a pooler that pools by sessions is heard through', async () => {
    const sessions = await PgBouncer.start(path.join(stack.dir, 'sessions'), stack.pg,
                                           { pool_mode: 'session', default_pool_size: 20 });
    const through = { DATABASE_URL: sessions.url, DATABASE_LISTEN_URL: sessions.url, DATABASE_SCHEMA: 'sessions', REDIS_PREFIX: 's:' };
    try {
        const migrated = await command(path.join(BIN, 'threadcast-worker'), ['migrate'], { env: { ...stack.env(), ...through } });
        assert.equal(migrated.code, 0, migrated.stderr);
        const worker = await stack.startWorker({ 'poll-ms': 600_000, 'demo-rate': 0 }, through);
        await stack.pg.query(`select sessions.send_message('t', 'does it ring?', owner => 'ann')`);
        await until(async () => (await stack.pg.query(`select 1 from sessions.runs where status = 'done'`)).length,
                    { what: 'the run is done, long before the poll' });
        assert.doesNotMatch(worker.output, /postgres lost/);
        await worker.stop();
    } finally {
        await sessions.stop('SIGKILL');
    }
});

test('the pooler dies again and again under many runs: each ends once, as it is recorded', {
    skip: !process.env.THREADCAST_FULL && 'THREADCAST_FULL=1' }, async () => {
    await stack.startWorker({ 'demo-rate': 200, 'poll-ms': 500, 'lease-ms': 5000 }, env);
    const asked = [];
    for (let i = 0; i < 20; i++) {
        const thread = await stack.thread();
        const { runId, cursor } = await stack.post(thread, `run ${i} of many`);
        asked.push({ runId, stream: stack.threadEvents(thread, `since=${cursor}`) });
    }
    await Promise.all(asked.map(({ stream }) => stream.next())); // let in, while the pooler was there
    const ends = () => asked.filter(({ stream }) => stream.json.some((event) => event.type === 'done')).length;
    for (let i = 0; i < 10; i++) {
        const ready = async () => (await stack.bridge.fetch('/readyz')).ok;
        await until(ready, { what: 'everybody is connected again' });
        await bouncer.stop('SIGKILL');
        await until(async () => !await ready(), { what: 'it is missed' });
        await bouncer.start();
        await disturb();
    }
    await until(() => ends() === asked.length, { timeout: 60_000, what: () => `all have ended, not ${ends()}` });
    for (const { runId, stream } of asked) {
        const row = await stack.ended(runId);
        assert.equal(row.status, 'done');
        assert.equal(stream.json.filter((event) => event.type === 'done').length, 1);
        assert.equal(stream.text(runId), await stack.messageText(row.reply_id));
        stream.close();
    }
});
