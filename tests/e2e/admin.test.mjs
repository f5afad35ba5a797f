// What operators see: the door of their own (--admin-listen) with metrics and the list of open
// streams, the line that a stream leaves behind, versions, the worker's probes, and whether the
// alerts and the dashboard of monitoring/ ask for what is there.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { before, test } from 'node:test';
import { BIN, ROOT, run as runToEnd, Stack, until } from './harness.mjs';
import { expressions, missing, Prometheus, seriesOf } from './lib/monitoring.mjs';
import { ScriptRun } from './lib/publisher.mjs';

const REACTORS = 3;
/** @type {Stack} */
let stack;
let admin = '';
let worker = '';
before(async () => {
    stack = await Stack.start({ demo: true,
        bridge: { 'admin-listen': '127.0.0.1:0', reactors: REACTORS, 'drain-ms': 500 },
        worker: { 'metrics-listen': '127.0.0.1:0', 'demo-rate': 0 } });
    [, admin] = await stack.bridge.child.line(/ info admin listening address=(\S+)/);
    [, worker] = await stack.worker.child.line(/ info metrics address=(\S+)/);
});

const reader = { read: ['*'] };
/** @param {string} to @param {RequestInit} [init] */
const inside = (to, init) => fetch(`http://${admin}${to}`, init);

test('the public door is full, and this one stays open', async (t) => {
    const bridge = await stack.startBridge({ 'admin-listen': '127.0.0.1:0', reactors: 1, 'drain-ms': 0, 'max-connections': 5 });
    const [, door] = await bridge.child.line(/ info admin listening address=(\S+)/);
    let closed = 0, going = true;
    /** @type {Set<net.Socket>} */
    const crowd = new Set();
    const come = () => { // and again, as soon as it is sent away
        const socket = net.connect(bridge.port, '127.0.0.1').on('error', () => {}).on('close', () => {
            crowd.delete(socket);
            closed++;
            if (going) come();
        });
        crowd.add(socket);
    };
    const leave = () => {
        going = false;
        for (const socket of crowd) socket.destroy();
    };
    t.after(leave);
    for (let i = 0; i < 20; i++) come();
    await until(() => closed > 20, { what: 'twice as many as it takes in are there' });
    for (let i = 0; i < 50; i++) {
        const answer = await fetch(`http://${door}/healthz`, { headers: { Connection: 'close' } });
        assert.equal(answer.status, 200);
    }
    leave();
    await bridge.stop();
});

/** The lines of /debug/streams: what it listed, and its last line. @param {string} [query] */
async function streams(query = '') {
    const response = await inside(`/debug/streams${query}`);
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('content-type'), 'application/x-ndjson');
    const lines = (await response.text()).trimEnd().split('\n').map((line) => JSON.parse(line));
    return { all: lines.slice(0, -1), sum: lines.at(-1) };
}

test('what is served where, with a door for operators and without one', async () => {
    const without = await stack.startBridge({ reactors: 1 });
    /** @type {[string, number, number, number][]} path: inside, outside, outside where there is no inside */
    const expected = [['/healthz', 200, 200, 200], ['/readyz', 200, 200, 200], ['/metrics', 200, 404, 200],
                      ['/debug/streams', 200, 404, 404], ['/v1/threads', 404, 401, 401],
                      ['/v1/threads/t/events', 404, 401, 401], ['/', 404, 200, 200], ['/debug', 404, 404, 404]];
    for (const [to, ...wanted] of expected) {
        const got = await Promise.all([inside(to), stack.bridge.fetch(to), without.fetch(to)]);
        assert.deepEqual(got.map(({ status }) => status), wanted, to);
        await Promise.all(got.map((response) => response.text()));
    }
    assert.equal((await inside('/metrics', { method: 'HEAD' })).status, 200);
    assert.equal((await inside('/debug/streams', { method: 'POST' })).status, 405);
});

