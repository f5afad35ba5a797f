// Options of both daemons: the table, the refusals, the secrets.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { BIN, ROOT, run } from './harness.mjs';

const SECRET = 'a-secret-of-at-least-thirty-two-bytes';
const ENV = { DATABASE_URL: 'postgresql://u:hunter22@127.0.0.1:1/x', REDIS_URL: 'redis://:hunter22@127.0.0.1:1' };

/** @param {'bridge' | 'worker'} daemon @param {string[]} args @param {Record<string, string>} [env] */
const call = (daemon, args, env = {}) => run(path.join(BIN, `threadcast-${daemon}`), args, { env: { ...ENV, ...env } });

for (const daemon of /** @type {const} */ (['bridge', 'worker'])) {
    const prefix = daemon.toUpperCase();
    const good = daemon === 'bridge' ? { JWT_SECRET: SECRET } : {};

    test(`${daemon} --help and --version`, async () => {
        const help = await call(daemon, ['--help']);
        assert.equal(help.code, 0);
        for (const name of ['--drain-ms', `${prefix}_DRAIN_MS`, 'REDIS_URL', 'LOG_FORMAT']) {
            assert.ok(help.stdout.includes(name), name);
        }
        assert.match((await call(daemon, ['--version'])).stdout, /^threadcast-\w+ \d+\.\d+\.\d+/);
    });

    test(`${daemon} --check-config`, async () => {
        const fine = await call(daemon, ['--check-config'], good);
        assert.equal(fine.code, 0, fine.stderr);
        assert.ok(!(fine.stdout + fine.stderr).includes('hunter22'));
        assert.ok(!(fine.stdout + fine.stderr).includes(SECRET));
    });

    /** @type {[string[], Record<string, string>, RegExp][]} */
    const bad = [
        [['--nonsense'], {}, /nonsense/],
        [['--drain-ms'], {}, /drain-ms/],
        [['--drain-ms', 'abc'], {}, /drain-ms/],
        [['--drain-ms', '-5'], {}, /drain-ms/],
        [['--drain-ms', '99999999999999999999'], {}, /drain-ms/],
        [['--drain-ms', '10s'], {}, /drain-ms/],
        [[], { [`${prefix}_DRAIN_MS`]: 'x' }, /DRAIN_MS|drain-ms/],
        [[], { [`${prefix}_NONSENSE`]: '1' }, /NONSENSE/],
        [[], { LOG_LEVEL: 'loud' }, /LOG_LEVEL|log-level/],
        [[], { REDIS_URL: 'http://x:hunter22@y' }, /REDIS_URL|redis-url/],
    ];
    for (const [args, env, why] of bad) {
        test(`${daemon} ${args.join(' ')} ${JSON.stringify(env)} is refused`, async () => {
            const answer = await call(daemon, [...args, '--check-config'], { ...good, ...env });
            assert.notEqual(answer.code, 0);
            assert.match(answer.stderr, why);
            assert.ok(!answer.stderr.includes('hunter22'), answer.stderr);
        });
    }
}

test('a flag beats the environment; a secret comes from a file', async () => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'threadcast-cli-'));
    const file = path.join(dir, 'secret');
    fs.writeFileSync(file, `${SECRET}\n`);
    const env = { JWT_SECRET_FILE: file, BRIDGE_KEEPALIVE_MS: 'nonsense' };
    assert.notEqual((await call('bridge', ['--check-config'], env)).code, 0);
    assert.equal((await call('bridge', ['--check-config', '--keepalive-ms', '100'], { JWT_SECRET_FILE: file })).code, 0);
    fs.writeFileSync(file, 'short');
    const short = await call('bridge', ['--listen', '127.0.0.1:0'], { JWT_SECRET_FILE: file });
    assert.notEqual(short.code, 0, 'a key under 32 bytes');
    assert.ok(!short.stderr.includes('short\n'));
    fs.rmSync(dir, { recursive: true });
});

test('the bridge does not start without a key, nor with one of no use', async () => {
    const start = async (/** @type {string[]} */ args, env = {}) =>
        (await call('bridge', ['--listen', '127.0.0.1:0', ...args], env)).code;
    assert.ok(await start([]));
    assert.ok(await start([], { JWT_SECRET: '' }));
    assert.ok(await start([], { JWT_SECRET: 'x'.repeat(31) }));
    assert.ok(await start([], { JWT_PUBLIC_KEY_FILE: '/nonexistent' }));
    assert.ok(await start(['--auth', 'none', '--listen', '0.0.0.0:1']), 'no auth on loopback only');
});

test('the worker needs a database and agents that make sense', async () => {
    assert.notEqual((await call('worker', ['--check-config'], { DATABASE_URL: '' })).code, 0);
    assert.notEqual((await call('worker', ['--check-config', '--agent', 'nobody'])).code, 0);
    assert.equal((await call('worker', ['--check-config', '--agent', 'exec:/bin/cat'])).code, 0);
});

test('the worker\'s file of agents is checked, and what is wrong has its place', async () => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'threadcast-cli-'));
    const file = path.join(dir, 'agents.json');
    const check = async (/** @type {unknown} */ text, args = ['--agents-file', file]) => {
        fs.writeFileSync(file, typeof text === 'string' ? text : JSON.stringify(text));
        return call('worker', ['--check-config', ...args]);
    };
    const demo = { kind: 'demo' };
    assert.equal((await check({ default: 'a', agents: { a: demo, b: { kind: 'exec', command: 'cat', description: 'x' } } })).code, 0);
    assert.equal((await check({ agents: { a: demo } }, ['--agents-file', file, '--agent', 'a'])).code, 0);
    assert.equal((await call('worker', ['--check-config', '--agents-file', path.join(ROOT, 'examples/agents/agents.json')])).code, 0);
    for (const [text, place] of /** @type {[unknown, string][]} */ ([
        [{ default: 'b', agents: { a: demo } }, 'default: there is no agent of this name'],
        [{ agents: { a: { kind: 'demo', rate: 'fast' } } }, 'agents.a.rate: must be from 0 to 100000 tokens/s'],
        [{ agents: { a: { ...demo, apiKey: SECRET } } }, 'agents.a.apiKey: there is no such member'],
        [{ agents: { a: { kind: SECRET } } }, 'agents.a.kind: must be one of demo, '],
        [`{"agents":{"a":{"kind":"demo"},"a":{"kind":"demo"}}}`, 'line 1, column 34: the name stands there twice'],
        [`{"agents":{"a": ${SECRET}`, 'line 1, column 17: not JSON'],
    ])) {
        const answer = await check(text);
        assert.equal(answer.code, 2, answer.stderr);
        assert.ok(answer.stderr.includes(`${file}: ${place}`), answer.stderr);
        assert.ok(!answer.stderr.includes(SECRET), 'no value');
    }
    assert.match((await check({}, ['--agents-file', `${file}.none`])).stderr, /agents\.json\.none: No such file/);
    const migrate = await call('worker', ['migrate', '--check-config', '--agents-file', `${file}.none`]);
    assert.equal(migrate.code, 0, 'who migrates, maybe elsewhere, needs no agents');
    fs.rmSync(dir, { recursive: true });
});
