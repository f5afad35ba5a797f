// Redis under Sentinel: both daemons find the master by its name, follow it when another is
// chosen, and a run in the middle of it completes: nothing lost, or an honest `reset`.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { BIN, Child, freePort, run as runToEnd, Stack, until } from './harness.mjs';
import { Sentinels } from './lib/sentinel.mjs';

const PASSWORD = 'of-the-sentinels-alone';
const FULL = Boolean(process.env.THREADCAST_FULL);

/** @type {Stack} */
let stack;
/** @type {Sentinels} */
let sentinels;
before(async () => {
    stack = await Stack.start({ bridges: 0, workers: 0 });
    sentinels = new Sentinels(path.join(stack.dir, 'sentinels'), { password: PASSWORD });
    stack.secret(PASSWORD);
    await sentinels.start();
});
after(() => sentinels?.stop());

const env = () => ({ REDIS_URL: sentinels.url(`?sentinel-password=${PASSWORD}`) });
const serverAt = (/** @type {number | undefined} */ port) => {
    const found = sentinels.servers.find((server) => server.port === port);
    assert.ok(found, `a server at ${port}`);
    return found;
};

/** What a page shows of a run: a beginning empties it (behind a `reset` it comes again). */
function shown(/** @type {any[]} */ events, /** @type {string} */ run) {
    const contents = new Map();
    let text = '';
    for (const { runId, id, type, content } of events) {
        if (runId !== run) continue;
        const now = type === 'token' ? content : JSON.stringify(content);
        const before = contents.get(id) ?? now;
        // replayed, a token may have its neighbours before it in front
        assert.ok(before.endsWith(now) || now.endsWith(before), `${id} was given out again: ${before}, ${now}`);
        contents.set(id, now);
        if (type === 'status' && ['started', 'rewind'].includes(content.status)) text = '';
        if (type === 'token') text += content;
    }
    return text;
}

/** A run that has begun to speak. @param {string} prompt */
async function begin(prompt) {
    const thread = await stack.thread();
    const { cursor, runId, runs } = await stack.post(thread, prompt);
    const stream = stack.threadEvents(thread, `since=${cursor}&merge=0`);
    for (let i = 0; i < 5; i++) await stream.type('token');
    return { thread, run: runId, message: runs[0].messageId, stream };
}

/** @param {Awaited<ReturnType<typeof begin>>} begun */
async function endsWell({ run, message, stream }) {
    assert.equal((await stack.ended(run)).status, 'done');
    const record = await stack.messageText(message);
    // an end that the old master took along is published again, behind a `reset`
    await until(() => shown(stream.json, run) === record && stream.json.findLast((event) => event.runId === run)?.type === 'done',
                { what: () => `the whole text, and the end\n${stream.body.slice(-800)}\n${stack.logs(30)}` });
    assert.equal(stream.ending, '', 'the stream itself was never cut');
    stream.close();
}

/** Both daemons do all of their work here, and none at the other server. */
async function areAt(/** @type {import('./harness.mjs').RedisServer} */ server) {
    const jobs = ['bridge:\\S+:subscribe', 'bridge:\\S+:read', 'bridge:\\S+:publish',
                  'worker:\\S+:publish-0', 'worker:\\S+:control', 'worker:\\S+:alive'];
    for (const { port } of sentinels.servers.filter(({ child }) => child?.running)) {
        const list = async () => String(await serverAt(port).client.client('LIST'));
        await until(async () => {
            const all = await list();
            return jobs.every((job) => new RegExp(`name=threadcast-${job} `).test(all) === (port === server.port));
        }, { what: async () => `only ${server.port} is used, ${port} has\n${await list()}` });
    }
}

/** Follows a run through `fails`, which ends with another master. */
async function follow(/** @type {import('node:test').TestContext} */ t, /** @type {string} */ prompt,
                      /** @type {(old: import('./harness.mjs').RedisServer) => Promise<unknown>} */ fails,
                      /** @type {(old: import('./harness.mjs').RedisServer) => Promise<unknown>} */ ends = async () => {}) {
    const begun = await begin(prompt);
    const old = await sentinels.masterPort();
    await fails(serverAt(old));
    const port = await until(async () => {
        const now = await sentinels.masterPort();
        return now !== old && now;
    }, { every: 20, what: () => `another master\n${sentinels.sentinels[0].child?.tail()}` });
    const decided = performance.now(), over = begun.stream.json.some((event) => event.type === 'done');
    await endsWell(begun);
    // (0: what was waiting had all come before the majority of them had said so)
    const ms = (begun.stream.events.find(({ at }) => at > decided)?.at ?? decided) - decided;
    t.diagnostic(`streaming ${ms.toFixed(0)} ms after the sentinels' decision`);
    if (FULL && !over) assert.ok(ms < 2000, `${ms} ms`);
    await ends(serverAt(old));
    await areAt(serverAt(port));
    for (const { child } of [stack.bridge, stack.worker]) assert.ok(child.running, child.tail());
}

