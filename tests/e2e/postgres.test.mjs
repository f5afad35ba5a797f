// Their Postgres: roles with the least rights, SQL for applications, the schema's version,
// migrations that wait for nobody, and what daemons of the version before still call.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { BIN, ROOT, run as command, Stack, until } from './harness.mjs';

/** @type {Stack} */
let stack;
before(async () => {
    stack = await Stack.start({ workers: 0, bridges: 0 });
    await stack.pg.query(`create role chat_bridge login; create role chat_worker login;
                          create role chat_app login; create role stranger login`);
});

/** @type {Set<pg.Client>} */
const clients = new Set();
after(() => Promise.allSettled([...clients].map((client) => client.end())));

/** A session of a role. */
async function as(/** @type {string} */ role) {
    const client = new pg.Client({ connectionString: stack.pg.urlAs(role) });
    client.on('error', () => {});
    await client.connect();
    clients.add(client);
    return client;
}

/** @param {string[]} [args] @param {Record<string, string>} [env] */
const migrate = (args = [], env = {}) => command(path.join(BIN, 'threadcast-worker'), ['migrate', ...args],
                                                 { env: { ...stack.env(), ...env } });

/** @param {pg.Client} client @param {string} sql @param {unknown[]} [values] */
async function refused(client, sql, values = []) {
    try {
        await client.query(sql, values);
    } catch (error) {
        return /** @type {any} */ (error).code;
    }
    return 'done';
}

// --- roles --------------------------------------------------------------------------------

test('daemons under roles that may not change the schema: everything works', async () => {
    const granted = await migrate(['--grant', 'bridge=chat_bridge,worker=chat_worker,app=chat_app']);
    assert.equal(granted.code, 0, granted.stderr);
    const url = (/** @type {string} */ role) => ({ DATABASE_URL: stack.pg.urlAs(role) });
    await Promise.all([stack.startBridge({}, url('chat_bridge')),
                       stack.startWorker({ 'demo-rate': 0, 'poll-ms': 200, 'housekeeping-ms': 100,
                                           'runs-retention-days': 1, 'messages-retention-days': 1 },
                                         url('chat_worker'))]);
    const made = await stack.request('POST', '/v1/threads', { json: {} });
    assert.equal(made.status, 201, made.text);
    const thread = made.json.id;
    const asked = await stack.post(thread, 'as somebody who may do little', { key: 'k' });
    const stream = stack.threadEvents(thread, `since=${asked.cursor}`);
    await stream.type('done');
    assert.equal((await stack.ended(asked.runId)).status, 'done');
    for (const to of [`/v1/threads/${thread}/messages`, `/v1/threads/${thread}/runs`, '/v1/threads',
                      `/v1/runs/${asked.runId}`]) {
        assert.equal((await stack.request('GET', to)).status, 200, to);
    }
    const again = await stack.request('POST', `/v1/runs/${asked.runId}/retry`);
    assert.equal(again.status, 202, again.text);
    await stack.ended(again.json.runId);
    const cancelled = await stack.request('POST', `/v1/runs/${again.json.runId}/cancel`);
    assert.equal(cancelled.status, 200, cancelled.text);
    assert.equal((await stack.request('DELETE', `/v1/threads/${thread}`)).status, 204);
    await stream.end();
    for (const daemon of [stack.bridge, stack.worker]) assert.doesNotMatch(daemon.output, /42501|permission denied/);
});

