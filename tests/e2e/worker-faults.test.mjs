// The worker alone while Redis, PostgreSQL and other workers die and come back: one end,
// one text, no more than one attempt too many.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { before, test } from 'node:test';
import pg from 'pg';
import { Proxy, Stack, until } from './harness.mjs';
import { counting, isBeginning, isEnd, runsOf } from './lib/runs.mjs';

/** @type {Stack} */
let stack;
before(async () => {
    stack = await Stack.start({ workers: 0, bridges: 0 });
});

/** Nobody who has just come takes over what he may only not have heard of (worker/intake.c). */
const EXPIRED_AFTER_MS = 2000;

const { workers, begin, events, textOf, streams, endsWell } = runsOf(() => stack);

// --- Redis ------------------------------------------------------------------------------------

async function eight(t, options, harm) {
    const worker = await workers(t)({ 'demo-rate': 120, 'flush-ms': 5, publishers: 3, ...options });
    const asked = await Promise.all(Array.from({ length: 8 }, (_, i) => begin(`number ${i} of eight runs`)));
    await Promise.all(asked.map((one) => streams(one)));
    await harm(asked, worker);
    const ended = await Promise.all(asked.map((one) => endsWell(one)));
    for (const { row } of ended) assert.equal(row.attempt, 1, 'a run is not failed by Redis');
    return { ended, worker };
}

test('eight runs while publishing connections are killed, again and again', async (t) => {
    const { ended } = await eight(t, {}, async (asked) => {
        for (let i = 0; i < 15; i++) {
            const seen = (await events(asked[i % 8])).length;
            await stack.redis.client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
            await until(async () => (await events(asked[i % 8])).some(isEnd) ||
                                    (await events(asked[i % 8])).length > seen, { what: 'it goes on' });
        }
    });
    for (const { all } of ended) {
        assert.equal(all.filter(isBeginning).length, 1, 'the log was there: nobody begins anew');
        const numbers = all.map((event) => Number(event.id.split('-')[1]));
        assert.deepEqual(numbers, numbers.map((_, i) => i + 1), 'each event once, in order');
    }
});

test('the answers of Redis are lost: what is sent again is there once', async (t) => {
    const proxy = await Proxy.start({ port: stack.redis.port });
    t.after(() => proxy.stop());
    await workers(t)({ 'demo-rate': 60, 'flush-ms': 5, publishers: 1, 'redis-url': `redis://127.0.0.1:${proxy.port}` });
    const asked = await begin('nobody heard that this was published');
    await streams(asked);
    /** Waits for more in the log, or for the end. @param {string} what */
    const grows = async (what) => {
        const had = (await events(asked)).length;
        await until(async () => {
            const all = await events(asked);
            return all.length > had || all.some(isEnd);
        }, { what });
    };
    for (let i = 0; i < 5; i++) {
        proxy.muteServers();
        await grows('a call is carried out');
        proxy.cutAll();
        await grows('it goes on');
    }
    await until(async () => (await stack.run(asked.run)).end_published_at, { what: 'its end is published' });
    assert.equal(textOf(await events(asked)), await stack.messageText(asked.reply), 'each piece once, in order');
    assert.equal((await endsWell(asked)).row.attempt, 1);
});

test('eight runs while Redis is killed and comes back with its data', async (t) => {
    await eight(t, {}, async () => {
        await stack.redis.kill();
        await stack.redis.start();
    });
});

test('eight runs while Redis is killed and comes back empty', async (t) => {
    const { ended } = await eight(t, {}, async () => {
        await stack.redis.kill();
        stack.redis.wipe();
        await stack.redis.start();
    });
    for (const { all } of ended) assert.equal(counting(all)[0].content.status, 'rewind');
});

test('eight runs while Redis comes back from an older dump', async (t) => {
    await eight(t, {}, async (asked) => {
        await stack.redis.stop();
        const copy = stack.redis.copy();
        await stack.redis.start();
        const seen = (await events(asked[0])).length;
        await until(async () => (await events(asked[0])).length > seen + 5, { what: 'it goes on' });
        await stack.redis.kill();
        stack.redis.restore(copy);
        await stack.redis.start();
    });
});

