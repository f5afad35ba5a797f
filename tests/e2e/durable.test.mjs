// Durable runs: leases, liveness, the queue of a thread, retries, what is pruned. Against
// a real Redis and PostgreSQL.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import pg from 'pg';
import { Proxy, Stack, until } from './harness.mjs';
import { runsOf } from './lib/runs.mjs';

/** @type {Stack} */
let stack;
before(async () => {
    stack = await Stack.start({ workers: 0, bridges: 0 });
});

const { workers, begin, events, streams, endsWell } = runsOf(() => stack);

/** @param {import('./harness.mjs').Worker} worker */
const instanceOf = (worker) => worker.output.match(/ready instance=(\w+)/)[1];

const cancel = async (/** @type {string} */ run) =>
    (await stack.pg.query('select * from cancel_run($1, null)', [run]))[0];

/** A worker takes nothing over for 2 s behind each of its connections. @param {import('./harness.mjs').Worker} worker */
const settledIn = async (worker) => (await stack.pg.query(
    `select max(backend_start) + interval '2.2 seconds' < clock_timestamp() as yes from pg_stat_activity where application_name like $1`,
    [`threadcast-worker:${instanceOf(worker)}%`]))[0].yes;

// --- liveness ---------------------------------------------------------------------------

test('a worker says that it lives, by the name that its runs carry, until it leaves', async (t) => {
    const worker = await workers(t)({ 'demo-rate': 40 });
    const key = `threadcast:worker:${instanceOf(worker)}`;
    const asked = await begin('who writes this?');
    await streams(asked);
    const state = await stack.redis.client.hget(`{thread:${asked.thread}}:state`, `r:${asked.run}`);
    assert.equal(`threadcast:worker:${state.split(' ')[3]}`, key);
    const ttl = () => stack.redis.client.pttl(key);
    assert.ok(await ttl() > 0 && await ttl() <= 1500, 'for one lease');
    let last = await ttl();
    await until(async () => {
        const now = await ttl();
        const renewed = now > last;
        last = now;
        assert.ok(now > 0, 'it is never gone');
        return renewed;
    }, { what: 'the key is renewed' });
    await stack.redis.client.client('KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await stack.redis.client.del(key);
    await until(async () => await ttl() > 0, { what: 'it is there again' });
    await cancel(asked.run);
    await endsWell(asked, 'cancelled');
    await worker.child.stop('SIGTERM');
    assert.equal(await ttl(), -2, 'taken away at the end');
});

test('a worker that sleeps does not look alive', async (t) => {
    const worker = await workers(t)();
    const key = `threadcast:worker:${instanceOf(worker)}`;
    await until(() => stack.redis.client.exists(key), { what: 'the key' });
    worker.child.kill('SIGSTOP');
    await until(async () => !await stack.redis.client.exists(key), { what: 'the key is gone after a lease' });
    worker.child.kill('SIGCONT');
    await until(() => stack.redis.client.exists(key), { what: 'the key is back' });
});

test('a worker that slept renews what is its own before it takes anything over', async (t) => {
    // its poll is due before its renewal then, and one goes behind the other
    const worker = await workers(t)({ 'demo-rate': 40, 'poll-ms': 20, 'database-pool': 1 });
    const asked = await begin('my worker naps alone');
    await streams(asked);
    worker.child.kill('SIGSTOP');
    await until(async () => (await stack.pg.query(
        'select lease_until < clock_timestamp() as over from runs where id = $1', [asked.run]))[0].over && await settledIn(worker),
                { what: 'the lease is over' });
    worker.child.kill('SIGCONT');
    await until(async () => (await stack.pg.query(
        'select lease_until > clock_timestamp() as held from runs where id = $1', [asked.run]))[0].held,
                { what: 'it is renewed' });
    await cancel(asked.run);
    const { row } = await endsWell(asked, 'cancelled');
    assert.deepEqual([row.attempt, row.failures], [1, 0]);
});

test('Postgres is away for longer than a lease: agents go on, and nobody takes anything over', async (t) => {
    const start = workers(t);
    await start({ 'demo-rate': 40 });
    const asked = await begin('Postgres takes a nap');
    await streams(asked);
    await start({ 'demo-rate': 40 });
    await stack.postgres.stop();
    const down = Date.now();
    await until(async () => (await events(asked)).at(-1).ts > down + 2000, { what: 'it goes on beyond its lease' });
    await stack.postgres.start();
    await until(async () => (await stack.pg.query('select pg_postmaster_start_time() < now() - interval \'4 seconds\' as late'))[0].late,
                { what: 'everybody could have taken it over' });
    await cancel(asked.run);
    const { row } = await endsWell(asked, 'cancelled');
    assert.deepEqual([row.attempt, row.failures], [1, 0]);
});

test('Postgres is back for an idle worker first: it waits for those who have runs', async (t) => {
    const start = workers(t);
    const busy = await start({ 'demo-rate': 40 });
    const asked = await begin('Postgres takes a nap, and I am asleep');
    await streams(asked);
    // without LISTEN nothing but its own connections tells it that Postgres was away
    await start({ 'database-listen-url': 'postgresql://threadcast@/threadcast?host=/nowhere' });
    await stack.postgres.stop();
    const down = Date.now();
    await until(async () => (await events(asked)).at(-1).ts > down + 2000, { what: 'the lease is over' });
    busy.child.kill('SIGSTOP');
    await stack.postgres.start();
    await until(async () => (await stack.pg.query(`select 1 from pg_stat_activity
        where application_name like 'threadcast-worker:%' and query like '%claim%'`)).length,
                { what: 'the idle worker has asked something' });
    busy.child.kill('SIGCONT');
    await cancel(asked.run);
    const { row } = await endsWell(asked, 'cancelled');
    assert.deepEqual([row.attempt, row.failures], [1, 0]);
});

test('Postgres has just started: for a lease nobody takes a run over, however late its worker comes', async (t) => {
    const start = workers(t), lease = { 'lease-ms': 10_000 };
    const far = await Proxy.start({ path: path.join(stack.pg.dir, '.s.PGSQL.5432') });
    t.after(() => far.stop());
    await start({ 'demo-rate': 40, 'database-url': `postgresql://threadcast@127.0.0.1:${far.port}/threadcast`, ...lease });
    const asked = await begin('my lease passed while nobody could renew it');
    await streams(asked);
    far.refuse(true); // its worker does not find back before another one has looked for work
    far.cutAll();
    await stack.pg.query(`update runs set lease_until = clock_timestamp() - interval '1 second' where id = $1`, [asked.run]);
    await stack.pg.restart();
    const other = await start(lease);
    await until(() => settledIn(other), { what: 'only the lease holds it back' });
    const next = await begin('who takes this has looked for those first');
    await until(async () => (await stack.run(next.run)).worker === instanceOf(other), { what: 'it takes what waits' });
    const [{ s }] = await stack.pg.query('select extract(epoch from clock_timestamp() - pg_postmaster_start_time())::float8 as s');
    assert.ok(s < 10, `within a lease of the start, not ${s} s behind it`);
    assert.equal((await stack.run(asked.run)).attempt, 1, 'nobody has taken it over');
    far.refuse(false);
    await until(async () => (await stack.pg.query(
        'select lease_until > clock_timestamp() as held from runs where id = $1', [asked.run]))[0].held, { what: 'it is renewed' });
    await cancel(asked.run);
    const { row } = await endsWell(asked, 'cancelled');
    assert.deepEqual([row.attempt, row.failures], [1, 0]);
    t.diagnostic(`it looked ${s.toFixed(1)} s after the start`);
});

test('with the default lease a dead worker\'s run goes on within 16 seconds', async (t) => {
    const start = workers(t);
    const options = { 'lease-ms': 15000, 'poll-ms': 2000, 'demo-rate': 10 };
    const first = await start(options);
    const asked = await begin('my worker dies');
    await streams(asked, 1);
    await start(options);
    first.forgiven = true;
    await first.kill();
    const died = performance.now();
    await until(async () => (await events(asked)).some((event) => event.content.status === 'rewind'),
                { timeout: 20_000, what: () => `it is taken over\n${stack.logs(20)}` });
    const took = performance.now() - died;
    assert.ok(took <= 16_000, `after ${Math.round(took)} ms`);
    await cancel(asked.run);
    await endsWell(asked, 'cancelled');
});

test('workers deployed one after the other lose nothing and do nothing twice', async (t) => {
    const start = workers(t);
    const options = { concurrency: 20, 'drain-ms': 600, 'demo-rate': 200, 'lease-ms': 10_000 };
    let worker = await start(options);
    const asked = await Promise.all(Array.from({ length: 24 }, (_, i) => begin(`run ${i}`)));
    for (let i = 0; i < 3; i++) {
        await streams(asked[i * 8], 1);
        const next = await start(options);
        await worker.child.stop('SIGTERM');
        assert.equal(worker.child.code, 0, worker.child.tail(40));
        worker = next;
    }
    for (const one of asked) assert.equal((await endsWell(one)).row.failures, 0);
});

// --- the queue of a thread ----------------------------------------------------------------

/** @param {string} name @param {string} text of a shell script */
const script = (name, text) => {
    const file = path.join(stack.dir, name);
    fs.writeFileSync(file, `#!/bin/sh\n${text}`, { mode: 0o755 });
    return `${name}=exec:exec ${file}`;
};

/** @param {string} thread @param {string} content @param {object} [metadata] */
async function insert(thread, content, metadata = {}) {
    const [message] = await stack.pg.query(
        `insert into messages (thread_id, role, content, metadata) values ($1, 'user', $2, $3) returning id`,
        [thread, content, metadata]);
    const [row] = await stack.pg.query(
        'select id, reply_id, waits from runs where message_id = $1', [message.id]);
    return { thread, run: row.id, reply: row.reply_id, waits: row.waits, message: message.id };
}

test('runs of a thread go one after the other, and each knows the answer before it', async (t) => {
    const thread = await stack.thread();
    const asked = [];
    for (const word of ['one', 'two', 'three']) asked.push(await insert(thread, word, { agent: 'teller' }));
    assert.deepEqual(asked.map((one) => one.waits), [false, true, true]);
    await workers(t)({ agents: script('teller', `python3 -c "
import json, sys
said = json.loads(sys.stdin.readline())
text = ' '.join(m['role'][0] + ':' + m['content'] for m in said['messages']) + ' > ' + said['message']['content']
print(json.dumps({'type': 'token', 'content': text}))"\n`) });
    const ended = [];
    for (const one of asked) ended.push(await endsWell(one));
    assert.equal(ended[0].text, ' > one');
    assert.equal(ended[1].text, 'u:one a: > one > two');
    assert.equal(ended[2].text, 'u:one a: > one u:two a:u:one a: > one > two > three');
    for (let i = 1; i < 3; i++) assert.ok(ended[i].row.started_at >= ended[i - 1].row.ended_at, 'in turn');
});

test('modes of plain SQL: parallel, interrupt, reject, and a word nobody knows', async (t) => {
    await workers(t)({ 'demo-rate': 40 });
    const thread = await stack.thread();
    const first = await insert(thread, 'first');
    await streams(first);
    const waiting = await insert(thread, 'waits', { mode: 'whatever' });
    const beside = await insert(thread, 'beside', { mode: 'parallel' });
    assert.deepEqual([waiting.waits, beside.waits], [true, false]);
    await streams(beside);
    await assert.rejects(insert(thread, 'no', { mode: 'reject' }), { code: '55006' });
    const last = await insert(thread, 'now me', { mode: 'interrupt' });
    for (const one of [first, waiting, beside]) await endsWell(one, 'cancelled');
    await streams(last);
    await cancel(last.run);
    await endsWell(last, 'cancelled');
    await endsWell(await insert(thread, 'free', { mode: 'reject' }).then(async (one) => {
        await cancel(one.run);
        return one;
    }), 'cancelled');
});

test('ends and new messages at the same time: nobody waits for ever, none beside another', async (t) => {
    await workers(t)({ concurrency: 8, agents: script('quick', `echo '{"type":"token","content":"x"}'\n`) });
    const threads = [await stack.thread(), await stack.thread()];
    const asked = [];
    await Promise.all([0, 1, 2, 3].map(async (n) => {
        for (let i = 0; i < 10; i++) asked.push(await insert(threads[(n + i) % 2], `${n} ${i}`, {
            agent: 'quick', ...(i === 5 && { mode: 'interrupt' }) }));
    }));
    await until(async () => Number((await stack.pg.query(
        `select count(*) as n from runs where thread_id = any($1) and end_published_at is null`, [threads]))[0].n) === 0,
                { timeout: 60_000, what: () => `all have ended\n${stack.logs(20)}` });
    // a claim's now() is a moment before its snapshot, in which the one before may have ended
    const overlaps = await stack.pg.query(`select a.id from runs a join runs b on a.thread_id = b.thread_id
        and a.seq < b.seq and b.started_at < a.ended_at - interval '5 ms' and a.thread_id = any($1)`, [threads]);
    assert.equal(overlaps.length, 0, 'one at a time');
    const [{ deadlocks }] = await stack.pg.query('select deadlocks from pg_stat_database where datname = current_database()');
    assert.equal(Number(deadlocks), 0, 'nobody waits in a circle');
    assert.equal(asked.length, 40);
});

test('readers are told that a run waits, and why, before it begins; once', async (t) => {
    await workers(t)({ concurrency: 1, 'demo-rate': 40 });
    const thread = await stack.thread();
    const [first, second] = [await insert(thread, 'first'), await insert(thread, 'second')];
    const other = await begin('no room for me');
    const queued = async (/** @type {any} */ one) =>
        (await events(one).catch(() => [])).filter((event) => event.content.status === 'queued');
    for (const one of [second, other]) await until(async () => (await queued(one)).length > 0, {
        what: () => `queued is said\n${stack.logs(20)}` });
    await cancel(first.run);
    await streams(other).then(() => cancel(other.run));
    await streams(second).then(() => cancel(second.run));
    for (const [one, reason] of [[second, 'thread'], [other, 'workers']]) {
        const { all, row } = await endsWell(one, 'cancelled');
        assert.deepEqual(all.slice(0, 2).map((event) => event.content.status), ['queued', 'started']);
        assert.deepEqual(all[0].content, { status: 'queued', reason });
        assert.equal((await queued(one)).length, 1);
        assert.deepEqual([row.attempt, all[0].attempt], [1, 1]);
    }
    assert.equal((await queued(first)).length, 0);
});

test('a switched-off trigger leaves a run waiting; housekeeping lets it go', async (t) => {
    const thread = await stack.thread();
    const first = await insert(thread, 'first');
    const second = await insert(thread, 'second');
    await stack.pg.query('alter table runs disable trigger user'); // before the first can have ended
    t.after(() => stack.pg.query('alter table runs enable trigger user'));
    await workers(t)({ 'housekeeping-ms': 200 });
    await endsWell(first);
    await endsWell(second);
});

test('one owner with many waiting ones does not hold up another', async () => {
    const [mine, yours] = [await stack.thread(undefined, 'many'), await stack.thread(undefined, 'one')];
    for (let i = 0; i < 20; i++) await insert(mine, `${i}`, { mode: i % 2 ? 'queue' : 'parallel' });
    const late = await insert(yours, 'me too');
    const order = await stack.pg.query(`select thread_id from runs where status = 'queued' and not waits order by slot, seq limit 2`);
    assert.ok(order.some((row) => row.thread_id === yours), 'within the first two');
    await stack.pg.query('delete from threads where id = any($1)', [[mine, yours]]);
    assert.equal(await stack.run(late.run), undefined);
});

test('many messages in one transaction ring once', async (t) => {
    const listener = new pg.Client({ connectionString: stack.pg.url });
    await listener.connect();
    t.after(() => listener.end());
    const heard = [];
    listener.on('notification', (message) => heard.push(message));
    await listener.query('listen new_message');
    const threads = await Promise.all([0, 1, 2].map(() => stack.thread()));
    await stack.pg.query(`insert into messages (thread_id, role, content)
        select t, 'user', n::text from unnest($1::text[]) t, generate_series(1, 20) n`, [threads]);
    await insert(threads[0], 'a second transaction', { mode: 'parallel' });
    await until(() => heard.length >= 2, { what: 'two hints' });
    assert.equal(heard.length, 2);
    assert.equal(JSON.parse(heard[0].payload).threadId, threads[0]);
    await stack.pg.query('delete from threads where id = any($1)', [threads]);
});

test('a deleted thread: its worker hears of it and stops', async (t) => {
    const worker = await workers(t)({ 'demo-rate': 40, 'lease-ms': 15000 });
    const asked = await begin('delete me');
    await streams(asked);
    assert.equal((await stack.pg.query(`select delete_thread($1, 'bob') as outcome`, [asked.thread]))[0].outcome, 'forbidden');
    assert.equal((await stack.pg.query(`select delete_thread($1, 'ann') as outcome`, [asked.thread]))[0].outcome, 'ok');
    await worker.child.line(/run dropped .*not ours/);
});

// --- another attempt ----------------------------------------------------------------------

const FAILS = `echo '{"type":"token","content":"half"}'
echo '{"type":"error","content":{"code":"busy","message":"Try later.","retryable":true}}'`;

test('an error that the agent calls retryable: later, from the beginning, then no more', async (t) => {
    await workers(t)({ 'retry-ms': 100, agents: [
        script('third', `read line\ncase "$line" in *'"attempt":3,'*) echo '{"type":"token","content":"whole"}';; *) ${FAILS};; esac\n`),
        script('never', `${FAILS}\n`)].join(',') });
    const [third, never] = [await begin('hello', 'third'), await begin('hello', 'never')];
    const good = await endsWell(third);
    assert.deepEqual([good.text, good.row.attempt, good.row.failures], ['whole', 3, 2]);
    const queued = good.all.filter((event) => event.content.status === 'queued');
    assert.deepEqual(queued.map((event) => [event.attempt, event.content.reason, event.content.error.code]),
                     [[1, 'retry', 'busy'], [2, 'retry', 'busy']]);
    const ms = queued.map((event) => event.content.retryInMs);
    assert.ok(ms[0] >= 50 && ms[0] <= 100 && ms[1] >= 100 && ms[1] <= 200, `${ms}: doubled, with jitter`);
    const begins = good.all.filter((event) => event.content.status === 'rewind');
    // from what failed, not from `queued`: that is said when it has been written, sooner or later
    const failed = [1, 2].map((attempt) => good.all.find((event) => event.type === 'token' && event.attempt === attempt));
    for (const i of [0, 1]) assert.ok(begins[i].ts - failed[i].ts >= ms[i], 'not before');
    const bad = await endsWell(never, 'failed');
    assert.deepEqual([bad.all.at(-1).content.code, bad.row.attempt, bad.text], ['busy', 3, 'half']);
});

test('--retry-max-ms: no attempt is longer away than that', async (t) => {
    await workers(t)({ 'retry-ms': 40, 'retry-max-ms': 60, 'max-attempts': 6, agents: script('never', `${FAILS}\n`) });
    const { all } = await endsWell(await begin('hello', 'never'), 'failed');
    const ms = all.filter((event) => event.content.status === 'queued').map((event) => event.content.retryInMs);
    assert.ok(ms.length >= 3 && Math.max(...ms) <= 60, `waits of ${ms} ms`);
});

test('a run that waits for another attempt can be cancelled, and holds its thread', async (t) => {
    await workers(t)({ 'retry-ms': 3600000, 'retry-max-ms': 86400000, agents: script('fails', `${FAILS}\n`) });
    const thread = await stack.thread();
    const [first, second] = [await insert(thread, 'one', { agent: 'fails' }), await insert(thread, 'two')];
    await until(async () => (await stack.run(first.run)).run_at, { what: 'it waits' });
    assert.equal((await stack.run(second.run)).waits, true);
    assert.equal((await cancel(first.run)).outcome, 'accepted');
    await endsWell(first, 'cancelled');
    await endsWell(second);
});

test('an answer that is asked for once more', async (t) => {
    await workers(t)({ 'run-timeout-ms': 200, 'demo-rate': 40 });
    const first = await begin('again, please');
    const retry = async (/** @type {string | null} */ sub) =>
        (await stack.pg.query(`select * from retry_run($1, $2, '0')`, [first.run, sub]))[0];
    assert.equal((await retry('ann')).outcome, 'live');
    await endsWell(first, 'failed');
    assert.equal((await retry('bob')).outcome, 'forbidden');
    const answers = await Promise.all([retry('ann'), retry('ann')]);
    assert.deepEqual(answers.map((answer) => answer.outcome).sort(), ['live', 'ok']);
    const { answer } = answers.find((one) => one.outcome === 'ok');
    await endsWell({ thread: first.thread, run: answer.runId, reply: answer.runs[0].messageId }, 'failed');
});

// --- limits, housekeeping -----------------------------------------------------------------

test('an agent that says more than it may ends with a clear error', async (t) => {
    await workers(t)({ 'run-max-events': 50, agents: script('chatty',
        `i=0; while [ $i -lt 60 ]; do echo '{"type":"token","content":"x"}'; i=$((i+1)); done\n`) });
    const { all, text } = await endsWell(await begin('hello', 'chatty'), 'failed');
    assert.equal(all.at(-1).content.code, 'too_many_events');
    assert.equal(text, 'x'.repeat(50));
});

test('what is too old is deleted, and nothing else', async (t) => {
    const thread = await stack.thread();
    const start = workers(t);
    const worker = await start();
    const old = await insert(thread, 'old');
    await endsWell(old);
    const kept = await insert(thread, 'kept');
    await endsWell(kept);
    await worker.child.stop('SIGTERM');
    const unpublished = await insert(thread, 'ended, and nobody was told');
    await cancel(unpublished.run);
    const going = await insert(thread, 'not begun', { mode: 'parallel' });
    await stack.pg.query(`update messages set created_at = now() - interval '11 days' where thread_id = $3 and id <> $1 and id <> $2`, [kept.message, kept.reply, thread]);
    await stack.pg.query(`update runs set ended_at = now() - interval '6 days' where id = $1`, [kept.run]);
    await stack.pg.query(`insert into idempotency (sub, thread_id, key, body_hash, created_at) values
        ('ann', $1, 'old', 'x', now() - interval '25 hours'), ('ann', $1, 'new', 'x', now())`, [thread]);
    const counts = async () => (await stack.pg.query(`select prune_runs(5, 500) as runs,
        prune_messages(10, 500) as messages, prune_idempotency(500) as keys`))[0];
    const prune = await counts();
    assert.deepEqual([prune.runs, prune.messages, prune.keys].map(Number), [1, 2, 1]);
    const left = await stack.pg.query('select id from messages where thread_id = $1 order by seq', [thread]);
    assert.deepEqual(left.map((row) => row.id), [kept.message, kept.reply, unpublished.message, going.message]);
    const runs = await stack.pg.query('select id from runs where thread_id = $1 order by seq', [thread]);
    assert.deepEqual(runs.map((row) => row.id), [unpublished.run, going.run]);
    await start({ 'housekeeping-ms': 100, 'runs-retention-days': 5, 'messages-retention-days': 10 });
    await until(async () => (await stack.pg.query('select id from messages where id = any($1)',
                                                  [[unpublished.message, going.message]])).length === 0,
                { what: 'a worker does it, when they have ended' });
    assert.equal((await stack.pg.query('select key from idempotency where thread_id = $1', [thread]))[0].key, 'new');
    const late = await insert(await stack.thread(), 'its run goes first');
    await endsWell(late);
    await stack.pg.query(`update runs set ended_at = now() - interval '6 days' where id = $1`, [late.run]);
    await until(async () => !await stack.run(late.run), { what: 'a worker lets its run go' });
    assert.equal((await stack.pg.query('select 1 from messages where id = $1', [late.reply])).length, 1, 'its answer stays');
});