test('what the roles may not: change the schema, read what is not theirs, call the others\' functions', async () => {
    const [bridge, worker, app, stranger] = await Promise.all(
        ['chat_bridge', 'chat_worker', 'chat_app', 'stranger'].map(as));
    for (const client of [bridge, worker, app, stranger]) {
        for (const sql of ['create table threadcast.x ()', 'alter table threadcast.runs add x int', 'drop schema threadcast cascade',
                           'truncate threadcast.runs', 'delete from threadcast.threads', `update threadcast.runs set status = 'done'`,
                           `insert into threadcast.threads (id, owner) values ('x', 'x')`, 'select * from threadcast.idempotency',
                           'create function threadcast.f() returns int language sql return 1',
                           `select threadcast.grant_part('stranger', 'bridge')`, 'select threadcast.settle_rights()',
                           'insert into threadcast.grants values (\'stranger\', \'bridge\')']) {
            assert.equal(await refused(client, sql), '42501', sql);
        }
    }
    const claim = `select threadcast.claim_runs('x', 1, 1000, 3, true)`;
    const post = `select threadcast.post_message('t', 'ann', 'x', null, null, null, null, null)`;
    const send = `select threadcast.send_message('t', 'x')`;
    const read = 'select * from threadcast.messages';
    assert.equal(await refused(bridge, read), 'done');
    const register = `select threadcast.register_worker('x', 'x', '[]', 1)`;
    for (const sql of [claim, send, register, 'select * from threadcast.workers', 'select * from threadcast.usage_by_owner',
                       `select * from threadcast.cancel_thread('t')`]) {
        assert.equal(await refused(bridge, sql), '42501', sql);
    }
    for (const sql of [read, post, send]) assert.equal(await refused(worker, sql), '42501', sql);
    assert.equal(await refused(app, 'select * from threadcast.usage_by_owner'), 'done');
    for (const sql of [read, post, claim, register, 'select * from threadcast.threads', 'select * from threadcast.run_figures',
                       `select threadcast.cancel_thread('t', null)`, `select threadcast.thread_usage('t')`, 'select * from threadcast.runs',
                       `select threadcast.cancel_run(gen_random_uuid(), null)`,
                       `select threadcast.delete_thread('t', null)`]) {
        assert.equal(await refused(app, sql), '42501', sql);
    }
    for (const sql of [read, post, claim, send, register, 'select * from threadcast.usage_by_owner']) assert.equal(await refused(stranger, sql), '42501', sql);
});

test('a function with its owner\'s rights looks nowhere else', async () => {
    const found = await stack.pg.query(`select p.oid::regprocedure::text as name, proconfig, prosecdef
        from pg_proc p join pg_namespace n on n.oid = pronamespace where nspname = 'threadcast'`);
    assert.ok(found.length > 40);
    for (const { name, proconfig, prosecdef } of found) {
        assert.deepEqual(proconfig, ['search_path=threadcast, pg_temp'], name);
        assert.equal(prosecdef, !/^(settle_rights|grant_parts?|revoke_part|part_)/.test(name), name);
    }
    await stack.thread('mine', 'ann');
    const app = await as('chat_app');
    await app.query(`create temp table threads (id text, owner text); insert into threads values ('mine', 'eve');
                     create temp table messages (id uuid); create temp table runs (id uuid);
                     create function pg_temp.post_message(text, text, text, text, jsonb, text, text, text, text)
                         returns record language sql as $$ select 'ok', null::jsonb $$`);
    assert.equal(await refused(app, `select threadcast.send_message('mine', 'x', owner => 'eve')`), '42501');
    await app.query(`select threadcast.send_message('mine', 'x', owner => 'ann')`);
    assert.equal((await stack.pg.query(`select 1 from messages where thread_id = 'mine'`)).length >= 1, true);
});

test('who migrates needs no more than to make a schema', async () => {
    await stack.pg.query(`create role chat_owner login; grant create on database threadcast to chat_owner`);
    const owned = await migrate(['--grant', 'app=chat_app'], { DATABASE_SCHEMA: 'owned', DATABASE_URL: stack.pg.urlAs('chat_owner') });
    assert.equal(owned.code, 0, owned.stderr);
    const app = await as('chat_app');
    assert.equal(await refused(app, `select owned.send_message('t', 'x', owner => 'ann')`), 'done');
    assert.equal(await refused(app, 'select * from owned.messages'), '42501');
});