test('eight runs through FLUSHALL, SCRIPT FLUSH and a refusal of every kind', async (t) => {
    const { worker } = await eight(t, { 'metrics-listen': '127.0.0.1:0' }, async (asked, w) => {
        const [, address] = await w.child.line(/metrics address=(\S+)/);
        const refused = (name) => until(async () => {
            const text = await (await fetch(`http://${address}/metrics`)).text();
            return Number(text.match(new RegExp(`redis_errors_total\\{name="${name}"\\} (\\d+)`))?.[1]) > 0;
        }, { what: `${name} is counted` });
        const redis = stack.redis.client;
        await redis.flushall();
        await redis.script('FLUSH');
        await refused('NOSCRIPT');
        await redis.config('SET', 'maxmemory', '1mb');
        await refused('OOM');
        await redis.config('SET', 'maxmemory', '0');
        await redis.call('ACL', 'SETUSER', 'default', 'resetchannels');
        await refused('NOPERM');
        await redis.call('ACL', 'SETUSER', 'default', 'allchannels');
        await redis.call('REPLICAOF', '127.0.0.1', '1');
        await refused('READONLY');
        await redis.call('REPLICAOF', 'NO', 'ONE');
        void asked;
    });
    assert.match(worker.output, /redis refuses/);
});

test('committed while Redis is away: published when it is back, by whoever is there', async (t) => {
    const start = workers(t);
    const worker = await start({ 'demo-rate': 300 });
    const asked = await begin('the end comes in the dark');
    await streams(asked);
    await stack.redis.kill();
    const row = await stack.ended(asked.run);
    assert.equal(row.status, 'done');
    assert.equal(row.end_published_at, null);
    worker.forgiven = true;
    await worker.kill();
    await stack.redis.start();
    await start();
    const { all } = await endsWell(asked);
    assert.equal(counting(all)[0].content.status, 'rewind', 'the text that never arrived comes with the end');
});

test('ends that cannot be read do not hide the one behind them', async (t) => {
    const [thread, asked] = [await stack.thread(), await begin('the good one')];
    const bad = ['{}', '[]', '[1]', '[{"type":"done"}]', '[{"type":"nothing","content":{}}]',
                 '[{"type":"status","content":{"status":"cancelled"}}]', '[1e400]', '"done"'];
    await stack.pg.query(
        `with m as (insert into messages (thread_id, role, content)
                        select $1, 'assistant', 'x' from generate_series(0, 95) returning id)
         insert into runs (thread_id, message_id, owner, status, attempt, end_events, end_seq, ended_at)
             select $1, id, 'ann', 'failed', 1, ($2::jsonb[])[1 + n % 8], nullif(n / 8 % 2, 0), now() - interval '1 hour'
             from (select id, row_number() over () as n from m) as rows`, [thread, bad]);
    await stack.pg.query(
        `update runs set status = 'failed', ended_at = now() - interval '1 minute', attempt = 1,
             end_events = '[{"type":"error","ts":1,"agentId":"default","content":{"code":"x","message":"y"}}]'
         where id = $1`, [asked.run]);
    const worker = await workers(t)({ 'metrics-listen': '127.0.0.1:0' });
    const [, address] = await worker.child.line(/metrics address=(\S+)/);
    await endsWell(asked, 'failed');
    const left = () => stack.pg.query(`select end_events from runs where thread_id = $1 and end_published_at is null`, [thread]);
    await until(async () => (await left()).length === 0, { what: 'each is marked' });
    assert.equal(await stack.redis.client.exists(`{thread:${thread}}:log`), 0, 'nothing is made of them');
    const text = await (await fetch(`http://${address}/metrics`)).text();
    assert.match(text, /threadcast_worker_ends_lost_total 96\n/);
    assert.equal(worker.output.match(/error an end cannot be read/g)?.length, 96);
});

// --- workers die -------------------------------------------------------------------------------