test('/debug/streams: one line for each stream of every reactor, and no name of anybody', async () => {
    const run = new ScriptRun(stack.redis.client, 'listed');
    const open = Array.from({ length: 30 }, (_, i) => stack.threadEvents('listed', '', { ...reader, sub: `user-${i % 2}` }));
    const two = stack.events('/v1/events?thread=listed&thread=other', { ...reader, sub: 'both' });
    await Promise.all([...open, two].map((stream) => stream.named('ready')));
    await run.begin();
    await run.tokens('hello');
    await Promise.all(open.map((stream) => stream.type('token')));
    const { all, sum } = await streams();
    assert.deepEqual(sum, { listed: 31, open: 31, reactors: REACTORS, silent: 0 });
    assert.equal(new Set(all.map((line) => line.connection)).size, 31, 'numbers are of the process');
    assert.deepEqual([...new Set(all.map((line) => line.reactor))].filter((n) => n < 0 || n >= REACTORS), []);
    const [one] = all.filter((line) => line.threads.length === 1);
    assert.deepEqual(one.threads, [{ id: 'listed', state: 'live', position: open[0].lastEventId }]);
    assert.equal(one.peer, '127.0.0.1');
    assert.equal(one.queueBytes, 0);
    assert.ok(one.events >= 2 && one.bytes > 100 && one.ageMs >= 0 && one.quietMs >= 0, JSON.stringify(one));
    const both = all.filter((line) => line.threads.length === 2);
    assert.deepEqual(both.map((line) => line.threads.map((/** @type {any} */ t) => t.id)), [['listed', 'other']]);
    // subjects have pseudonyms: the same for the same, and what they stand for can be asked, not read
    assert.deepEqual(new Set(all.map((line) => line.sub)).size, 3);
    assert.ok(all.every((line) => /^[0-9a-f]{12}$/.test(line.sub)));
    assert.doesNotMatch(JSON.stringify(all), /user-|both/);
    assert.equal((await streams('?sub=user-1')).all.length, 15);
    assert.deepEqual((await streams('?sub=nobody')).all, []);
    assert.deepEqual((await streams('?thread=other')).all.map((line) => line.connection), both.map((line) => line.connection));
    assert.deepEqual((await streams('?limit=7')).sum, { listed: 7, open: 31, reactors: REACTORS, silent: 0 });
    for (const bad of ['limit=0', 'limit=10001', 'limit=x', 'limit=', 'limit=1&limit=2']) {
        const response = await inside(`/debug/streams?${bad}`);
        assert.equal(response.status, 400, bad);
        assert.equal((await response.json()).error.code, 'bad_limit');
    }
    assert.equal((await inside(`/debug/streams?thread=${'x'.repeat(200)}`)).status, 400);
    for (const stream of [...open, two]) stream.close();
});

test('/debug/streams is walked in several turns, while streams come and go', async () => {
    const thread = 'crowd';
    const open = Array.from({ length: 450 }, () => stack.threadEvents(thread, '', reader));
    await Promise.all(open.map((stream) => stream.named('ready')));
    const asked = Array.from({ length: 8 }, () => streams(`?thread=${thread}`));
    for (const stream of open.filter((_, i) => i % 2)) stream.close();
    for (const { all, sum } of await Promise.all(asked)) {
        const numbers = all.map((line) => line.connection);
        assert.equal(new Set(numbers).size, numbers.length, 'none twice');
        assert.ok(numbers.length >= 225 && numbers.length <= 450, `${numbers.length}`);
        assert.equal(sum.silent, 0);
    }
    await until(async () => (await streams(`?thread=${thread}`)).sum.listed === 225, { what: 'those who stayed are listed' });
    for (const stream of open) stream.close();
});

test('a page that has made its own name point here may not read the streams', async () => {
    const ask = (/** @type {string} */ host) => new Promise((resolve, reject) => {
        const [, port] = admin.split(':');
        const socket = net.connect(Number(port), '127.0.0.1', () => socket.write(
            `GET /debug/streams HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`));
        let text = '';
        socket.on('data', (bytes) => (text += bytes)).on('end', () => resolve(text)).on('error', reject);
    });
    assert.match(await ask('evil.example:9090'), /^HTTP\/1.1 403 .*host_not_allowed/s);
    for (const host of ['127.0.0.1', 'localhost:9090', '10.1.2.3:9090', '[fd00::1]', 'bridge-admin']) {
        assert.match(await ask(host), /^HTTP\/1.1 200 /, host);
    }
});

