// The worker alone, against a real Redis and PostgreSQL: what it publishes is read from
// the threads' logs, what it records from the tables. Nobody serves it to browsers here.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { before, test } from 'node:test';
import { BIN, ROOT, run as command, Stack, until } from './harness.mjs';
import { counting, runsOf } from './lib/runs.mjs';

/** @type {Stack} */
let stack;
before(async () => {
    stack = await Stack.start({ workers: 0, bridges: 0 });
});

const { workers, ask, begin, events, streams, endsWell } = runsOf(() => stack);

// --- the life of a run -------------------------------------------------------------------

test('migrating twice at once, and once more, applies each file once', async () => {
    const env = { ...stack.env(), DATABASE_SCHEMA: 'twice' };
    const migrate = () => command(path.join(BIN, 'threadcast-worker'), ['migrate'], { env });
    const answers = [...await Promise.all([migrate(), migrate(), migrate()]), await migrate()];
    for (const answer of answers) assert.equal(answer.code, 0, answer.stderr);
    for (const file of fs.readdirSync(path.join(ROOT, 'db'))) {
        const line = `migrate: ${path.basename(file, '.sql')} applied`;
        assert.equal(answers.filter((answer) => answer.stdout.includes(line)).length, 1, line);
    }
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
    assert.deepEqual(names, ['alive', 'control', 'publish-0', 'publish-1', 'publish-2']
        .map((job) => `threadcast-worker:${instance}:${job}`));
    // work is found by the poll, too: a worker is ready, and may have ended a run, before LISTEN is
    await until(async () => (await stack.pg.query(`select 1 from pg_stat_activity where application_name = $1`,
                                                  [`threadcast-worker:${instance}:listen`])).length === 1,
                { what: () => `one connection listens; the worker said\n${worker.child.tail()}` });
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

test('--history-max-bytes: what a thread\'s log holds, however many runs it has had', async (t) => {
    const file = path.join(stack.dir, 'large.py');
    fs.writeFileSync(file, `import json
for i in range(15):
    print(json.dumps({"type": "token", "content": "x" * 2000}))
`);
    await workers(t)({ 'history-max-bytes': 65536, agents: `large=exec:python3 ${file}` });
    const thread = await stack.thread();
    for (let i = 0; i < 4; i++) await endsWell(await ask(thread, 'say much', 'large'));
    const entries = await stack.redis.client.xrange(`{thread:${thread}}:log`, '-', '+');
    const bytes = entries.reduce((sum, [, fields]) => sum + fields[1].length, 0);
    assert.ok(bytes >= 30_000 && bytes <= 65536, `${bytes} bytes`);
});

test('--history-ttl-s: a thread\'s log and state go so long after its last event', async (t) => {
    await workers(t)({ 'history-ttl-s': 100 });
    const asked = await begin('kept for a while');
    await endsWell(asked);
    for (const key of [`{thread:${asked.thread}}:log`, `{thread:${asked.thread}}:state`]) {
        const left = await stack.redis.client.pttl(key);
        assert.ok(left > 70_000 && left <= 100_000, `${key} goes in ${left} ms`);
    }
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
    await until(() => /postgres lost .*run threadcast-worker migrate/.test(stack.workers.at(-1)?.output ?? ''),
                { what: 'it says what is missing' });
    await stack.pg.query('alter schema elsewhere rename to threadcast');
    await (await worker).stop();
});

test('a Redis that is too old is refused, and nothing is claimed', async (t) => {
    const server = net.createServer((socket) => {
        const id = 'a'.repeat(40);
        const info = `# Server\r\nredis_version:6.2.14\r\nrun_id:${id}\r\n`;
        socket.on('error', () => {});
        socket.on('data', (data) => {
            for (const command of String(data).split(/(?=^\*\d)/m)) {
                socket.write(/INFO/i.test(command) ? `$${info.length}\r\n${info}\r\n` : '+OK\r\n');
            }
        });
    }).listen(0, '127.0.0.1');
    t.after(() => server.close());
    await once(server, 'listening');
    const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
    const worker = await stack.startWorker({}, { REDIS_URL: `redis://127.0.0.1:${port}` });
    await worker.child.line(/warn redis lost connection=publish why=.*6\.2\.14 is too old/);
    const asked = await begin('for a Redis of our time');
    await worker.stop();
    assert.equal((await stack.run(asked.run)).attempt, 0, 'nothing is claimed');
    await stack.pg.query('delete from threads where id = $1', [asked.thread]);
});

test('a program is told to stop, and waited for, when its worker leaves', async (t) => {
    const file = path.join(stack.dir, 'farewell');
    const worker = await workers(t)({ 'drain-ms': 2000, 'exec-kill-ms': 5000, agents:
        `polite=exec:trap 'echo bye > ${file}; exit' TERM; echo '{"type":"token","content":"x"}'; while :; do sleep 0.05; done` });
    const asked = await begin('hello', 'polite');
    await streams(asked, 1);
    await worker.stop();
    assert.equal(worker.child.code, 0);
    assert.equal(fs.readFileSync(file, 'utf8'), 'bye\n');
    assert.equal((await stack.run(asked.run)).status, 'queued');
    await stack.pg.query('delete from threads where id = $1', [asked.thread]);
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
    const expected = { one: ['failed', 'agent_exit', 'a'], killed: ['failed', 'agent_killed', 'b'],
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