test('rights that are taken back are gone', async () => {
    await stack.pg.query(`select grant_part('stranger', 'app')`);
    const stranger = await as('stranger');
    assert.equal(await refused(stranger, `select threadcast.send_message('nowhere', 'x')`), 'P0002');
    const granted = await Promise.all([0, 1, 2, 3].map(() => migrate(['--grant', 'app=stranger,bridge=chat_bridge'])));
    for (const { code, stderr } of granted) assert.equal(code, 0, stderr);
    await stack.pg.query(`select revoke_part('stranger', 'app')`);
    assert.equal(await refused(stranger, `select threadcast.send_message('nowhere', 'x')`), '42501');
    assert.equal((await migrate(['--grant', 'app=nobody_has_that_name'])).code, 1);
    for (const bad of ['app', 'app=', 'boss=x', 'app=a,', ',']) {
        assert.equal((await migrate(['--grant', bad])).code, 2, bad);
    }
});

// --- send_message, cancel_run ---------------------------------------------------------------

test('send_message refuses what POST …/messages refuses, each with its SQLSTATE', async () => {
    const app = await as('chat_app');
    await stack.thread('theirs', 'bob');
    const send = (/** @type {string} */ args) => refused(app, `select threadcast.send_message(${args})`);
    for (const [args, state] of [
        [`'a b', 'x'`, '22023'], [`'', 'x'`, '22023'], [`null, 'x'`, '22023'], [`repeat('a', 129), 'x'`, '22023'],
        [`'theirs', ''`, '22023'], [`'theirs', null`, '22023'],
        [`'theirs', 'x', agent => 'a b'`, '22023'], [`'theirs', 'x', agent => repeat('a', 65)`, '22023'],
        [`'theirs', 'x', agent => e'a\\n'`, '22023'],
        [`'theirs', 'x', metadata => '[]'`, '22023'], [`'theirs', 'x', metadata => '{"agent": 1}'`, '22023'],
        [`'theirs', 'x', metadata => '{"agent": "a b"}'`, '22023'], [`'theirs', 'x', mode => 'later'`, '22023'],
        [`'theirs', 'x', owner => ''`, '22023'], [`'theirs', 'x', owner => repeat('a', 257)`, '22023'],
        [`'theirs', 'x', owner => e'a\\tb'`, '22023'], [`'theirs', 'x', key => 'a b'`, '22023'],
        [`'theirs', 'x', key => ''`, '22023'],
        [`'theirs', 'x', metadata => jsonb_build_object('a', (repeat('[', 31) || repeat(']', 31))::jsonb)`, '22023'],
        [`'theirs', repeat('x', 65537)`, '54000'],
        [`'theirs', 'x', metadata => jsonb_build_object('a', repeat('x', 65536))`, '54000'],
        [`'nowhere', 'x'`, 'P0002'],
        [`'theirs', 'x', owner => 'ann'`, '42501'],
    ]) {
        assert.equal(await send(args), state, args);
    }
    // what is just inside the limits is taken, here and there
    const deep = `{"a": ${'['.repeat(30)}${']'.repeat(30)}}`;
    assert.equal(await send(`'theirs', 'x', metadata => '{"a": ${'['.repeat(31)}${']'.repeat(31)}}'`), '22023');
    assert.deepEqual(await stack.pg.query(`select 1 from messages where thread_id = 'theirs'`), []);
    assert.equal(await send(`'theirs', 'x', metadata => '${deep}'`), 'done');
    for (const [nested, status] of [[deep, 202], [`{"a": ${'['.repeat(31)}${']'.repeat(31)}}`, 400]]) {
        const posted = await stack.request('POST', '/v1/threads/theirs/messages',
                                           { sub: 'bob', json: { content: 'x', metadata: JSON.parse(String(nested)) } });
        assert.equal(posted.status, status, posted.text);
    }
    assert.deepEqual(await stack.pg.query(`select 1 from threads where id = 'nowhere'`), []);
});