test('while no sentinel answers, a daemon says so and goes on trying', async () => {
    const starting = Promise.all([stack.startBridge({ 'retry-ms': 100, reactors: 2 }, env()),
                                  stack.startWorker({ 'demo-rate': 200 }, env())]);
    await until(() => stack.bridges.length && stack.workers.length);
    for (const { child } of [stack.bridge, stack.worker]) {
        const [line] = await child.line(/.* warn .*why="no sentinel knows the master.*/);
        assert.match(line, /the last of 3: connect 127\.0\.0\.1:\d+: Connection refused/);
        assert.ok(child.running);
    }
    assert.equal((await stack.bridge.fetch('/readyz').catch(() => ({ ok: false }))).ok, false);
    await sentinels.startSentinels();
    await starting;
    await areAt(serverAt(await sentinels.masterPort()));
});

test('a sentinel that names another one is not believed', async () => {
    const master = await sentinels.masterPort();
    const replica = sentinels.servers.find(({ port, child }) => port !== master && child?.running);
    assert.ok(replica, 'both servers are there');
    const { port } = await sentinels.strange(replica);
    const others = sentinels.url().replace(`,127.0.0.1:${port}/`, '/');
    const bridge = await stack.startBridge({ reactors: 1 },
        { REDIS_URL: `${others.replace('//', `//127.0.0.1:${port},`)}?sentinel-password=${PASSWORD}` });
    assert.match(bridge.output, /why="the sentinels' master says that it is a slave"/);
    await areAt(serverAt(master));
});

test('the master is killed in mid-run, and with it the sentinel that is asked', async (t) => {
    await follow(t, 'the master dies in the middle of this answer',
                 (old) => Promise.all([old.kill(), sentinels.sentinels[0].child?.stop('SIGKILL')]));
});

test('another master is chosen while the first still lives', async (t) => {
    const dead = sentinels.servers.find(({ child }) => !child?.running);
    assert.ok(dead);
    await dead.start(['--replicaof', `127.0.0.1 ${await sentinels.masterPort()}`]);
    await follow(t, 'the master is replaced in the middle of this answer', () => until(
        async () => await sentinels.ask(1, 'FAILOVER', 'main') === 'OK', { every: 50, what: 'a failover is begun' }));
});

test('the master hangs, and nobody waits for it', { skip: !FULL }, async (t) => {
    /** @type {import('./harness.mjs').RedisServer | undefined} */
    let hung;
    t.after(() => hung?.kill());
    await follow(t, 'the master hangs in the middle of this answer', async (old) => {
        hung = old;
        old.child?.kill('SIGSTOP');
    }, (old) => old.kill());
});

test('a master whose name no sentinel knows, and a password that is wrong, are named', async () => {
    for (const [url, why] of [
        [sentinels.url(`?sentinel-password=${PASSWORD}`).replace('/main?', '/other?'), "it knows no master 'other'"],
        [sentinels.url('?sentinel-password=wrong-and-never-logged'), 'AUTH: WRONGPASS'],
        [sentinels.url(), 'NOAUTH'],
    ]) {
        const bridge = new Child('bridge', path.join(BIN, 'threadcast-bridge'), ['--listen', '127.0.0.1:0'],
                                 { env: { REDIS_URL: url, JWT_SECRET: 'x'.repeat(32) } });
        try {
            const [line] = await bridge.line(/.* warn .*no sentinel knows the master.*/);
            assert.ok(line.includes(why), line);
        } finally {
            await bridge.stop();
        }
        assert.equal(bridge.code, 0, bridge.tail());
        assert.doesNotMatch(bridge.output, /wrong-and-never-logged/);
    }
});

test('over TLS, to the sentinel and to the master, each by a certificate that names it', async (t) => {
    const dir = path.join(stack.dir, 'tls');
    fs.mkdirSync(dir);
    const file = (/** @type {string} */ name) => path.join(dir, name);
    const made = await runToEnd('openssl', ['req', '-x509', '-newkey', 'ed25519', '-nodes', '-days', '2', '-subj', '/CN=test',
        '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', file('key.pem'), '-out', file('cert.pem')]);
    assert.equal(made.code, 0, made.stderr);
    const [server, sentinel] = [await freePort(), await freePort()];
    const tls = ['port 0', `dir ${dir}`, 'bind 127.0.0.1', `tls-cert-file ${file('cert.pem')}`, `tls-key-file ${file('key.pem')}`,
                 `tls-ca-cert-file ${file('cert.pem')}`, 'tls-auth-clients no', 'tls-replication yes'];
    fs.writeFileSync(file('server.conf'), [...tls, `tls-port ${server}`, 'save ""', ''].join('\n'));
    fs.writeFileSync(file('sentinel.conf'), [...tls, `tls-port ${sentinel}`, `sentinel monitor main 127.0.0.1 ${server} 1`, ''].join('\n'));
    const children = [new Child('redis-tls', 'redis-server', [file('server.conf')]),
                      new Child('sentinel-tls', 'redis-server', [file('sentinel.conf'), '--sentinel'])];
    t.after(() => Promise.all(children.map((child) => child.stop('SIGKILL'))));
    const url = { REDIS_URL: `rediss+sentinel://127.0.0.1:${sentinel}/main` };
    const bridge = await stack.startBridge({ 'tls-ca-file': file('cert.pem'), reactors: 1 }, url);
    assert.equal((await bridge.fetch('/readyz')).status, 200);
    const stranger = new Child('bridge', path.join(BIN, 'threadcast-bridge'), ['--listen', '127.0.0.1:0'],
                               { env: { ...url, JWT_SECRET: 'x'.repeat(32) } });
    await stranger.line(/ warn .*no sentinel knows the master, the last of 1: tls: /);
    await stranger.stop();
});

test('a file with the password that cannot be read stops the start, with its name', async () => {
    for (const daemon of ['bridge', 'worker']) {
        const { code, stderr } = await runToEnd(path.join(BIN, `threadcast-${daemon}`), ['--check-config'], {
            env: { ...stack.env(), JWT_SECRET: 'x'.repeat(32), REDIS_URL: sentinels.url('?sentinel-password-file=/nowhere/at-all') } });
        assert.equal(code, 2);
        assert.match(stderr, /REDIS_URL.*\/nowhere\/at-all/);
    }
});
