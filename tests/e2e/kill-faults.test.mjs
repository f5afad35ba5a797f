// Two workers, and what else can die or fall silent: LISTEN, triggers, PostgreSQL, Redis,
// a sleeping worker, an agent that kills its worker; and cancelling in every state. The
// same book-keeping as for kill -9: one end everywhere, one text.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { Stack, until } from './harness.mjs';
import { connect, stateOf } from './lib/lanes.mjs';
import { balances, random, Reader } from './lib/ledger.mjs';
import { ScriptRun } from './lib/publisher.mjs';

const COMMON = { 'demo-rate': 1500, 'lease-ms': 800, 'poll-ms': 200, 'flush-ms': 5, 'metrics-listen': '127.0.0.1:0' };

/** @type {Stack} */
let stack;
before(async () => {
    stack = await Stack.start({ workers: 0, bridge: { 'retry-ms': 50 } });
});

const query = (sql, values) => stack.pg.query(sql, values);

/** Workers of one test, gone when it ends. */
function workersOf(t) {
    const mine = [];
    t.after(async () => {
        for (const { child } of mine) child.kill('SIGCONT');
        await Promise.all(mine.map(({ child }) => child.running && child.stop('SIGTERM')));
        for (const { child, forgiven } of mine) if (!forgiven) assert.equal(child.code, 0, child.tail());
    });
    return async (options = {}) => {
        const worker = await stack.startWorker({ ...COMMON, ...options });
        mine.push(worker);
        return worker;
    };
}

/**
 * A run on a new thread, with a reader that stays and one that is cut now and then.
 * @param {import('node:test').TestContext} t
 * @param {string} content
 * @param {{ agent?: string }} [options]
 */
async function ask(t, content, { agent } = {}) {
    const id = await stack.thread();
    const next = random(content);
    const headers = stack.authorization();
    const readers = [new Reader(stack.bridge, id, headers),
                     new Reader(stack.bridge, id, headers, () => 300 + Math.floor(next() * 12_000))];
    t.after(() => readers.forEach((reader) => reader.stop()));
    await Promise.all(readers.map((reader) => reader.ready()));
    const receipt = await stack.post(id, content, { agent });
    for (const reader of readers) reader.knows(receipt);
    return { thread: id, run: receipt.runId, readers };
}

/** @param {{ run: string, readers: Reader[] }} asked @param {number} [count] */
const streams = ({ run, readers }, count = 3) => until(() => readers[0].tokens(run) >= count, {
    what: () => `run ${run} streams\n${stack.logs(20)}` });

const ends = async (asked, status = 'done') => {
    const row = await balances({ query, redis: stack.redis.client, ...asked, what: () => stack.logs(30) });
    assert.equal(row.status, status, JSON.stringify(row));
    return row;
};

/** A number of a worker's /metrics. */
async function metric(worker, name) {
    const [, address] = await worker.child.line(/metrics address=(\S+)/);
    const text = await (await fetch(`http://${address}/metrics`)).text();
    return Number(text.split('\n').find((line) => line.startsWith(`threadcast_worker_${name} `))?.split(' ')[1]);
}

const cancel = (run) => stack.request('POST', `/v1/runs/${run}/cancel`);

// --- workers ---------------------------------------------------------------------------------

