// The worker alone, against a real Redis and PostgreSQL: what it publishes is read from
// the threads' logs, what it records from the tables. Nobody serves it to browsers here.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import pg from 'pg';
import { BIN, run as command, Stack, until } from './harness.mjs';

/** @type {Stack} */
let stack;
before(async () => {
    stack = await Stack.start({ workers: 0, bridges: 0 });
});

/** Workers of one test: stopped when it ends, whatever came of it. */
function workers(t) {
    const started = [];
    t.after(async () => {
        await Promise.all(started.filter(({ child }) => child.running).map(({ child }) => {
            child.kill('SIGCONT');
            return child.stop('SIGTERM');
        }));
        for (const { child, forgiven } of started) if (!forgiven) assert.equal(child.code, 0, child.tail(80));
    });
    return async (options = {}) => {
        const worker = await stack.startWorker({ 'poll-ms': 200, 'lease-ms': 1500, 'demo-rate': 0, ...options });
        started.push(worker);
        return worker;
    };
}

/** Inserts a prompt with plain SQL, as an application may; answers its run. */
async function ask(thread, content, agent) {
    const metadata = agent ? { agent } : {};
    const [message] = await stack.pg.query(
        `insert into messages (thread_id, role, content, metadata) values ($1, 'user', $2, $3) returning id`,
        [thread, content, metadata]);
    const [row] = await stack.pg.query('select id, reply_id from runs where message_id = $1', [message.id]);
    return { thread, run: row.id, reply: row.reply_id };
}

/** A run on a thread of its own. */
async function begin(content, agent) {
    return ask(await stack.thread(), content, agent);
}

/** What a thread's log holds of a run. */
async function events({ thread, run }) {
    const entries = await stack.redis.client.xrange(`{thread:${thread}}:log`, '-', '+');
    return entries.map(([id, fields]) => {
        const event = JSON.parse(fields[1]);
        assert.equal(event.id, id, 'the id inside is the entry\'s');
        return event;
    }).filter((event) => event.runId === run);
}

const isBeginning = (event) => event.type === 'status' && ['started', 'rewind'].includes(event.content.status);
const isEnd = (event) => ['done', 'error'].includes(event.type);

/** What counts: the events from the last beginning on. */
function counting(all) {
    const last = all.findLastIndex(isBeginning);
    assert.ok(last >= 0, 'an attempt begins with started or rewind');
    return all.slice(last);
}

const textOf = (all) => counting(all).filter((event) => event.type === 'token').map((event) => event.content).join('');

/** Waits until a run has reached at least `count` pieces of text in the log. */
const streams = (asked, count = 3) => until(
    async () => (await events(asked).catch(() => [])).filter((event) => event.type === 'token').length >= count,
    { what: () => `run ${asked.run} streams\n${stack.logs(20)}` });

/** The run has ended in both places, alike, once. */
async function endsWell(asked, status = 'done') {
    const row = await until(async () => {
        const found = await stack.run(asked.run);
        return found?.end_published_at ? found : null;
    }, { timeout: 60_000, what: () => `the end of ${asked.run} is published\n${stack.logs(40)}` });
    assert.equal(row.status, status, JSON.stringify(row));
    const all = await events(asked);
    const ends = all.filter(isEnd);
    assert.equal(ends.length, 1, 'one end');
    assert.equal(all.at(-1), ends[0], 'nothing follows the end');
    assert.equal(ends[0].type, status === 'failed' ? 'error' : 'done');
    assert.equal(ends[0].attempt, row.attempt);
    const record = await stack.messageText(asked.reply);
    if (status === 'done' || record !== undefined) assert.equal(textOf(all), record);
    for (const event of all) assert.equal(event.messageId, asked.reply);
    return { row, all, text: record };
}

// --- the life of a run -------------------------------------------------------------------

test('migrating twice at once, and once more, applies each file once', async () => {
    const env = { ...stack.env(), DATABASE_SCHEMA: 'twice' };
    const migrate = () => command(path.join(BIN, 'threadcast-worker'), ['migrate'], { env });
    const answers = [...await Promise.all([migrate(), migrate(), migrate()]), await migrate()];
    for (const answer of answers) assert.equal(answer.code, 0, answer.stderr);
    assert.equal(answers.filter((answer) => answer.stdout.includes('applied')).length, 1);
    await stack.pg.query(`update twice.migrations set checksum = 'x'`);
    const refused = await migrate();
    assert.notEqual(refused.code, 0);
    assert.match(refused.stderr, /another content/);
    await stack.pg.query('drop schema twice cascade');
});