test('kill -9 in the middle: another worker takes over within the lease, rewind first', async (t) => {
    const start = workers(t);
    const first = await start({ 'demo-rate': 20 });
    const asked = await begin('my worker dies');
    await streams(asked);
    await start();
    const started = performance.now();
    await until(() => performance.now() - started > EXPIRED_AFTER_MS, { what: 'it may take over' });
    first.forgiven = true;
    await first.kill();
    const died = performance.now();
    await until(async () => (await stack.run(asked.run)).attempt === 2, { what: 'it is taken over' });
    const took = performance.now() - died;
    t.diagnostic(`taken over after ${Math.round(took)} ms`);
    assert.ok(took < 1500 + 700, `taken over after ${Math.round(took)} ms`);
    const { row, all } = await endsWell(asked);
    assert.equal(row.failures, 1);
    assert.equal(counting(all)[0].content.status, 'rewind');
    assert.equal(counting(all)[0].attempt, 2);
});

test('a zombie that wakes after its lease changes nothing', async (t) => {
    const start = workers(t);
    const zombie = await start({ 'demo-rate': 40 });
    const asked = await begin('my worker sleeps');
    await streams(asked);
    zombie.child.kill('SIGSTOP');
    await start();
    const { all, row, text } = await endsWell(asked);
    assert.equal(row.attempt, 2);
    zombie.child.kill('SIGCONT');
    await zombie.child.line(/run dropped/);
    assert.deepEqual(await events(asked), all, 'not a byte more in the log');
    assert.equal(await stack.messageText(asked.reply), text);
    assert.equal((await stack.run(asked.run)).attempt, 2);
});

test('a run whose workers die again and again ends as worker_lost', async (t) => {
    const start = workers(t);
    const asked = await begin('poison');
    for (let attempt = 1; attempt <= 2; attempt++) {
        const worker = await start({ 'demo-rate': 40, 'max-attempts': 2 });
        await until(async () => (await stack.run(asked.run)).attempt === attempt, { what: `attempt ${attempt}` });
        worker.forgiven = true;
        await worker.kill();
    }
    await start({ 'max-attempts': 2 });
    const { row, all } = await endsWell(asked, 'failed');
    assert.equal(row.failures, 2);
    assert.equal(row.error.code, 'worker_lost');
    assert.equal(all.at(-1).content.code, 'worker_lost');
});

test('SIGTERM: short runs finish, long ones are handed back, no failure is counted', async (t) => {
    const start = workers(t);
    const first = await start({ 'demo-rate': 40, 'drain-ms': 1500,
                                agents: `short=exec:sleep 0.3; echo '{"type":"token","content":"in time"}'` });
    const [long, short] = [await begin('a long one'), await begin('a short one', 'short')];
    await streams(long);
    const took = await first.stop();
    assert.equal(first.child.code, 0, first.child.tail());
    assert.ok(took < 1500 + 1500, `it left after ${Math.round(took)} ms`);
    assert.equal((await stack.run(long.run)).status, 'queued');
    assert.equal((await endsWell(short)).row.attempt, 1);
    await start();
    const { row, all } = await endsWell(long);
    assert.equal(row.attempt, 2);
    assert.equal(row.failures, 0);
    assert.equal(counting(all)[0].content.status, 'rewind');
});

test('SIGTERM, and the machine stands still until the drain is over: handed back all the same', async (t) => {
    const DRAIN_MS = 2000;
    const worker = await workers(t)({ 'demo-rate': 20, 'drain-ms': DRAIN_MS, 'lease-ms': 60_000 });
    const asked = await begin('nobody waits a minute for this one');
    await streams(asked);
    worker.child.kill('SIGTERM');
    await worker.child.line(/ info draining /);
    worker.child.kill('SIGSTOP');
    const still = performance.now();
    await until(() => performance.now() - still > DRAIN_MS + 100, { what: 'what it had set itself is over' });
    worker.child.kill('SIGCONT');
    await worker.child.exit;
    assert.equal(worker.child.code, 0, worker.child.tail());
    assert.doesNotMatch(worker.output, /leaving with runs/);
    assert.equal((await stack.run(asked.run)).status, 'queued');
    await workers(t)();
    assert.equal((await endsWell(asked)).row.failures, 0);
});

