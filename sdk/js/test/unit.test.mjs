// The parts without connections: characters into blocks, what was told, how long to wait, who
// is told; and what the package weighs and carries.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import zlib from 'node:zlib';
import { Consumers } from '../src/consumers.js';
import { Patience } from '../src/patience.js';
import { Place } from '../src/place.js';
import { sseParser } from '../src/sse.js';

const HERE = fileURLToPath(new URL('..', import.meta.url));
const BIN = fileURLToPath(new URL('../../../tests/e2e/node_modules/.bin/', import.meta.url));
const CORE_MAX_BYTES = 5 * 1024;

test('a stream cut at every byte gives the same blocks', () => {
    const text = '\ufeffretry: 70\n:threadcast\ndata: {"ä":\ndata: 1}\r\nid: 1-1\r\rdata:x\nevent: ready\nid: 1-2\n\n' +
        ':keepalive\nid: 1-3\n\nid: 1-\0\nnonsense\ndata\n\nevent: lost\n\ndata: no end';
    const bytes = new TextEncoder().encode(text);
    const whole = [['', '{"ä":\n1}', '1-1'], ['ready', 'x', '1-2'], ['', '', '1-3']];
    for (let cut = 0; cut <= bytes.length; cut++) {
        /** @type {string[][]} */
        const blocks = [];
        let retryMs = 0;
        const push = sseParser((...block) => blocks.push(block), (ms) => { retryMs = ms; });
        const decoder = new TextDecoder();
        for (const part of [bytes.subarray(0, cut), bytes.subarray(cut)]) push(decoder.decode(part, { stream: true }));
        assert.deepEqual(blocks, whole, `cut at ${cut}`);
        assert.equal(retryMs, 70);
    }
    assert.throws(() => sseParser(() => {}, () => {})('data: '.padEnd(2 << 20, 'x')));
});

/** @param {Place} place @param {string} id @param {object} [more] */
const tell = (place, id, more) => {
    place.move(id);
    return place.take({ id, type: 'token', threadId: 't1', ...more });
};

test('every event once; after a reset they come again, and say so', () => {
    const place = new Place(['t1'], 'run');
    assert.equal(place.since, 'run');
    assert.deepEqual(tell(place, '5-1'), { id: '5-1', thread: 't1', replayed: false });
    assert.equal(tell(place, '5-3')?.replayed, false);
    assert.equal(tell(place, '5-2'), null);
    assert.equal(place.duplicates, 1);
    assert.equal(place.since, '5-2');
    place.move('6-0');
    place.reset('t1');
    assert.equal(place.position, '6-0');
    assert.equal(tell(place, '5-3')?.replayed, true);
    assert.equal(tell(place, '6-1')?.replayed, false);
    assert.deepEqual(place.take({ type: 'test' }), { id: '', thread: 't1', replayed: false });
    for (let epoch = 10; epoch < 400; epoch++) assert.ok(tell(place, `${epoch}-1`), 'what is kept is limited');
    assert.equal(tell(place, '399-1'), null);
});

test('where several threads stand', () => {
    const place = new Place(['a', 'b'], 'now');
    assert.deepEqual([place.since, place.position], ['now', '']);
    place.move('1-2,0');
    assert.equal(place.since, '1-2,0');
    place.move('3-3');
    assert.equal(place.since, '1-2,0', 'no position of this stream');
    place.add('c', '7-7');
    assert.equal(place.since, '1-2,0,7-7');
    place.remove('a');
    place.move('4-4', 'b');
    place.move('4-4', 'unknown');
    assert.equal(place.since, '4-4,7-7');
    place.take({ id: '4-4', threadId: 'b' });
    place.take({ id: '4-4', threadId: 'c' });
    place.reset('b');
    assert.equal(place.take({ id: '4-4', threadId: 'b' })?.replayed, true, 'its reset is its own');
    assert.equal(place.take({ id: '4-4', threadId: 'c' }), null);
    assert.equal(new Place(['a', 'b'], '1-1,0').since, '1-1,0');
    const empty = new Place(['a'], 'run');
    empty.move('0');
    assert.equal(empty.since, '0', 'before the first event of an empty thread: not "run" once more');
});

const limits = { retryMs: 100, retryMaxMs: 30_000, giveUpMs: 1000, firstByteMs: 10 };

test('waiting: full jitter, doubled up to a limit, not before the bridge has said', () => {
    for (let lost = 0; lost < 12; lost++) {
        const waits = Array.from({ length: 300 }, () => {
            const patience = new Patience(limits);
            for (let i = 0; i < lost; i++) patience.next(false, false);
            return Number(patience.next(false, false));
        });
        const most = Math.min(30_000, 100 * 2 ** lost);
        assert.ok(Math.max(...waits) <= most && Math.max(...waits) > most * 0.8, `${lost}: ${Math.max(...waits)} of ${most}`);
        assert.ok(Math.min(...waits) < most * 0.2, 'all of it is drawn');
    }
    const patience = new Patience(limits);
    assert.ok(Number(patience.next(true, false)) >= 100);
    patience.retryMs = 5000;
    assert.ok(Number(patience.next(true, false)) >= 5000);
    assert.equal(patience.attempt, 2);
    patience.reset();
    assert.equal(patience.attempt, 0);
});

test('giving up: only time with a network counts, and no more than a machine that is awake can take', (t) => {
    t.mock.timers.enable({ apis: ['Date'] });
    const patience = new Patience({ ...limits, retryMaxMs: 400 });
    assert.notEqual(patience.next(false, false), null);
    t.mock.timers.tick(3_600_000); // it slept
    assert.notEqual(patience.next(false, false), null, 'counts as two waits and a connection: 810 ms');
    t.mock.timers.tick(5000);
    assert.notEqual(patience.next(false, true), null);
    t.mock.timers.tick(190);
    assert.notEqual(patience.next(false, false), null);
    t.mock.timers.tick(1);
    assert.equal(patience.next(false, false), null);
    patience.reset();
    assert.notEqual(patience.next(false, false), null);
});