test('a message of the application\'s own transaction: there at the commit, and not behind a rollback', async () => {
    const app = await as('chat_app');
    const send = `select * from threadcast.send_message($1, $2, owner => 'ann', metadata => '{"a": 1}', key => $3)`;
    await app.query('begin');
    await app.query(send, ['sql-1', 'taken back', null]);
    await app.query('rollback');
    assert.deepEqual(await stack.pg.query(`select 1 from threads where id = 'sql-1'`), []);
    await app.query('begin');
    const { rows: [ids] } = await app.query(send, ['sql-1', 'hello', 'key-1']);
    assert.equal(await stack.run(ids.run_id), undefined, 'not before the commit');
    await app.query('commit');
    const row = await stack.ended(ids.run_id);
    assert.deepEqual([row.status, row.reply_id, row.message_id, row.owner, row.thread_id],
                     ['done', ids.reply_id, ids.message_id, 'ann', 'sql-1']);
    assert.ok(await stack.messageText(ids.reply_id));
    assert.deepEqual((await app.query(send, ['sql-1', 'hello', 'key-1'])).rows[0], ids, 'asked again with its key');
    assert.equal(await refused(app, send, ['sql-1', 'other', 'key-1']), '23505');
    const { messages } = (await stack.request('GET', '/v1/threads/sql-1/messages')).json;
    assert.deepEqual(messages.map((/** @type {any} */ message) => message.role), ['user', 'assistant']);
    assert.equal(messages[0].metadata.a, 1);
    assert.equal(messages[0].author, 'ann');
});

test('cancel_run: told at the commit, found by the poll where nobody can tell', async () => {
    const app = await as('chat_app');
    assert.equal(await refused(app, 'select threadcast.cancel_run(gen_random_uuid())'), 'P0002');
    assert.equal(await refused(app, 'select threadcast.cancel_run(null)'), 'P0002');
    const slow = { 'demo-rate': 20, 'lease-ms': 120_000, 'poll-ms': 500 };
    const sent = async (/** @type {string} */ thread) => {
        const { rows: [ids] } = await app.query(
            `select * from threadcast.send_message($1, 'a long story', owner => 'ann')`, [thread]);
        await until(async () => (await stack.run(ids.run_id)).status === 'running', { what: 'it runs' });
        return ids;
    };
    await stack.worker.stop();
    const url = { DATABASE_URL: stack.pg.urlAs('chat_worker') };
    const rings = await stack.startWorker({ ...slow, 'poll-ms': 60_000 }, url);
    const one = await sent('told');
    const busy = await app.query(`select * from threadcast.send_message('told', 'waits')`);
    assert.equal(await refused(app, `select threadcast.send_message('told', 'x', mode => 'reject')`), '55006');
    assert.equal((await app.query('select * from threadcast.cancel_run($1)', [busy.rows[0].run_id])).rows[0].status, 'cancelled');
    const { rows: [said] } = await app.query('select * from threadcast.cancel_run($1)', [one.run_id]);
    assert.deepEqual(said, { status: 'running', thread_id: 'told' });
    assert.equal((await stack.ended(one.run_id)).status, 'cancelled');
    assert.equal((await app.query('select status from threadcast.cancel_run($1)', [one.run_id])).rows[0].status, 'cancelled');
    await rings.stop();
    // the lease is renewed every 40 s: what finds it is the poll
    const deaf = await stack.startWorker(slow, { ...url, DATABASE_LISTEN_URL: 'postgresql:///x?host=/nowhere' });
    const two = await sent('polled');
    await app.query('select threadcast.cancel_run($1)', [two.run_id]);
    assert.equal((await stack.ended(two.run_id)).status, 'cancelled');
    await deaf.stop();
});

// --- the schema's version -----------------------------------------------------------------

const LATEST = fs.readdirSync(path.join(ROOT, 'db')).sort().at(-1)?.slice(0, 4) ?? '';