test('from the prompt to the marked end', async (t) => {
    await workers(t)();
    const asked = await begin('Wie heißt die Hauptstadt von Österreich? 🇦🇹');
    const { row, all, text } = await endsWell(asked);
    assert.match(text, /\*\*Wien\*\* 🇦🇹/);
    assert.equal(row.attempt, 1);
    assert.equal(row.failures, 0);
    assert.equal(all[0].content.status, 'started');
    assert.equal(Number(row.end_seq), all.length, 'the end has the number that Postgres kept');
    assert.deepEqual(row.usage, all.at(-1).content.usage);
    const [message] = await stack.pg.query('select * from messages where id = $1', [asked.reply]);
    assert.equal(message.role, 'assistant');
    assert.equal(message.run_id, asked.run);
    assert.equal(message.metadata.finishReason, 'stop');
    assert.equal(message.metadata.steps[0].kind, 'tool_call');
});

test('connections are named and have one job each', async (t) => {
    const worker = await workers(t)({ publishers: 3 });
    await endsWell(await begin('who is there?'));
    const [, instance] = worker.output.match(/ready instance=(\w+)/);
    const list = String(await stack.redis.client.client('LIST'));
    const names = [...list.matchAll(/ name=(threadcast-worker:\S+)/g)].map((m) => m[1]).sort();
    assert.deepEqual(names, ['control', 'publish-0', 'publish-1', 'publish-2']
        .map((job) => `threadcast-worker:${instance}:${job}`));
    const rows = await stack.pg.query(`select application_name from pg_stat_activity where application_name like 'threadcast-worker%'`);
    assert.ok(rows.some((row) => row.application_name === `threadcast-worker:${instance}:listen`));
});

test('a long run begins anew, folded, before its beginning is trimmed away', async (t) => {
    await workers(t)({ 'history-max-events': 64, 'flush-ms': 0, 'demo-rate': 1000 });
    const asked = await begin('this answer is longer than the log may be');
    const { all } = await endsWell(asked);
    assert.equal(counting(all)[0].content.status, 'rewind');
    assert.equal(all[0].attempt, 1);
    const length = await stack.redis.client.xlen(`{thread:${asked.thread}}:log`);
    assert.ok(length <= 64, `${length} entries`);
    const folded = counting(all);
    assert.ok(folded.some((event) => event.content?.kind === 'tool_result'), 'the tool step is still there');
    assert.ok(folded.some((event) => event.content?.kind === 'reasoning'), 'so is the reasoning');
});

test('no NOTIFY: the poll finds the work', async (t) => {
    await workers(t)();
    await stack.pg.query('alter table runs disable trigger user');
    t.after(() => stack.pg.query('alter table runs enable trigger user'));
    await endsWell(await begin('nobody rings'));
});

test('a database that is not migrated is said clearly, and used when it is', async (t) => {
    await stack.pg.query('alter schema threadcast rename to elsewhere');
    t.after(() => stack.pg.query('alter schema elsewhere rename to threadcast').catch(() => {}));
    const worker = stack.startWorker({ 'poll-ms': 100 });
    worker.catch(() => {});
    await until(() => /claiming fails .*run threadcast-worker migrate/.test(stack.workers.at(-1)?.output ?? ''),
                { what: 'it says what is missing' });
    await stack.pg.query('alter schema elsewhere rename to threadcast');
    await (await worker).stop();
});

test('an agent that nobody has fails clearly', async (t) => {
    await workers(t)();
    const { all } = await endsWell(await begin('hello', 'nobody'), 'failed');
    assert.equal(all.at(-1).content.code, 'unknown_agent');
});

test('a run that takes too long, and one that says too much', async (t) => {
    await workers(t)({ 'run-timeout-ms': 300, 'demo-rate': 40, 'run-max-bytes': 2000,
                       agents: `big=exec:printf '{"type":"token","content":"%02001d"}\\n' 1` });
    const slow = await endsWell(await begin('slowly'), 'failed');
    assert.equal(slow.all.at(-1).content.code, 'timeout');
    assert.ok(slow.text.length > 0, 'the partial message is kept');
    const big = await endsWell(await begin('much', 'big'), 'failed');
    assert.equal(big.all.at(-1).content.code, 'too_large');
});