test('a worker sleeps past its lease: refused by Redis, and by Postgres', async (t) => {
    const start = workersOf(t);
    const zombie = await start({ 'demo-rate': 60 });
    const asked = await ask(t, 'it sleeps while it speaks');
    await streams(asked);
    zombie.child.kill('SIGSTOP');
    await start({ 'demo-rate': 60 });
    await until(async () => (await stack.run(asked.run)).attempt === 2, { what: 'it is taken over' });
    await until(() => asked.readers[0].events.some((event) => event.attempt === 2), { what: 'attempt 2 streams' });
    zombie.child.kill('SIGCONT');
    await zombie.child.line(/run dropped .*attempt=1/);
    await until(async () => await metric(zombie, 'runs_total{outcome="dropped"}') === 1);
    // whichever of the two it asked first; the other one refuses it as well
    const [row] = await query(`select worker, attempt from runs where id = $1`, [asked.run]);
    const [, instance] = zombie.output.match(/ready instance=(\w+)/);
    assert.deepEqual(await query('select * from renew_runs($1, array[$2::uuid], array[1], 60000)', [instance, asked.run]), []);
    assert.deepEqual(await query('select * from renew_runs($1, array[$2::uuid], array[1], 60000)', [row.worker, asked.run]), [],
                     'an attempt of before is not renewed');
    assert.deepEqual(await query('select * from hand_back($1, array[$2::uuid], array[1])', [instance, asked.run]), []);
    const [{ outcome }] = await query(`select outcome from finish_run($1, 1, 'done', 'mine', '{}', 'demo', '[]', 9, null, null)`, [asked.run]);
    assert.equal(outcome, 'lost');
    const late = new ScriptRun(stack.redis.client, asked.thread, { run: asked.run, attempt: 1, worker: instance });
    assert.deepEqual(await late.call('publish', [late.event('token', 'mine')], 999), ['FENCED', '2']);
    assert.deepEqual(await late.call('end', [late.event('done', { finishReason: 'stop' })], 999), ['FENCED', '2']);
    assert.equal(row.attempt, 2);
    assert.equal((await ends(asked)).failures, 1);
    const attempts = (await stack.redis.client.xrange(`{thread:${asked.thread}}:log`, '-', '+'))
        .map(([, fields]) => JSON.parse(fields[1])).filter((event) => event.runId === asked.run).map((event) => event.attempt);
    assert.deepEqual(attempts, [...attempts].sort((a, b) => a - b), 'nothing of the first attempt behind the second');
    assert.equal((await late.call('publish', [late.event('token', 'mine')], 999))[0], 'ENDED');
});

test('a zombie whose lease nobody renewed hears FENCED from Redis', async (t) => {
    const start = workersOf(t);
    const zombie = await start({ 'demo-rate': 100, 'lease-ms': 60_000 }); // it will not renew soon
    const asked = await ask(t, 'it does not ask Postgres');
    await streams(asked);
    zombie.child.kill('SIGSTOP');
    await until(() => stateOf(zombie.child.pid) === 'T');
    await query(`update runs set lease_until = now() where id = $1`, [asked.run]);
    await start({ 'demo-rate': 60 });
    await until(() => asked.readers[0].events.some((event) => event.attempt === 2), { what: 'attempt 2 streams' });
    zombie.child.kill('SIGCONT');
    await zombie.child.line(/run dropped .*reason="a later attempt is known in redis"/);
    await until(async () => await metric(zombie, 'publish_total{result="fenced"}') >= 1, { what: 'FENCED is counted' });
    await ends(asked);
});

test('poison: an agent that kills its worker ends as worker_lost', async (t) => {
    const start = workersOf(t);
    const agents = 'poison=exec:kill -9 $PPID';
    const live = [];
    const revive = async () => {
        const worker = await start({ agents, 'max-attempts': 3 });
        worker.forgiven = true;
        live.push(worker);
    };
    await Promise.all([revive(), revive()]);
    const asked = await ask(t, 'drink this', { agent: 'poison' });
    await until(async () => {
        for (const worker of live) {
            if (worker.child.running) continue;
            live.splice(live.indexOf(worker), 1);
            await revive();
        }
        return (await stack.run(asked.run)).ended_at;
    }, { timeout: 60_000, what: () => `it is given up\n${stack.logs(20)}` });
    const row = await ends(asked, 'failed');
    assert.equal(row.failures, 3);
    assert.equal(row.error.code, 'worker_lost');
    assert.equal(asked.readers[0].ends(asked.run)[0].content.code, 'worker_lost');
    const next = await ask(t, 'and those who live go on');
    await ends(next);
});

// --- PostgreSQL ------------------------------------------------------------------------------