// --- Postgres ----------------------------------------------------------------------------------

test('Postgres restarts in the middle: the run goes on and keeps its attempt', async (t) => {
    await workers(t)({ 'demo-rate': 80, 'lease-ms': 4000 });
    const asked = await begin('postgres goes and comes');
    await streams(asked);
    const seen = (await events(asked)).length;
    await stack.pg.stop();
    await until(async () => (await events(asked)).length > seen + 10, { what: 'it streams without Postgres' });
    await stack.pg.start();
    assert.equal((await endsWell(asked)).row.attempt, 1);
});

test('Postgres is out of reach for longer than a lease: who has the run renews it before others take it', async (t) => {
    const start = workers(t);
    const path = `${stack.pg.dir}/.s.PGSQL.5432`;
    const [near, far] = await Promise.all([Proxy.start({ path }), Proxy.start({ path })]);
    t.after(() => Promise.all([near.stop(), far.stop()]));
    const by = (/** @type {Proxy} */ proxy) => ({ 'database-url': `postgresql://threadcast@127.0.0.1:${proxy.port}/threadcast` });
    await start({ 'demo-rate': 40, ...by(far) });
    const asked = await begin('its lease passes while nobody can see it');
    await streams(asked);
    // it hears of work all the time and asks for none by itself: what holds it back begins when its pool is back
    const other = await start({ ...by(near), 'database-listen-url': stack.pg.url, 'poll-ms': 60_000 });
    const [, instance] = other.output.match(/ready instance=(\w+)/);
    for (const proxy of [near, far]) {
        proxy.refuse(true);
        proxy.cutAll();
    }
    // longer than the 2 s that a lease which ends meanwhile holds the other one back for
    await until(async () => (await stack.pg.query(
        `select lease_until < now() - interval '2.2 seconds' as over from runs where id = $1`, [asked.run]))[0].over,
                { what: 'its lease has passed' });
    const [{ now }] = await stack.pg.query('select now()');
    near.refuse(false);
    await until(async () => (await stack.pg.query( // and has had the time to renew what it does not have: a third of a lease
        `select 1 from pg_stat_activity where application_name = $1 and backend_start > $2 and backend_start < now() - interval '0.9 seconds'`,
        [`threadcast-worker:${instance}`, now])).length > 0, { what: 'the other one is back' });
    const next = await begin('who takes this has looked for others\' first');
    await until(async () => (await stack.run(next.run)).worker === instance, { what: 'it has looked for work' });
    far.refuse(false); // who has it comes back later than that
    const { row } = await endsWell(asked);
    assert.equal(row.attempt, 1, 'it is still the first attempt');
});