// --- agents of another kind ------------------------------------------------------------------

test('agents that end in every wrong way', async (t) => {
    const script = (name, text) => {
        const file = path.join(stack.dir, name);
        fs.writeFileSync(file, `#!/bin/sh\n${text}`, { mode: 0o755 });
        return `${name}=exec:exec ${file}`;
    };
    const worker = await workers(t)({ 'exec-kill-ms': 100, agents: [
        script('one', `echo '{"type":"token","content":"a"}'; exit 1\n`),
        script('killed', `echo '{"type":"token","content":"b"}'; kill -9 $$\n`),
        script('closed', `echo '{"type":"token","content":"c"}'; exec >&-; sleep 600\n`),
        script('garbage', `i=0; while [ $i -lt 30 ]; do echo "garbage $i"; i=$((i+1)); done; sleep 600\n`),
        script('endless', `head -c 600000 /dev/zero | tr '\\0' x; echo; echo '{"type":"token","content":"d"}'\n`),
        script('orphan', `(trap '' TERM; sleep 600) & echo '{"type":"token","content":"e"}'\n`),
        script('late', `echo '{"type":"done"}'; echo '{"type":"token","content":"no"}'; echo '{"type":"done"}'\n`),
        script('own', `echo '{"type":"status","content":"rewind"}'; echo '{"type":"token","content":"f"}'\n`),
    ].join(',') });
    const expected = { one: ['failed', 'agent_exit', 'a'], killed: ['failed', 'agent_signal', 'b'],
                       closed: ['failed', 'agent_closed', 'c'], garbage: ['failed', 'agent_output', undefined],
                       endless: ['done', undefined, 'd'], orphan: ['done', undefined, 'e'],
                       late: ['done', undefined, ''], own: ['done', undefined, 'f'] };
    await Promise.all(Object.entries(expected).map(async ([agent, [status, code, text]]) => {
        const ended = await endsWell(await begin('hello', agent), status);
        assert.equal(ended.all.at(-1).content.code, code, agent);
        assert.equal(ended.text, text, agent);
    }));
    assert.match(worker.output, /agent said no event .*too long/);
});

test('an agent in a hurry is slowed while Redis is away, and nothing is lost', async (t) => {
    const file = path.join(stack.dir, 'hurry.py');
    fs.writeFileSync(file, `import json
for i in range(4000):
    print(json.dumps({"type": "token", "content": "%06d " % i + "y" * 249}))
`);
    const worker = await workers(t)({ 'run-buffer-bytes': 65536, agents: `hurry=exec:python3 ${file}`,
                                      'metrics-listen': '127.0.0.1:0' });
    const [, address] = await worker.child.line(/metrics address=(\S+)/);
    const metric = async (name) => Number(
        (await (await fetch(`http://${address}/metrics`)).text()).match(new RegExp(`^${name} (\\d+)`, 'm'))?.[1]);
    const asked = await begin('hurry', 'hurry');
    await streams(asked, 1);
    const pid = stack.redis.child.pid;
    process.kill(pid, 'SIGSTOP');
    t.after(() => { try { process.kill(pid, 'SIGCONT'); } catch { /* has gone */ } });
    const began = performance.now();
    await until(async () => await metric('threadcast_worker_paused_total') > 0 || performance.now() - began > 4000,
                { what: 'the agent is paused' });
    process.kill(pid, 'SIGCONT');
    const { text } = await endsWell(asked);
    assert.equal(text.length, 4000 * 256);
    assert.ok(await metric('threadcast_worker_paused_total') > 0, 'it was paused');
    assert.equal((await fetch(`http://${address}/healthz`)).status, 200);
    assert.equal((await fetch(`http://${address}/nothing`)).status, 404);
});

// --- cancel ----------------------------------------------------------------------------------

const cancel = async (run) => (await stack.pg.query('select * from cancel_run($1, null)', [run]))[0];