test('a schema that is newer, too new, too old: daemons say so, wait, and go on by themselves', async () => {
    const said = (/** @type {() => import('./harness.mjs').Child} */ child, /** @type {RegExp} */ pattern) =>
        until(() => pattern.test(child().output), { what: () => `${pattern}\n${child().tail()}` });
    const bridge = () => stack.bridge.child;
    const worker = () => stack.workers[stack.workers.length - 1].child;
    // newer, and made so that it fits
    await stack.pg.query(`insert into migrations (name, checksum, compatible_from) values ('9000_future', 'x', $1)`, [Number(LATEST)]);
    await stack.bridge.restart();
    // newer, and not
    await stack.pg.query(`update migrations set compatible_from = 8999 where name = '9000_future'`);
    await stack.bridge.stop();
    const going = [stack.bridge.start(), stack.startWorker({ 'demo-rate': 0, 'poll-ms': 200 },
                                                           { DATABASE_URL: stack.pg.urlAs('chat_worker') })];
    for (const start of going) start.catch(() => {});
    const tooNew = /schema threadcast has version 9000 and works with programs from 8999 on/;
    await Promise.all([said(bridge, tooNew), said(worker, tooNew)]);
    const [, port] = await bridge().line(/ info listening address=\S+:(\d+)/);
    assert.equal((await fetch(`http://127.0.0.1:${port}/readyz`)).status, 503);
    // older
    await stack.pg.query(`create table kept as select * from migrations where name ~ $1`, [`^${LATEST}`]);
    await stack.pg.query(`delete from migrations where name ~ $1`, [`^(9000|${LATEST})`]);
    const tooOld = /schema threadcast has version \d+, older than this program's \d+: run threadcast-worker migrate/;
    await Promise.all([said(bridge, tooOld), said(worker, tooOld)]);
    assert.equal((await fetch(`http://127.0.0.1:${port}/readyz`)).status, 503);
    await stack.pg.query('insert into migrations select * from kept');
    await stack.pg.query('drop table kept');
    await Promise.all(going);
    const thread = await stack.thread();
    assert.equal((await stack.ended((await stack.post(thread, 'all is well')).runId)).status, 'done');
});

// --- migrations ---------------------------------------------------------------------------

/** A schema as an older version left it. @param {string} schema @param {string} [next] the first file it has not */
async function older(schema, next = '0004') {
    const client = await as('threadcast');
    await client.query(`create schema ${schema}; set search_path = ${schema}`);
    await client.query(`create table migrations (name text primary key, checksum text not null,
                                                 applied_at timestamptz not null default now())`);
    for (const file of fs.readdirSync(path.join(ROOT, 'db')).sort()) {
        if (file >= next) continue;
        const sql = fs.readFileSync(path.join(ROOT, 'db', file), 'utf8');
        await client.query(sql);
        await client.query('insert into migrations (name, checksum) values ($1, $2)',
                           [path.basename(file, '.sql'), createHash('sha256').update(sql).digest('hex')]);
    }
    return client;
}

test('somebody holds a lock: migrate says who, tries again, gives up in time, and goes on when they leave', async () => {
    const holder = await older('held');
    await holder.query(`set application_name = 'a long report'; begin; select * from migrations`);
    const hurried = ['--migrate-lock-timeout-ms', '50'];
    const gaveUp = await migrate([...hurried, '--migrate-tries', '2'], { DATABASE_SCHEMA: 'held' });
    assert.equal(gaveUp.code, 1);
    assert.match(gaveUp.stderr, /locked by a long report \(pid \d+, threadcast\)[^\n]*, given up after 2 tries/);
    assert.equal((await stack.pg.query(`select count(*)::int as n from held.migrations`))[0].n, 3, 'nothing is half done');
    const patient = migrate([...hurried, '--migrate-tries', '1000'], { DATABASE_SCHEMA: 'held' });
    await until(async () => (await stack.pg.query(`select 1 from pg_stat_activity where application_name = 'threadcast-migrate'`)).length);
    await holder.query('commit');
    const { code, stdout, stderr } = await patient;
    assert.equal(code, 0, stderr);
    assert.match(stdout, /0003_forgotten was there\nmigrate: 0004_tenants applied\nmigrate: 0005_agents applied/);
    // the rights come last, and wait no longer than the rest
    await holder.query('begin; lock table threadcast.grants in access exclusive mode');
    const rights = ['--grant', 'app=stranger'];
    const ungranted = await migrate([...rights, ...hurried, '--migrate-tries', '2']);
    assert.equal(ungranted.code, 1);
    // (a daemon that asks for the same has its turn in the queue)
    assert.match(ungranted.stderr, /grant: locked by [^\n]*a long report \(pid \d+, threadcast\)[^\n]*, given up after 2 tries/);
    const granting = migrate([...rights, ...hurried, '--migrate-tries', '1000']);
    await holder.query('rollback');
    assert.match((await granting).stdout, /granted app=stranger/);
    await holder.query(`begin; select pg_advisory_xact_lock(x'7468726561646361'::bigint)`);
    const other = await migrate([...hurried, '--migrate-tries', '1'], { DATABASE_SCHEMA: 'other' });
    assert.match(other.stderr, /0001_init: locked by [^\n]*a long report/);
    await holder.query('rollback');
});

