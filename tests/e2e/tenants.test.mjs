// Two tenants: one Redis with two prefixes, one database with two schemas, an application's
// own tables beside them. The same thread ids on both sides, and neither ever sees the other.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { BIN, ROOT, run as command, Stack, until } from './harness.mjs';

const TENANTS = [
    { prefix: 'red:', schema: 'red' },
    // what a schema may be called: everything
    { prefix: 'blue.', schema: `Robert"; drop schema red cascade; --` },
].map((tenant) => ({ ...tenant, quoted: pg.escapeIdentifier(tenant.schema),
                     env: { REDIS_PREFIX: tenant.prefix, DATABASE_SCHEMA: tenant.schema } }));
const [RED, BLUE] = TENANTS;

/** @type {Stack} */
let stack;
/** @type {string[][]} what Redis was asked to do */
const commands = [];
/** @type {string[]} channel and payload */
const heard = [];
/** @type {Record<string, string[]>} their runs, by schema */
const asked = { [RED.schema]: [], [BLUE.schema]: [] };
/** @type {string} */
let theirs;
/** @type {(() => unknown)[]} */
const closing = [];
after(() => Promise.all(closing.map((close) => close())));

const relations = async () => JSON.stringify(await stack.pg.query(
    `select n.nspname, relname, relkind, relacl::text from pg_class c join pg_namespace n on n.oid = relnamespace
     where n.nspname in ('public', 'threadcast') union all
     select n.nspname, proname, 'f', proacl::text from pg_proc join pg_namespace n on n.oid = pronamespace
     where n.nspname = 'public' order by 1, 2`));
const rows = async () => JSON.stringify([await stack.pg.query('select * from public.threads'),
                                         await stack.pg.query('select * from public.runs')]);

async function setUp() {
    await stack.pg.query(`create table public.threads (id text primary key, subject text);
                          create table public.runs (id int); create table public.messages (id int, body text);
                          create table public.migrations (name text);
                          create function public.cancel_run(uuid, text) returns int language sql as 'select 1/0';
                          insert into public.threads values ('t', 'an application''s own'); insert into public.runs values (1)`);
    theirs = await relations() + await rows();
    const monitor = await stack.redis.connect().monitor();
    monitor.on('error', () => {});
    monitor.on('monitor', (/** @type {string} */ _, /** @type {string[]} */ args) => commands.push(args));
    closing.push(() => monitor.disconnect());
    const listener = new pg.Client({ connectionString: stack.pg.url });
    listener.on('error', () => {});
    await listener.connect();
    closing.push(() => listener.end());
    listener.on('notification', ({ channel, payload }) => heard.push(`${channel} ${payload}`));
    for (const { schema } of TENANTS) {
        for (const name of ['new_message', 'run_control', 'thread_changed']) {
            await listener.query(`listen ${pg.escapeIdentifier(`${schema}.${name}`)}`);
        }
    }
    await Promise.all(TENANTS.map(async ({ env }) => {
        const migrated = await command(path.join(BIN, 'threadcast-worker'), ['migrate'], { env: { ...stack.env(), ...env } });
        assert.equal(migrated.code, 0, migrated.stderr);
    }));
    await Promise.all(TENANTS.flatMap(({ env }) => [stack.startWorker({ 'demo-rate': 300, 'lease-ms': 1500 }, env),
                                                    stack.startBridge({}, env)]));
}
before(async () => {
    stack = await Stack.start({ workers: 0, bridges: 0 });
    await setUp().catch(async (error) => { // behind a hook that failed no other is called
        await Promise.allSettled([stack.stop(), ...closing.map((close) => close())]);
        throw error;
    });
});

/** Both at once, on the thread of that name. @param {string} thread */
async function posts(thread) {
    return Promise.all(TENANTS.map(async (tenant, i) => {
        const bridge = stack.bridges[i];
        const made = await stack.request('POST', '/v1/threads', { json: { id: thread }, bridge });
        assert.ok([201, 409].includes(made.status), made.text);
        const posted = await stack.post(thread, `I am ${tenant.prefix}`, { bridge });
        asked[tenant.schema].push(posted.runId);
        const stream = stack.threadEvents(thread, `since=${posted.cursor}`, { bridge });
        return { ...posted, stream, bridge, tenant };
    }));
}

