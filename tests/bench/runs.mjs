// What durable runs cost. Figures, printed and never asserted:
//
//   runs/s          trivial agents, from the first claim to the last end published
//   first token     from NOTIFY to the first token in Redis, one idle worker
//   claim           with 100 and with 100,000 queued rows, and its plan
//   memory          a worker with 1,000 runs at once
//
//   node tests/bench/runs.mjs [rounds]        (./scripts/bench builds first)

import fs from 'node:fs';
import { Stack, until } from '../e2e/harness.mjs';
import { connect } from '../e2e/lib/lanes.mjs';

const ROUNDS = Number(process.argv[2] ?? 300);
const FEW = 100;
const MANY = 100_000;
const AT_ONCE = 1000;

/** @param {number[]} times @param {number} q */
function quantile(times, q) {
    const sorted = [...times].sort((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
}

/** @param {string} what @param {number[]} times milliseconds */
function print(what, times) {
    const at = (/** @type {number} */ q) => quantile(times, q).toFixed(2);
    console.log(`${what}: median ${at(0.5)} ms, p99 ${at(0.99)} ms, min ${at(0)} ms, max ${at(1)} ms (${times.length} samples)`);
}

// --- runs a second ---------------------------------------------------------------------------

/** Queued while no worker is there, then done by one. */
async function throughput(stack, what, count, prompt, options) {
    const batch = `b-${Math.random().toString(36).slice(2)}`;
    await stack.pg.query(`insert into threads (id, owner) select $1 || i, $1 || i % 20 from generate_series(1, $2) i`,
                         [batch, count]);
    await stack.pg.query(`insert into messages (thread_id, role, content) select $1 || i, 'user', $3
                          from generate_series(1, $2) i`, [batch, count, prompt]);
    const worker = await stack.startWorker(options);
    const [row] = await until(async () => {
        const rows = await stack.pg.query(`select count(*) filter (where end_published_at is null) as left,
            extract(epoch from max(end_published_at) - min(started_at)) as seconds from runs where thread_id like $1`,
            [`${batch}%`]);
        return Number(rows[0].left) === 0 && rows;
    }, { timeout: 300_000, every: 100, what: () => `${count} runs end\n${stack.logs(10)}` });
    const bytes = (await stack.pg.query(`select avg(octet_length(content))::int as n from messages
                                         where role = 'assistant' and thread_id like $1`, [`${batch}%`]))[0].n;
    await worker.stop();
    console.log(`${what}: ${(count / row.seconds).toFixed(0)} runs/s (${count} runs of ${bytes} bytes, ` +
                `concurrency ${options.concurrency ?? 64}, one worker)`);
}

// --- from NOTIFY to the first token ---------------------------------------------------------

/** Both times are taken in this process: when it hears the NOTIFY itself, and when the
 *  first token arrives on the channel. */
async function firstToken(stack) {
    const worker = await stack.startWorker({ 'demo-rate': 0 });
    const client = await connect(stack);
    const redis = stack.redis.connect();
    await client.query('listen new_message');
    let heard = 0;
    let token = 0;
    client.on('notification', () => (heard ||= performance.now()));
    redis.on('message', (_, text) => {
        if (!token && text.includes('"type":"token"')) token = performance.now();
    });
    const [fromNotify, fromInsert] = [[], []];
    for (let i = 0; i < ROUNDS; i++) {
        const thread = await stack.thread();
        await redis.subscribe(`thread:${thread}`);
        heard = token = 0;
        const began = performance.now();
        await client.query(`insert into messages (thread_id, role, content) values ($1, 'user', 'hi')`, [thread]);
        await until(() => heard && token, { every: 1, what: 'the first token' });
        fromNotify.push(Math.max(0, token - heard));
        fromInsert.push(token - began);
        await until(async () => (await stack.pg.query(
            `select 1 from runs where thread_id = $1 and end_published_at is null`, [thread])).length === 0);
        await redis.unsubscribe(`thread:${thread}`);
    }
    redis.disconnect();
    await client.end();
    await worker.stop();
    print('NOTIFY → first token in Redis', fromNotify);
    print('INSERT sent → first token    ', fromInsert);
}

// --- the claim ------------------------------------------------------------------------------

/** As many rows wait as one says; what `claim_runs` costs then, rolled back each time. */
async function claimWith(client, rows) {
    await client.query('truncate threads cascade');
    await client.query('begin');
    await client.query('set local session_replication_role = replica'); // no triggers
    await client.query(`insert into threads (id, owner) select 'o-' || i, 'owner-' || i from generate_series(0, 999) i`);
    await client.query(`with m as (insert into messages (thread_id, role, content)
            select 'o-' || i % 1000, 'user', 'x' from generate_series(1, $1::int) i returning id, thread_id)
        insert into runs (thread_id, message_id, owner, slot)
            select thread_id, id, thread_id, now() - random() * interval '1 hour' from m`, [rows]);
    await client.query('commit');
    await client.query('vacuum analyze runs');
    await client.query('vacuum analyze messages');
    const times = [];
    for (let i = 0; i < ROUNDS; i++) {
        await client.query('begin');
        const began = performance.now();
        const { rowCount } = await client.query(`select * from claim_runs('bench', 8, 15000, 3, true)`);
        times.push(performance.now() - began);
        await client.query('rollback');
        if (rowCount !== 8) throw new Error(`${rowCount} rows claimed`);
    }
    return times;
}

async function claim(stack) {
    const client = await connect(stack);
    const few = await claimWith(client, FEW);
    const many = await claimWith(client, MANY);
    print(`claim of 8 of ${FEW} queued rows     `, few);
    print(`claim of 8 of ${MANY} queued rows  `, many);
    console.log(`ratio of the medians: ${(quantile(many, 0.5) / quantile(few, 0.5)).toFixed(2)}`);
    const plans = [];
    client.on('notice', (notice) => plans.push(notice.message ?? ''));
    await client.query(`load 'auto_explain'`);
    for (const set of ['log_min_duration = 0', 'log_nested_statements = on', 'log_analyze = on', 'log_buffers = on']) {
        await client.query(`set auto_explain.${set}`);
    }
    await client.query('set client_min_messages = log');
    await client.query(`select * from claim_runs('bench', 8, 15000, 3, true)`);
    const plan = plans.find((text) => text.includes('runs_queue'));
    console.log(`the claim's plan with ${MANY} queued rows:\n${plan?.slice(plan.indexOf('Aggregate'))}`);
    await client.end();
}

// --- memory -----------------------------------------------------------------------------------

/** @param {number} pid resident set in KiB */
const resident = (pid) => Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);

async function memory(stack) {
    await stack.pg.query('truncate threads cascade');
    const worker = await stack.startWorker({ concurrency: AT_ONCE, 'demo-rate': 10 });
    const before = resident(worker.child.pid);
    await stack.pg.query(`insert into threads (id, owner) select 'm-' || i, 'owner-' || i % 20 from generate_series(1, $1) i`, [AT_ONCE]);
    await stack.pg.query(`insert into messages (thread_id, role, content) select 'm-' || i, 'user', 'Remember this.'
                          from generate_series(1, $1) i`, [AT_ONCE]);
    await until(async () => Number((await stack.pg.query(
        `select count(*) as n from runs where status = 'running'`))[0].n) === AT_ONCE,
                { timeout: 60_000, what: () => `${AT_ONCE} runs at once\n${stack.logs(10)}` });
    const begun = resident(worker.child.pid);
    await until(async () => await stack.redis.client.xlen(`{thread:m-${AT_ONCE}}:log`) > 60, { timeout: 60_000 });
    const going = resident(worker.child.pid);
    const mib = (/** @type {number} */ kib) => `${(kib / 1024).toFixed(1)} MiB`;
    console.log(`a worker with ${AT_ONCE} runs at once: ${mib(before)} idle, ${mib(begun)} all begun, ${mib(going)} ` +
                `in the middle of them: ${((going - before) / AT_ONCE).toFixed(1)} KiB a run`);
    worker.forgiven = true;
    await worker.kill();
}

const stack = await Stack.start({ workers: 0, bridges: 0 });
try {
    await throughput(stack, 'demo agent at full rate', ROUNDS * 10, 'hi', { 'demo-rate': 0 });
    await throughput(stack, 'a process for each run ', ROUNDS * 2, 'hi', {
        agent: `exec:echo '{"type":"token","content":"hello"}'` });
    await firstToken(stack);
    await memory(stack);
    await claim(stack);
} finally {
    await stack.stop();
}