/** How long a prompt of somebody else's waits behind its 2xx until it has begun. */
async function waits(thread) {
    const { runId } = await stack.post(thread, 'how long');
    const from = performance.now();
    await until(async () => (await stack.run(runId)).status !== 'queued', { what: () => `it begins\n${stack.logs(20)}` });
    return { ms: Math.round(performance.now() - from), runId };
}

test('LISTEN is terminated: it comes back, looks once, and hears the next NOTIFY; no poll is due', async (t) => {
    const workers = await Promise.all([1, 2].map(() => workersOf(t)({ 'poll-ms': 60_000 })));
    const listening = () => query(`select pid from pg_stat_activity
        where state = 'idle' and application_name like 'threadcast-worker:%:listen'`);
    await until(async () => (await listening()).length >= 2, { what: 'both listen' });
    const polls = async () => Promise.all(workers.map((worker) => metric(worker, 'polls_total')));
    const before = await polls();
    const from = performance.now();
    const [{ n }] = await query(`select count(pg_terminate_backend(pid))::int as n from pg_stat_activity
                                 where application_name like 'threadcast-worker:%:listen'`);
    assert.equal(n, 2);
    await ends(await ask(t, 'nobody hears me'));
    for (const worker of workers) await until(async () => await metric(worker, 'postgres_lost_total') >= 1);
    await until(async () => (await listening()).length >= 2, { what: 'LISTEN is back' });
    await until(async () => (await polls()).every((count, i) => count === before[i] + 1), { what: 'each looks when it is back' });
    const told = await Promise.all(workers.map((worker) => metric(worker, 'notifies_total')));
    const { ms, runId } = await waits(await stack.thread());
    t.diagnostic(`by NOTIFY after ${ms} ms`);
    await stack.ended(runId);
    assert.ok(performance.now() - from < 45_000, 'before a poll was due, or this shows nothing');
    assert.deepEqual(await polls(), before.map((count) => count + 1), 'nobody found it by a poll');
    for (const [i, worker] of workers.entries()) assert.ok(await metric(worker, 'notifies_total') > told[i], 'NOTIFY was heard');
});

test('the triggers that notify are off: a prompt begins within 2.5 s of its 2xx, by the poll as delivered', async (t) => {
    const worker = await workersOf(t)({ 'poll-ms': 2000, 'lease-ms': 15_000, 'demo-rate': 1 });
    const names = (await query(`select tgname from pg_trigger where tgrelid = 'runs'::regclass
                                and not tgisinternal and tgname like '%notif%'`)).map((row) => row.tgname);
    assert.ok(names.length > 0);
    for (const name of names) await query(`alter table runs disable trigger ${name}`);
    t.after(() => Promise.all(names.map((name) => query(`alter table runs enable trigger ${name}`))));
    const told = await metric(worker, 'notifies_total');
    const begun = [];
    // each one right behind the poll that found the one before: it waits for a whole one
    for (let i = 0; i < (process.env.THREADCAST_FULL ? 6 : 2); i++) begun.push(await waits(await stack.thread()));
    t.diagnostic(`after ${begun.map(({ ms }) => ms)} ms`);
    for (const { ms } of begun) assert.ok(ms <= 2500, `after ${ms} ms`);
    assert.ok(begun.slice(1).every(({ ms }) => ms > 1000), 'nobody told it, or this shows nothing');
    assert.equal(await metric(worker, 'notifies_total'), told);
    assert.equal(await metric(worker, 'postgres_lost_total'), 0, 'LISTEN was there');
    for (const { runId } of begun) await cancel(runId);
    for (const { runId } of begun) await stack.ended(runId);
});

test('PostgreSQL restarts in mid-run, in an orderly way and as in a crash', async (t) => {
    for (const signal of ['SIGINT', 'SIGQUIT']) {
        await t.test(signal, async (one) => {
            const start = workersOf(one);
            await Promise.all([start({ 'demo-rate': 150, 'lease-ms': 3000 }), start({ 'demo-rate': 150, 'lease-ms': 3000 })]);
            const asked = await Promise.all([ask(one, `${signal} 1`), ask(one, `${signal} 2`)]);
            for (const it of asked) await streams(it);
            await stack.pg.restart(/** @type {NodeJS.Signals} */ (signal));
            for (const it of asked) assert.equal((await ends(it)).attempt, 1, 'a run keeps its worker');
        });
    }
});