test('the same thread on both: each reader gets its own answer', async () => {
    const both = await posts('t');
    for (const { stream, runId, tenant } of both) {
        await stream.type('done');
        assert.deepEqual([...new Set(stream.json.map((event) => event.runId))], [runId]);
        const [row] = await stack.pg.query(`select status from ${tenant.quoted}.runs where id = $1`, [runId]);
        assert.equal(row.status, 'done');
        assert.deepEqual(await stack.pg.query(
            `select 1 from ${(tenant === RED ? BLUE : RED).quoted}.runs where id = $1`, [runId]), []);
    }
    for (const { stream } of both) stream.close();
});

test('cancelled, deleted, published from outside, kept answers: on one side only', async () => {
    const [red, blue] = await posts('c');
    await Promise.all([red.stream.type('token'), blue.stream.type('token')]);
    const wrong = await stack.request('POST', `/v1/runs/${red.runId}/cancel`, { bridge: blue.bridge });
    assert.equal(wrong.status, 403);
    const cancelled = await stack.request('POST', `/v1/runs/${red.runId}/cancel`, { bridge: red.bridge });
    assert.equal(cancelled.status, 202);
    assert.equal((await red.stream.type('done')).json.content.finishReason, 'cancelled');
    const event = { type: 'delta', content: { kind: 'mark' } };
    const outside = await stack.publish('c', event, { bridge: red.bridge, headers: { 'Idempotency-Key': 'once' } });
    assert.equal(outside.status, 202, outside.text);
    await red.stream.next((got) => got.json?.content?.kind === 'mark');
    assert.notEqual((await blue.stream.type('done')).json.content.finishReason, 'cancelled');
    assert.ok(!blue.stream.json.some((got) => got.content?.kind === 'mark'));
    assert.equal((await stack.request('DELETE', '/v1/threads/c', { bridge: red.bridge })).status, 204);
    await red.stream.end();
    const { client } = stack.redis;
    const kept = (/** @type {string} */ prefix) => client.exists(`${prefix}{thread:c}:log`, `${prefix}{thread:c}:state`);
    await until(async () => await kept('red:') === 0, { what: 'its keys are gone' });
    assert.equal(await kept('blue.'), 2, 'the other\'s are not');
    assert.equal(blue.stream.ending, '');
    blue.stream.close();
});

test('Redis forgets everything in mid-run: both begin anew, each its own', async () => {
    const both = await posts('f');
    await Promise.all(both.map(({ stream }) => stream.type('token')));
    await stack.redis.client.flushall();
    for (const { stream, runId, tenant } of both) {
        await stream.type('done');
        const [{ content }] = await stack.pg.query(`select m.content from ${tenant.quoted}.messages m
            join ${tenant.quoted}.runs r on r.reply_id = m.id where r.id = $1`, [runId]);
        assert.equal(stream.text(runId), content);
        assert.ok(stream.json.every((event) => event.runId === runId));
        stream.close();
    }
});

test('an SDK with a prefix publishes to its own', async () => {
    const stream = stack.threadEvents('py', '', { bridge: stack.bridges[0], read: ['py'] });
    const other = stack.threadEvents('py', '', { bridge: stack.bridges[1], read: ['py'] });
    await Promise.all([stream.named('ready'), other.named('ready')]);
    const python = await command('/usr/bin/python3', ['-c', `
import os, redis, threadcast
with threadcast.run(redis.from_url(os.environ["REDIS_URL"]), "py", prefix="red:") as run:
    run.token("from Python")
`], { env: { ...stack.env(), PYTHONPATH: path.join(ROOT, 'sdk/python') } });
    assert.equal(python.code, 0, python.stderr);
    await stream.type('done');
    assert.equal(stream.text(), 'from Python');
    assert.deepEqual(other.json, []);
    for (const opened of [stream, other]) opened.close();
});