test('cancel: while running, by Postgres; twice; and late', async (t) => {
    await workers(t)({ 'demo-rate': 40 });
    const asked = await begin('stop me');
    await streams(asked);
    assert.equal((await cancel(asked.run)).outcome, 'accepted');
    await cancel(asked.run);
    const { row, all, text } = await endsWell(asked, 'cancelled');
    assert.ok(row.cancel_at);
    assert.ok(text.length > 0, 'what was written is kept');
    assert.deepEqual(all.slice(-2).map((event) => event.content.status ?? event.content.finishReason),
                     ['cancelled', 'cancelled']);
    const late = await cancel(asked.run);
    assert.equal(late.outcome, 'ended');
    assert.equal(late.status, 'cancelled');
});

test('cancel: by the control channel, and by a renewal when every hint is lost', async (t) => {
    await workers(t)({ 'demo-rate': 40 });
    const [one, two] = [await begin('by the channel'), await begin('by the lease')];
    await Promise.all([streams(one), streams(two)]);
    await stack.redis.client.publish('threadcast:control', '{"type":"cancel","runId":"not a run"}');
    await stack.redis.client.publish('threadcast:control', 'nonsense');
    await stack.redis.client.publish('threadcast:control', JSON.stringify({ type: 'cancel', runId: one.run }));
    await stack.pg.query('update runs set cancel_at = now() where id = $1', [two.run]);
    await endsWell(one, 'cancelled');
    await endsWell(two, 'cancelled');
});

test('cancel: while it waits; its end is published by a worker', async (t) => {
    const start = workers(t);
    const asked = await begin('never begun');
    assert.equal((await cancel(asked.run)).outcome, 'accepted');
    assert.equal((await cancel(asked.run)).outcome, 'ended');
    await start();
    const { all } = await endsWell(asked, 'cancelled');
    assert.deepEqual(all.map((event) => event.content.status ?? event.content.finishReason),
                     ['started', 'cancelled', 'cancelled']);
});

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

// --- workers die -------------------------------------------------------------------------------

test('kill -9 in the middle: another worker takes over within the lease, rewind first', async (t) => {
    const start = workers(t);
    const first = await start({ 'demo-rate': 40 });
    const asked = await begin('my worker dies');
    await streams(asked);
    await start();
    first.forgiven = true;
    await first.kill();
    const died = performance.now();
    await until(async () => (await stack.run(asked.run)).attempt === 2, { what: 'it is taken over' });
    const took = performance.now() - died;
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
    assert.ok(took < 1500 + 500, `it left after ${Math.round(took)} ms`);
    assert.equal((await stack.run(long.run)).status, 'queued');
    assert.equal((await endsWell(short)).row.attempt, 1);
    await start();
    const { row, all } = await endsWell(long);
    assert.equal(row.attempt, 2);
    assert.equal(row.failures, 0);
    assert.equal(counting(all)[0].content.status, 'rewind');
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

test('the statement that ends a run is cut off: one end, known from the row', async (t) => {
    await workers(t)({ 'demo-rate': 400 });
    const asked = await Promise.all(Array.from({ length: 6 }, () => begin('cut at the end')));
    const over = () => stack.pg.query(`select count(*)::int as n from runs where id = any($1) and end_published_at is not null`,
                                      [asked.map((one) => one.run)]);
    await until(async () => {
        await stack.pg.query(`select pg_terminate_backend(pid) from pg_stat_activity
                              where application_name like 'threadcast-worker%'`);
        return (await over())[0].n >= 3 || (await stack.run(asked[0].run)).ended_at;
    }, { every: 40, timeout: 30_000, what: 'some have ended' });
    for (const one of asked) assert.equal((await endsWell(one)).row.attempt, 1);
});

test('claiming does not grow with the queue: the plan uses the partial index', async () => {
    const id = `many-${randomUUID()}`;
    await stack.thread(id);
    await stack.pg.query('alter table runs disable trigger user');
    await stack.pg.query(`with m as (insert into messages (thread_id, role, content)
                              select $1, 'assistant', 'x' from generate_series(1, 20000) returning id)
                          insert into runs (thread_id, message_id, owner) select $1, id, 'ann' from m`, [id]);
    await stack.pg.query('alter table runs enable trigger user');
    await stack.pg.query('analyze runs');
    const plan = (await stack.pg.query(`explain (analyze, timing off) select id from runs where status = 'queued'
        and (run_at is null or run_at <= now()) order by slot, seq limit 8 for update skip locked`))
        .map((row) => row['QUERY PLAN']).join('\n');
    assert.match(plan, /Index Scan using runs_queue .*rows=8 /);
    await stack.pg.query('delete from threads where id = $1', [id]);
});