// --- Redis -----------------------------------------------------------------------------------

for (const [name, forgets] of [['with its data', false], ['empty', true]]) {
    test(`Redis restarts ${name} in mid-run, and a worker dies on top of it`, async (t) => {
        const start = workersOf(t);
        const slowly = { 'demo-rate': 150, 'lease-ms': 3000 }; // no stall of this machine is to cost who lives its runs
        const [first, second] = await Promise.all([start(slowly), start(slowly)]);
        first.forgiven = true;
        const asked = await Promise.all(Array.from({ length: 4 }, (_, i) => ask(t, `redis ${name} ${i}`)));
        for (const it of asked) await streams(it);
        await stack.redis.kill();
        if (forgets) stack.redis.wipe();
        await first.kill();
        await stack.redis.start();
        for (const it of asked) {
            const row = await ends(it);
            assert.ok(row.attempt <= 2, `${JSON.stringify(row)}\n${first.child.output}\n${second.child.output}`);
        }
    });
}

// --- cancelling --------------------------------------------------------------------------------

test('cancelled while it waits, twice: one outcome', async (t) => {
    const asked = await ask(t, 'nobody is there');
    const [first, second] = await Promise.all([cancel(asked.run), cancel(asked.run)]);
    assert.deepEqual([first.status, second.status].sort(), [200, 202]);
    await workersOf(t)();
    await ends(asked, 'cancelled');
    assert.equal((await cancel(asked.run)).status, 200);
});

test('cancelled while it runs, twice: what was written is kept', async (t) => {
    await workersOf(t)({ 'demo-rate': 60 });
    const asked = await ask(t, 'stop me');
    await streams(asked);
    const began = performance.now();
    const answers = await Promise.all([cancel(asked.run), cancel(asked.run)]);
    for (const { status } of answers) assert.ok([200, 202].includes(status));
    const row = await ends(asked, 'cancelled');
    t.diagnostic(`ended ${Math.round(performance.now() - began)} ms after the cancel`);
    assert.equal(row.attempt, 1);
    assert.ok((asked.readers[0].shown(asked.run) ?? '').length > 0);
    assert.equal((await cancel(asked.run)).json.status, 'cancelled');
});

test('cancelled while it ends: whoever comes first, one outcome', async (t) => {
    const gate = path.join(stack.dir, 'gate');
    await workersOf(t)({ agents: `gate=exec:echo '{"type":"token","content":"almost"}'; cat >/dev/null; ` +
                                 `until [ -e ${gate} ]; do sleep 0.02; done` });
    const asked = await ask(t, 'at the last moment', { agent: 'gate' });
    await streams(asked, 1);
    const client = await connect(stack);
    t.after(() => client.end());
    const waiting = (what) => until(async () => (await query(`select pid from pg_stat_activity
        where wait_event_type = 'Lock' and query like $1`, [`%${what}%`])).length > 0, { what: `${what} waits` });
    await client.query('begin');
    await client.query('select from threads where id = $1 for no key update', [asked.thread]);
    fs.writeFileSync(gate, '');
    await waiting('finish_run');
    const cancelled = cancel(asked.run);
    await waiting('cancel_run');
    await client.query('commit');
    const answer = await cancelled;
    await ends(asked, 'done');
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.json.status, 'done');
});

test('cancelled when it has ended: nothing changes, and it is said', async (t) => {
    await workersOf(t)();
    const asked = await ask(t, 'too late');
    const row = await ends(asked);
    for (let i = 0; i < 2; i++) {
        const { status, json } = await cancel(asked.run);
        assert.equal(status, 200);
        assert.equal(json.status, 'done');
    }
    assert.deepEqual(await stack.run(asked.run), row);
    await ends(asked);
});