test('every key and every channel has its prefix', async () => {
    const client = stack.redis.connect();
    /** @param {string[]} args @returns {Promise<string[]>} */
    const names = async (args) => {
        switch (args[0].toLowerCase()) {
            case 'publish': return [args[1]];
            case 'subscribe': case 'unsubscribe': return args.slice(1);
            default:
                return /** @type {Promise<string[]>} */ (client.call('COMMAND', 'GETKEYS', ...args).catch(() => []));
        }
    };
    const seen = { 'red:': new Set(), 'blue.': new Set() };
    try {
        for (const args of commands.slice()) {
            for (const name of await names(args)) {
                const prefix = TENANTS.find((tenant) => name.startsWith(tenant.prefix))?.prefix;
                assert.ok(prefix, `${name} in ${args.slice(0, 4).join(' ').slice(0, 200)}`);
                seen[prefix].add(name.slice(prefix.length).replace(/(threadcast:\w+:).*/, '$1'));
            }
        }
        for (const name of await client.keys('*')) assert.match(name, /^(red:|blue\.)/);
        for (const name of /** @type {string[]} */ (await client.pubsub('CHANNELS'))) assert.match(name, /^(red:|blue\.)/);
    } finally {
        client.disconnect();
    }
    for (const prefix of ['red:', 'blue.']) {
        for (const name of ['thread:t', '{thread:t}:log', '{thread:t}:state', 'threadcast:worker:',
                            'threadcast:control', 'threadcast:canary:']) {
            assert.ok(seen[prefix].has(name), `${prefix}${name} was used (${[...seen[prefix]].join(' ')})`);
        }
    }
    assert.ok([...seen['red:']].some((name) => /^\{thread:c\}:once:/.test(name)), 'a kept answer');
});

test('channels of PostgreSQL are the schema\'s own, and nothing of the application\'s was touched', async () => {
    const on = (/** @type {string} */ schema, /** @type {string} */ name) =>
        heard.filter((line) => line.startsWith(`${schema}.${name} `));
    await until(() => asked.red.length >= 3 && on('red', 'thread_changed').length, { what: 'what happened was told' });
    for (const [mine, other] of [[RED.schema, BLUE.schema], [BLUE.schema, RED.schema]]) {
        assert.ok(asked[mine].some((id) => on(mine, 'new_message').some((line) => line.includes(id))), mine);
        for (const id of asked[other]) assert.ok(!heard.some((line) => line.startsWith(`${mine}.`) && line.includes(id)), id);
    }
    assert.deepEqual(on('red', 'thread_changed'), ['red.thread_changed c']);
    assert.deepEqual(on(BLUE.schema, 'thread_changed'), []);
    assert.ok(on('red', 'run_control').length);
    assert.equal(await relations() + await rows(), theirs);
});

test('one transaction with a message for each: both workers are told', async () => {
    const from = heard.length;
    await stack.pg.query(`do $$ begin
        insert into red.threads (id, owner) values ('both', 'ann'); insert into ${BLUE.quoted}.threads (id, owner) values ('both', 'ann');
        perform red.send_message('both', 'x'); perform ${BLUE.quoted}.send_message('both', 'x'); end $$`);
    await until(() => TENANTS.every(({ schema }) => heard.slice(from).some((line) => line.startsWith(`${schema}.new_message`))),
                { what: () => heard.slice(from).join('\n') });
});

test('names that are no schema and no prefix are refused', async () => {
    for (const [name, value] of [['database-schema', ''], ['database-schema', 'pg_temp'], ['database-schema', 'x'.repeat(64)],
                                 ['database-schema', 'information_schema'], ['redis-prefix', 'a{b'], ['redis-prefix', 'a b']]) {
        for (const program of ['threadcast-worker', 'threadcast-bridge']) {
            const { code, stderr } = await command(path.join(BIN, program), [`--${name}=${value}`, '--check-config'],
                { env: { DATABASE_URL: 'postgresql:///x', JWT_SECRET: 'x'.repeat(64) } });
            assert.equal(code, 2, `${program} --${name}=${value} ${stderr}`);
            assert.match(stderr, new RegExp(name));
        }
    }
});

test('a long schema name has channels too', async () => {
    const schema = 'ä'.repeat(31);
    const env = { DATABASE_SCHEMA: schema, REDIS_PREFIX: 'long:' };
    const migrated = await command(path.join(BIN, 'threadcast-worker'), ['migrate'], { env: { ...stack.env(), ...env } });
    assert.equal(migrated.code, 0, migrated.stderr);
    const worker = await stack.startWorker({ 'poll-ms': 60_000, 'demo-rate': 0 }, env);
    await stack.pg.query(`insert into "${schema}".threads (id, owner) values ('t', 'ann')`);
    await stack.pg.query(`select "${schema}".send_message('t', 'does it ring?')`);
    await until(async () => (await stack.pg.query(`select 1 from "${schema}".runs where status = 'done'`)).length,
                { what: 'the run is done, long before the poll' });
    await worker.stop();
});