test('a role that ran daemons over the schema of before still can; who could little can no more', async () => {
    const owner = await older('before');
    await owner.query(`create role did_all login; create role did_some login;
        grant usage on schema before to did_all, did_some;
        grant select, insert, update, delete on all tables in schema before to did_all;
        grant insert on before.messages to did_some;
        grant select on before.threads to did_some`);
    assert.equal((await migrate([], { DATABASE_SCHEMA: 'before' })).code, 0);
    await owner.query(`insert into before.threads (id, owner) values ('t', 'ann')`);
    const [all, some] = await Promise.all(['did_all', 'did_some'].map(as));
    assert.equal(await refused(all, `select before.post_message('t', 'ann', 'x', null, null, null, null, null)`), 'done');
    assert.equal(await refused(all, `select before.claim_runs('w', 1, 1000, 3, false)`), 'done');
    assert.equal(await refused(all, 'select * from before.migrations'), 'done');
    assert.equal(await refused(some, `insert into before.messages (thread_id, role, content) values ('t', 'user', 'x')`), 'done');
    assert.equal(await refused(some, `select before.delete_thread('t', null)`), '42501');
    assert.equal(await refused(some, `select before.post_message('t', 'ann', 'x', null, null, null, null, null)`), '42501');
    const { rows } = await owner.query(`select count(*)::int as n from before.runs`);
    assert.equal(rows[0].n, 2, 'a plain insert makes its run, whoever makes it');
});

test('what version 4 left: who waits goes on, what was used is counted, who was let in finds what is new', async () => {
    const owner = await older('four', '0005');
    await owner.query(`create role four_app login; create role four_worker login;
        select grant_part('four_app', 'app'), grant_part('four_worker', 'worker');
        select send_message('t', 'one', owner => 'ann'), send_message('t', 'two'), send_message('u', 'three', owner => 'ann');
        select * from claim_runs('w', 10, 600000, 3, false)`);
    const { rows } = await owner.query('select id, attempt, status, waits from runs order by seq');
    assert.deepEqual(rows.map((row) => [row.status, row.waits]), [['running', false], ['queued', true], ['running', false]]);
    const finish = `finish_run($1, $2, 'done', 'x', '{}', 'demo', '[{"type": "done"}]', 1, null, '{"inputTokens": 3, "outputTokens": 4}')`;
    await owner.query(`select ${finish}`, [rows[2].id, rows[2].attempt]);
    const { code, stderr } = await migrate([], { DATABASE_SCHEMA: 'four' });
    assert.equal(code, 0, stderr);
    const [app, worker] = await Promise.all(['four_app', 'four_worker'].map(as));
    await worker.query(`select four.${finish}`, [rows[0].id, rows[0].attempt]); // a worker of before
    const { rows: claimed } = await worker.query(`select run_id from four.claim_runs('w', 10, 600000, 3, false)`);
    assert.deepEqual(claimed, [{ run_id: rows[1].id }]);
    const { rows: used } = await app.query('select agent, runs::int, total_tokens::int from four.usage_by_owner order by agent');
    assert.deepEqual(used, [{ agent: 'default', runs: 1, total_tokens: 7 }, { agent: 'demo', runs: 1, total_tokens: 7 }]);
    const { rows: cancelled } = await app.query(`select status from four.cancel_thread('t')`);
    assert.deepEqual(cancelled, [{ status: 'running' }]);
});

// --- the version before ---------------------------------------------------------------------