test('the answer to a claim is lost: what it claimed is handed back, no failure is counted', async (t) => {
    const worker = await workers(t)();
    const [, instance] = worker.output.match(/ready instance=(\w+)/);
    const client = new pg.Client({ host: stack.pg.dir, user: 'threadcast', database: 'threadcast',
                                   options: '-c search_path=threadcast' });
    await client.connect();
    t.after(() => client.end());
    // as if that claim had been committed
    const thread = await stack.thread();
    await client.query('begin');
    const { rows: [message] } = await client.query(
        `insert into messages (thread_id, role, content) values ($1, 'user', 'x') returning id`, [thread]);
    const { rows: [run] } = await client.query(
        `update runs set status = 'running', worker = $2, attempt = 1, lease_until = now() + interval '1 hour'
         where message_id = $1 returning id, reply_id`, [message.id, instance]);
    await client.query('commit');
    // and its answer never came
    await client.query('begin');
    await client.query('lock table messages in access exclusive mode');
    await until(async () => (await stack.pg.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock'
         and application_name = $1`, [`threadcast-worker:${instance}`])).length > 0, { what: 'a claim waits' });
    await client.query('commit');
    const { row } = await endsWell({ thread, run: run.id, reply: run.reply_id });
    assert.equal(row.attempt, 2);
    assert.equal(row.failures, 0);
    assert.match(worker.output, /claimed and not told runs=1/);
});

test('a run that waits for another attempt is claimed before its worker has that answer', async (t) => {
    const proxy = await Proxy.start({ path: `${stack.pg.dir}/.s.PGSQL.5432` });
    t.after(() => proxy.stop());
    const url = `postgresql://threadcast:${stack.pg.password}@127.0.0.1:${proxy.port}/threadcast`;
    const failing = `exec:printf '{"type":"error","content":{"code":"busy","message":"later","retryable":true}}\\n'`;
    const worker = await workers(t)({ agents: `fails=${failing}`, 'retry-ms': 1, 'max-attempts': 2,
                                      'metrics-listen': '127.0.0.1:0' }, { DATABASE_URL: url });
    proxy.muteAnswer(/requeue_run/);
    const asked = await begin('tried twice', 'fails');
    await worker.child.line(new RegExp(`run started run=${asked.run} .*attempt=2`));
    assert.equal(proxy.muted, 1);
    proxy.release();
    const { row } = await endsWell(asked, 'failed');
    assert.deepEqual([row.attempt, row.failures], [2, 1]);
    await worker.child.line(new RegExp(`waits for another attempt run=${asked.run} .*attempt=1 .*busy`));
    assert.doesNotMatch(worker.output, /run dropped/);
    const [, address] = await worker.child.line(/metrics .*address=(\S+)/);
    const counts = await (await fetch(`http://${address}/metrics`)).text();
    assert.match(counts, /^threadcast_worker_runs_requeued_total 1$/m);
    assert.match(counts, /^threadcast_worker_runs_total\{outcome="dropped"\} 0$/m);
});

test('the statement that ends a run is cut off: one end, known from the row', async (t) => {
    await workers(t)({ 'demo-rate': 400, 'lease-ms': 30000 });
    const asked = await Promise.all(Array.from({ length: 6 }, () => begin('cut at the end')));
    const over = () => stack.pg.query(`select count(*)::int as n from runs where id = any($1) and end_published_at is not null`,
                                      [asked.map((one) => one.run)]);
    await until(async () => {
        await stack.pg.query(`select pg_terminate_backend(pid) from pg_stat_activity
                              where application_name like 'threadcast-worker%'`);
        return (await over())[0].n >= 3 || (await stack.run(asked[0].run)).ended_at;
    }, { every: 40, timeout: 30_000, what: 'some have ended' });
    // a claim whose answer was cut off is handed back, so the attempt may be a later one
    for (const one of asked) assert.equal((await endsWell(one)).row.failures, 0);
});

test('claiming does not grow with the queue: the plan of the real claim reads eight rows', async (t) => {
    const client = new pg.Client({ host: stack.pg.dir, user: 'threadcast', database: 'threadcast',
                                   options: '-c search_path=threadcast' });
    await client.connect();
    t.after(() => client.end());
    const id = await stack.thread(`many-${randomUUID()}`);
    await client.query('begin');
    await client.query(`set local session_replication_role = replica`); // no triggers
    await client.query(`with m as (insert into messages (thread_id, role, content)
                            select $1, 'assistant', 'x' from generate_series(1, 20000) returning id)
                        insert into runs (thread_id, message_id, owner) select $1, id, 'ann' from m`, [id]);
    await client.query('commit');
    await client.query('analyze runs');
    /** @type {string[]} */
    const plans = [];
    client.on('notice', (notice) => plans.push(notice.message ?? ''));
    await client.query(`load 'auto_explain'`);
    for (const set of ['log_min_duration = 0', 'log_nested_statements = on', 'log_analyze = on', 'log_timing = off']) {
        await client.query(`set auto_explain.${set}`);
    }
    await client.query('set client_min_messages = log');
    const { rowCount } = await client.query(`select * from claim_runs('nobody', 8, 60000, 3, false)`);
    assert.equal(rowCount, 8);
    const plan = plans.find((text) => /Index Scan using runs_queue /.test(text));
    assert.ok(plan, plans.join('\n'));
    assert.match(plan, /Index Scan using runs_queue .*rows=8 loops=1/);
    assert.doesNotMatch(plan, /Seq Scan/);
    await client.query('delete from threads where id = $1', [id]);
});