test('a stream that has ended leaves one line behind', async () => {
    const run = new ScriptRun(stack.redis.client, 'left');
    const stream = stack.threadEvents('left', '', reader);
    await stream.named('ready');
    await run.begin();
    await run.tokens('one ');
    await run.tokens('two, a word that is nobody else\'s');
    await until(() => stream.text() === run.text);
    const [first, last] = [stream.messages[0].ownId, stream.lastEventId];
    const { all: [{ connection }] } = await streams('?thread=left');
    stream.close();
    const [line] = await stack.bridge.child.line(/.* info client closed .*thread=left .*/);
    const fields = Object.fromEntries([...line.matchAll(/(\w+)=("[^"]*"|\S*)/g)].map(([, name, value]) => [name, value]));
    assert.deepEqual({ ...fields, ms: 0, bytes: 0 }, {
        connection: String(connection), thread: 'left', reason: '"client left"', first, last,
        events: String(stream.messages.length), bytes: 0, merged: '0', unsent: '0', ms: 0, run: '""',
        request: stream.headers['x-request-id'] });
    assert.ok(Number(fields.bytes) > 100 && Number(fields.ms) >= 0, line);
    assert.doesNotMatch(stack.bridge.output, /nobody else/);
});

test('versions: by --version, in the metrics of both, and as the files of the source say', async () => {
    const newest = Number(fs.readdirSync(path.join(ROOT, 'db')).filter((name) => name.endsWith('.sql')).sort().at(-1)?.slice(0, 4));
    const bridgeText = await (await inside('/metrics')).text();
    const workerText = await (await fetch(`http://${worker}/metrics`)).text();
    for (const [name, text] of [['bridge', bridgeText], ['worker', workerText]]) {
        const { stdout } = await runToEnd(path.join(BIN, `threadcast-${name}`), ['--version']);
        const [, version, event, script, schema] = stdout.match(
            /^threadcast-\w+ (\S+) \(event (\d+), script (\d+), schema (\d+)\)\n$/) ?? [];
        assert.equal(Number(schema), newest);
        assert.ok(text.includes(`\nthreadcast_build_info{version="${version}",event_version="${event}",` +
                                `script_version="${script}",schema_version="${schema}"} 1\n`), text);
    }
    assert.match(fs.readFileSync(path.join(ROOT, 'common/publish.lua'), 'utf8'), /ARGV\[1\] ~= '1'/);
});

const MONITORING = path.join(ROOT, 'monitoring');

test('every metric that the alerts and the dashboard name is there, with its labels', async () => {
    const series = seriesOf(await (await inside('/metrics')).text() + await (await fetch(`http://${worker}/metrics`)).text());
    const asked = expressions(MONITORING);
    assert.ok(asked.length >= 50 && series.length > 200, `${asked.length} of ${series.length}`);
    for (const { at, expr } of asked) {
        assert.match(expr, /threadcast_/, at);
        assert.deepEqual(missing(expr, series), [], at);
    }
    assert.deepEqual(missing('rate(threadcast_bridge_nothing[5m]) + threadcast_bridge_drops_total{reason="x"}', series),
                     ['threadcast_bridge_nothing', 'threadcast_bridge_drops_total{reason="x"}']);
});

test('runbooks of the alerts are sections of the documentation', () => {
    const sections = fs.readFileSync(path.join(ROOT, 'docs/OPERATIONS.md'), 'utf8');
    const alerts = fs.readFileSync(path.join(MONITORING, 'alerts.yml'), 'utf8');
    for (const [, name] of alerts.matchAll(/runbook: (.*)/g)) assert.ok(sections.includes(`## ${name}\n`), name);
});

test('Prometheus loads the alerts and answers the dashboard', { skip: !process.env.THREADCAST_FULL }, async (t) => {
    const prometheus = new Prometheus(path.join(stack.dir, 'prometheus'), path.join(MONITORING, 'alerts.yml'),
                                      { 'threadcast-bridge': admin, 'threadcast-worker': worker });
    t.after(() => prometheus.stop());
    await prometheus.start();
    const { code, stdout, stderr } = await prometheus.check();
    assert.equal(code, 0, stdout + stderr);
    await until(async () => (await prometheus.ask('/api/v1/targets')).data.activeTargets
        .every((/** @type {any} */ target) => target.health === 'up'), { what: 'both are scraped' });
    const rules = await until(async () => {
        const { data } = await prometheus.ask('/api/v1/rules');
        const all = data.groups.flatMap((/** @type {any} */ group) => group.rules);
        return all.every((/** @type {any} */ rule) => rule.health === 'ok') && all;
    }, { what: 'the rules are evaluated' });
    assert.ok(rules.length >= 15);
    assert.deepEqual(rules.filter((/** @type {any} */ rule) => rule.state === 'firing').map((/** @type {any} */ rule) => rule.name), []);
    const quiet = /> 0$|histogram_quantile/; // nothing to show when nothing happens
    for (const { at, expr } of expressions(MONITORING).filter((one) => one.at.startsWith('panel'))) {
        const plain = expr.replaceAll('$__rate_interval', '5s').replaceAll(/\$(bridge|worker)/g, '.*');
        const answer = await until(async () => {
            const { status, data, error } = await prometheus.query(plain);
            assert.equal(status, 'success', `${at}: ${error}`);
            return (data.result.length || quiet.test(expr)) && data;
        }, { what: () => `${at}: ${plain}` });
        assert.ok(answer);
    }
});

test('the worker is ready while Redis and PostgreSQL answer', async () => {
    const ready = () => fetch(`http://${worker}/readyz`);
    await until(async () => (await ready()).ok, { what: 'it is ready' });
    assert.deepEqual(await (await ready()).json(), { ready: true, redis: 'ok', postgres: 'ok', draining: false });
    await stack.redis.kill();
    const down = await until(async () => {
        const response = await ready();
        return response.status === 503 && response;
    }, { what: 'it says that it is not' });
    assert.deepEqual(await down.json(), { ready: false, redis: 'down', postgres: 'ok', draining: false });
    assert.equal((await inside('/readyz')).status, 503);
    await stack.redis.start();
    await until(async () => (await ready()).ok && (await inside('/readyz')).ok, { what: 'both are ready again' });
});

test('with --auth none the door has to be on this machine, too', async () => {
    const { code, stderr } = await runToEnd(path.join(BIN, 'threadcast-bridge'),
        ['--check-config', '--auth', 'none', '--admin-listen', '0.0.0.0:0']);
    assert.equal(code, 2);
    assert.match(stderr, /--admin-listen must be a loopback address/);
});

test('a thread that a newer version keeps: nothing is guessed or broken, and it is said', async () => {
    const thread = await stack.thread();
    const { runId, cursor } = await stack.post(thread, 'before the upgrade');
    await stack.threadEvents(thread, `since=${cursor}`).type('done');
    const key = `{thread:${thread}}:state`;
    await stack.redis.client.hset(key, 'v', '2');
    const log = await stack.redis.client.xlen(`{thread:${thread}}:log`);
    // whoever wants to write is refused by the script, and told so
    const outside = await stack.publish(thread, { type: 'token', content: 'from before' });
    assert.equal(outside.status, 503);
    assert.match(stack.bridge.output, /publishing refused reply="THREADCAST layout \{thread:\S+\}:state is of version 2"/);
    const { runId: waiting } = await stack.post(thread, 'in the middle of it');
    await stack.worker.child.line(new RegExp(`redis refuses thread=${thread} run=${waiting} why="THREADCAST layout`));
    // whoever wants to read what the state says is sent away for a while
    await stack.threadEvents(thread).named('busy');
    await stack.events(`/v1/runs/${runId}/events`).named('busy');
    assert.match(stack.bridge.output, new RegExp(`a newer version wrote this thread" thread=${thread} script=2 ours=1|` +
                                                 `a newer version wrote this thread thread=${thread} script=2 ours=1`));
    const metrics = await (await inside('/metrics')).text();
    assert.ok(Number(metrics.match(/\nthreadcast_bridge_state_newer_total (\d+)/)?.[1]) >= 2);
    assert.equal(await stack.redis.client.xlen(`{thread:${thread}}:log`), log, 'nothing was written');
    const row = await stack.run(waiting);
    assert.ok(row.status !== 'failed' && row.end_published_at === null, `the run waits: ${JSON.stringify(row)}`);
    // with a daemon that knows it (here: the old layout again), the same run goes on
    await stack.redis.client.hset(key, 'v', '1');
    await until(async () => (await stack.run(waiting)).end_published_at, { what: () => `its end is published\n${stack.logs(20)}` });
    assert.equal((await stack.run(waiting)).status, 'done');
    assert.ok(await stack.redis.client.xlen(`{thread:${thread}}:log`) > log);
});