// What daemons of schema versions 3 and 4 say to it, word for word. A list for each version whose
// programs still count as compatible (compatible_from in worker/migrate.c).
const VERSION_3 = [
    'SELECT * FROM claim_runs($1, $2, $3, $4, $5)', 'SELECT next_claim_ms($1)',
    'SELECT * FROM renew_runs($1, $2, $3, $4)', 'SELECT hand_back($1, $2, $3)', 'SELECT hand_back_others($1, $2)',
    'SELECT * FROM finish_run($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)', 'SELECT * FROM requeue_run($1, $2, $3, $4, $5)',
    'SELECT * FROM say_queued($1, $2)',
    'SELECT release_forgotten($1::int), prune_idempotency($1::int), prune_runs($2::int, $1::int), prune_messages($3::int, $1::int)',
    'SELECT recall_ends($1, $2)', 'SELECT * FROM unpublished_ends($1)', 'SELECT mark_end_published(ARRAY[$1::uuid])',
    'SELECT thread_history($1, $2, $3, $4)',
    'SELECT outcome, answer::text FROM post_message($1, $2, $3, $4, $5::jsonb, $6, $7, $8, $9)',
    'SELECT outcome, answer::text FROM post_message($1, $2, $3, $4, $5::jsonb, $6, $7, $8)',
    'SELECT outcome, answer::text FROM retry_run($1::uuid, $2, $3)',
    'SELECT outcome, status, thread_id FROM cancel_run($1::uuid, $2)',
    `SELECT outcome, id, to_jsonb(created_at) #>> '{}' FROM create_thread($1, $2, $3::jsonb)`,
    'SELECT delete_thread($1, $2)', 'SELECT ends_forgotten($1::uuid[])',
    'SELECT id, owner, metadata, created_at, updated_at FROM threads',
    'SELECT id, seq, thread_id, role, content, author, reply_to, run_id, metadata, created_at FROM messages',
    `SELECT id, seq, thread_id, message_id, reply_id, owner, agent, input, status, attempt, failures, lease_until, worker,
            cursor, run_at, slot, cancel_at, error, usage, end_events, end_seq, end_published_at, queued_at,
            started_at, ended_at, waits, queued_said FROM runs`,
    'LISTEN new_message', 'LISTEN run_control', 'LISTEN thread_changed',
    // applications, from 4 on
    'SELECT message_id, run_id, reply_id FROM send_message($1, $2)',
    `SELECT message_id, run_id, reply_id FROM send_message($1, $2, agent => 'a', metadata => '{}', owner => 'o', mode => 'queue', key => 'k')`,
    'SELECT status, thread_id FROM cancel_run($1)',
];
/** what they read of an answer by its place */
const COLUMNS_3 = {
    claim_runs: 'run_id,thread_id,message_id,reply_id,agent,input,attempt,cancelled,content,metadata,taken_over',
    renew_runs: 'run_id,cancelled', finish_run: 'outcome,status', requeue_run: 'outcome,delay_ms',
    say_queued: 'run_id,thread_id,reply_id,agent,waits',
    unpublished_ends: 'run_id,thread_id,reply_id,attempt,end_seq,end_events,content',
};

test('programs of the version before find all that they call, and are told what they listen to', async () => {
    const old = await as('threadcast');
    await old.query('set search_path = threadcast');
    let n = 0;
    for (const sql of VERSION_3) {
        await old.query(/^LISTEN/.test(sql) ? sql : `prepare p${n++} as ${sql}`);
    }
    for (const [name, columns] of Object.entries(COLUMNS_3)) {
        const [{ found }] = await stack.pg.query(`select array_to_string(array(select n from
            unnest(proargnames, proargmodes) as a (n, m) where m in ('o', 't')), ',') as found
            from pg_proc where proname = $1 and pronamespace = 'threadcast'::regnamespace`, [name]);
        assert.equal(found, columns, name);
    }
    /** @type {string[]} */
    const heard = [];
    old.on('notification', ({ channel }) => heard.push(channel));
    const thread = await stack.thread();
    const asked = await stack.post(thread, 'to both versions');
    await stack.request('POST', `/v1/runs/${asked.runId}/cancel`);
    await stack.ended(asked.runId);
    await stack.request('DELETE', `/v1/threads/${thread}`);
    await until(() => ['new_message', 'thread_changed'].every((channel) => heard.includes(channel)),
                { what: () => `${heard}` });
});