/** @param {number} max @param {(full: boolean) => void} [onFull] */
const consumers = (max, onFull = () => {}) => new Consumers(/** @type {any} */ ({ state: 'live', close() {} }), max, onFull);
const info = { id: '', thread: 't1', replayed: false };

test('handlers by name; what one throws is not the others\' business', (t) => {
    const all = consumers(10);
    /** @type {string[]} */
    const seen = [];
    /** @type {(() => void)[]} */
    const later = [];
    t.mock.method(globalThis, 'queueMicrotask', (/** @type {() => void} */ job) => later.push(job));
    all.on('token', () => { throw new Error('of a page'); });
    const off = all.on('token', (event, { thread }) => seen.push(`${event.type} ${thread}`));
    all.on('event', (event) => seen.push(event.type));
    all.event({ type: 'token' }, info, '');
    off();
    all.event({ type: 'token' }, info, '');
    all.event({ type: 'state' }, info, '');
    assert.deepEqual(seen, ['token', 'token t1', 'token', 'state']);
    assert.throws(later[0], /of a page/, 'it is not kept from the page, either');
});

test('a loop takes its time: above the limit reading pauses, below half of it it goes on', async () => {
    /** @type {boolean[]} */
    const full = [];
    const all = consumers(4, (is) => full.push(is));
    const loop = all.iterate(() => 'p');
    assert.equal(all.position, 'p');
    for (let i = 0; i < 4; i++) all.event({ type: 'token', n: i }, info, `1-${i}`);
    assert.deepEqual(full, [true]);
    for (let i = 0; i < 3; i++) assert.equal(/** @type {any} */ ((await loop.next()).value).n, i);
    assert.deepEqual(full, [true, false]);
    assert.equal(all.position, '1-2');
    all.end(new Error('it failed'));
    assert.equal(/** @type {any} */ ((await loop.next()).value).n, 3, 'what had come is given first');
    await assert.rejects(loop.next(), /it failed/);
});

/** What a bundler makes of it, gzipped; what is only loaded when asked for left out. @param {string[]} without */
function weigh(...without) {
    const built = execFileSync(path.join(BIN, 'esbuild'), [path.join(HERE, 'src/index.js'), '--bundle', '--minify',
        '--format=esm', '--target=es2022', ...without.map((name) => `--external:./${name}`)]);
    return zlib.gzipSync(built, { level: 9 }).length;
}

test('what the core weighs', () => {
    const core = weigh('pass.js', 'shared.js');
    const files = new Set(['index.js']);
    for (const name of files) {
        const text = fs.readFileSync(path.join(HERE, 'src', name), 'utf8');
        for (const [, other] of text.matchAll(/^(?:import|export)[^;]* from '\.\/([^']+)'/gm)) files.add(other);
    }
    const served = [...files].reduce((sum, name) => sum + zlib.gzipSync(fs.readFileSync(path.join(HERE, 'src', name))).length, 0);
    console.log(`core: ${core} bytes minified and gzipped; with tokens ${weigh('shared.js')}, shared too ${weigh()}; ` +
        `the core as it lies: ${served} in ${files.size} files, gzipped one by one`);
    assert.ok(core < CORE_MAX_BYTES, `${core} bytes`);
});

test('types for TypeScript come out of the comments', () => {
    const out = fs.mkdtempSync(path.join(os.tmpdir(), 'threadcast-types-'));
    try {
        const { compilerOptions } = JSON.parse(fs.readFileSync(path.join(HERE, 'tsconfig.json'), 'utf8'));
        fs.writeFileSync(path.join(out, 'tsconfig.json'), JSON.stringify({ files: [path.join(HERE, 'test/types.ts')], compilerOptions: {
            ...compilerOptions, noEmit: false, declaration: true, emitDeclarationOnly: true, outDir: 'types', rootDir: HERE,
            paths: { threadcast: [path.join(HERE, 'src/index.js')], 'threadcast/*': [path.join(HERE, 'src/*.js')],
                     react: [path.join(BIN, '../@types/react/index.d.ts')] } } }));
        const made = spawnSync(path.join(BIN, 'tsc'), ['-p', out], { encoding: 'utf8' });
        assert.equal(made.status, 0, made.stdout);
        assert.match(fs.readFileSync(path.join(out, 'types/src/stream.d.ts'), 'utf8'), /on\(name: "state", handler: \(state: State, detail: Detail\) => void\): \(\) => void;/);
    } finally {
        fs.rmSync(out, { recursive: true });
    }
});

test('what npm would publish', () => {
    const [packed] = JSON.parse(execFileSync('npm', ['pack', '--dry-run', '--json', '--offline', '--ignore-scripts'], {
        cwd: HERE, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
    const names = packed.files.map((/** @type {any} */ f) => f.path);
    for (const name of ['LICENSE', 'README.md', 'package.json', 'src/index.js', 'src/shared.js']) assert.ok(names.includes(name), name);
    assert.ok(!names.some((/** @type {string} */ name) => /^test|tsconfig/.test(name)), names.join());
    const { dependencies } = JSON.parse(fs.readFileSync(path.join(HERE, 'package.json'), 'utf8'));
    assert.equal(dependencies, undefined);
    for (const name of fs.readdirSync(path.join(HERE, 'src'))) { // in a browser, too
        assert.doesNotMatch(fs.readFileSync(path.join(HERE, 'src', name), 'utf8'), /from '(node:|ioredis)|\bBuffer\b|\bprocess\./);
    }
});
