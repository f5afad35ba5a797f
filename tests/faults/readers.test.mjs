// The farm must see every fault, and none where there is none: a small server plays streams
// that were made by hand, one block at a time.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import net from 'node:net';
import { after, test } from 'node:test';
import { Farm, program } from './readers/farm.mjs';

const SEED = 4711;
const THREAD = 't1';
const HEAD = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n' +
    'Transfer-Encoding: chunked\r\n\r\n';
const FIRST = 'retry: 20\n:threadcast\n';

/** The story's pieces, told by the agent itself. @type {Map<string, string[]>} */
const told = new Map();

/** @param {string} run @param {number} [attempt] @param {string} [thread] @param {number} [seed] */
function story(run, attempt = 1, thread = THREAD, seed = SEED) {
    const key = `${seed} ${thread} ${run} ${attempt}`;
    if (!told.has(key)) {
        const input = { runId: run, threadId: thread, attempt, message: { content: 'pieces=12 rate=0' } };
        const { stdout, stderr, status } = spawnSync(program('faults-agent'), ['--seed', String(seed)],
            { input: `${JSON.stringify(input)}\n`, encoding: 'utf8' });
        assert.equal(status, 0, stderr);
        told.set(key, stdout.trim().split('\n').map((line) => JSON.parse(line))
            .filter((line) => line.type === 'token').map((line) => line.content));
    }
    return /** @type {string[]} */ (told.get(key));
}

/** @typedef {{ id?: string, type: string, content: any, run?: string | null, attempt?: number,
 *              thread?: string, ts?: number, message?: string }} Made */

/** @param {Made} made */
function json({ id, type, content, run = 'r1', attempt = 1, thread = THREAD, ts = Date.now(),
                message = `answer-${run}` }) {
    return JSON.stringify({ ...(id && { id }), type, threadId: thread,
                            ...(run && { runId: run, attempt, messageId: message }), content, ts });
}

/** A block as the bridge writes it. @param {Made} made */
const block = (made) => `data: ${json(made)}\n${made.id ? `id: ${made.id}\n` : ''}\n`;

/** @param {string | Buffer} text */
const chunk = (text) => Buffer.concat([Buffer.from(`${Buffer.byteLength(text).toString(16)}\r\n`),
                                       Buffer.from(text), Buffer.from('\r\n')]);

/** @param {string} name @param {object} data @param {string} [id] */
const named = (name, data, id) =>
    `event: ${name}\ndata: ${JSON.stringify(data)}\n${id ? `id: ${id}\n` : ''}\n`;

const status = (/** @type {string} */ word) => ({ type: 'status', content: { status: word } });
const token = (/** @type {string} */ content) => ({ type: 'token', content });
const done = (reason = 'stop') => ({ type: 'done', content: { finishReason: reason } });
const delta = { type: 'delta', content: { kind: 'progress', completed: 1 } };

/** Numbers what has no id yet: 10-1, 10-2 … @param {Partial<Made>[]} events */
function numbered(events, from = 1, epoch = 10) {
    return events.map((event, i) => /** @type {Made} */ ({ id: `${epoch}-${from + i}`, ...event }));
}

/** A whole answer of twelve pieces, in fifteen events. @param {string} [run] */
const answer = (run = 'r1', attempt = 1) => [
    { ...status('started'), run, attempt }, ...story(run, attempt).map((text) => ({ ...token(text), run, attempt })),
    { ...delta, run, attempt }, { ...done(), run, attempt }];

/** @type {Set<{ close: () => void }>} */
const open = new Set();
after(() => {
    open.forEach((thing) => thing.close());
    Farm.killAll();
});

/**
 * A server that hands each request to `play`.
 * @param {(socket: net.Socket, request: string) => void} play
 */
async function serve(play) {
    const server = net.createServer((socket) => {
        let request = '';
        socket.on('error', () => {}).on('data', (bytes) => {
            request += bytes.toString('latin1');
            if (request.endsWith('\r\n\r\n')) play(socket, request);
        });
        open.add({ close: () => socket.destroy() });
    });
    open.add(server);
    await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
    return /** @type {net.AddressInfo} */ (server.address()).port;
}

const SENTINEL = chunk(block({ type: 'test', content: 'all was sent', run: null }));

/**
 * Plays one connection after the other to one reader; the last one stays open. Answers what
 * the farm had to say when it has read all of it.
 * @param {(string | Buffer)[][]} connections blocks (a Buffer goes out as it is)
 * @param {{ options?: string, threads?: string, pieces?: number, runs?: string[] }} [how]
 */
async function play(connections, { options = '', threads = THREAD, pieces = 12, runs = ['r1'] } = {}) {
    /** @type {string[]} */
    const requests = [];
    const port = await serve((socket, request) => {
        const blocks = connections[requests.length] ?? [];
        const last = requests.push(request) >= connections.length;
        socket.write(Buffer.concat([Buffer.from(HEAD), chunk(FIRST),
            ...blocks.map((part) => (Buffer.isBuffer(part) ? part : chunk(part))),
            ...(last ? [SENTINEL] : [])]));
        if (!last) socket.end();
    });
    const farm = Farm.start({ seed: SEED, retryMaxMs: 20, sanitized: true });
    farm.say(`ports ${port}`).say(`open 0 ${threads} token ${options}`);
    for (const run of runs) farm.say(`run ${THREAD} ${run} ${pieces}`);
    const end = await farm.reached((now) => now.bare > 0);
    const rows = await farm.report();
    const code = await farm.quit();
    assert.equal(farm.complaints, '');
    assert.equal(code, farm.violations.length ? 1 : 0);
    assert.equal(end.violations, farm.violations.length);
    return { kinds: farm.violations.map((v) => v.violation), violations: farm.violations,
             rows, end, requests, resets: farm.resets };
}

/** @param {Partial<Made>[]} events */
const blocks = (events, from = 1, epoch = 10) => numbered(events, from, epoch).map(block);

// --- clean ones -------------------------------------------------------------------------------

for (const options of ['', 'merge=0', 'slow=4000']) {
    test(`a clean answer passes (${options || 'merged'})`, async () => {
        const { kinds, rows, end } = await play([blocks(answer())], { options });
        assert.deepEqual(kinds, []);
        assert.equal(end.open, 0);
        assert.equal(rows.length, 1);
        const { sha256, bytes, ...row } = rows[0];
        const { createHash } = await import('node:crypto');
        assert.equal(sha256, createHash('sha256').update(story('r1').join('')).digest('hex'));
        assert.equal(bytes, Buffer.byteLength(story('r1').join('')));
        assert.deepEqual(row, { reader: 0, thread: THREAD, run: 'r1', joined: true, attempt: 1,
                                outcome: 'done', code: 'stop', end: '10-15', resets: 0, excused: false });
    });
}

test('merged tokens, a new epoch, a fold and a second attempt pass', async () => {
    const [one, two] = [story('r1'), story('r1', 2)];
    const { kinds, rows } = await play([[
        ...blocks([status('queued'), status('started'), token(one[0])]),
        block({ id: '10-6', ...token(one.slice(1, 4).join('')) }), // merged
        block({ id: '10-7', ...delta }),
        block({ id: '12-1', ...token(one[4]) }), // another Redis, nothing lost
        block({ id: '12-2', ...status('rewind') }), // folded: the same attempt from 1
        block({ id: '12-3', ...token(one.slice(0, 6).join('')) }),
        block({ id: '12-4', ...status('queued') }),
        ...blocks([{ ...status('rewind'), attempt: 2 }, { ...token(two.join('')), attempt: 2 },
                   { ...done(), attempt: 2 }], 5, 12)]]);
    assert.deepEqual(kinds, []);
    assert.equal(rows[0].attempt, 2);
    assert.equal(rows[0].joined, true);
});

test('a stream resumes by its last id', async () => {
    const all = blocks(answer());
    const { kinds, requests, rows } = await play([all.slice(0, 5), all.slice(5)], { options: 'merge=0 since=0' });
    assert.deepEqual(kinds, []);
    assert.equal(rows[0].joined, true);
    assert.match(requests[0], /^GET \/v1\/threads\/t1\/events\?since=0&merge=0 HTTP\/1\.1\r\n/);
    assert.match(requests[0], /\r\nAuthorization: Bearer token\r\n/);
    assert.doesNotMatch(requests[0], /Last-Event-ID/);
    assert.match(requests[1], /\r\nLast-Event-ID: 10-5\r\n/);
});

test('a reset frees what was known, and its end is excused', async () => {
    const reset = named('reset', { reason: 'gone', threadId: THREAD }, '10-40');
    const rest = numbered([token(story('r1')[9]), { ...status('started'), run: 'r2' }], 41).map(block);
    const { kinds, rows, end, resets } =
        await play([[...blocks(answer().slice(0, 6)), reset, ...rest]], { runs: ['r1', 'r2', 'r3'] });
    assert.deepEqual(kinds, []);
    assert.equal(resets.length, 1);
    assert.equal(resets[0].had, '10-6');
    assert.equal(resets[0].now, '10-40');
    assert.deepEqual([end.resets, end.open, end.excused], [1, 2, 1]); // r1, r2 go on
    assert.deepEqual(rows.map((row) => [row.run, row.joined, row.excused]),
                     [['r1', false, false], ['r2', true, false], ['r3', false, true]]);
});

test('behind a reset a run may come again, its end too', async () => {
    const reset = named('reset', { reason: 'gone', threadId: THREAD }, '10-0');
    const { kinds, rows } = await play([[...blocks(answer()), reset, ...blocks(answer())]]);
    assert.deepEqual(kinds, []);
    assert.equal(rows[0].outcome, 'done');
});

test('what the bridge says itself is understood', async () => {
    const { kinds, end } = await play([
        [named('busy', { reason: 'not now' })],
        [named('ready', { at: '10-0' }, '10-0'), ...blocks(answer()), ':keepalive\n',
         named('stalled', { runId: 'r1' }, '10-15'), named('bye', { reason: 'going' }, '10-15')]]);
    assert.deepEqual(kinds, []);
    assert.deepEqual([end.busy, end.stalled, end.byes], [1, 1, 1]);
});

test('several threads: every id line says all positions', async () => {
    const second = { thread: 't2', run: null };
    const say = (/** @type {Made} */ made, /** @type {string} */ at) => `data: ${json(made)}\nid: ${at}\n\n`;
    const clean = [say({ id: '10-1', ...status('started') }, '10-1,0'),
                   say({ id: '20-8', ...delta, ...second }, '10-1,20-8'),
                   say({ id: '10-2', ...token(story('r1')[0]) }, '10-2,20-8')];
    const good = await play([clean, []], { threads: 't1,t2' });
    assert.deepEqual(good.kinds, []);
    assert.match(good.requests[0], /^GET \/v1\/events\?thread=t1&thread=t2 /);
    assert.match(good.requests[1], /\r\nLast-Event-ID: 10-2,20-8\r\n/);
    const wrong = say({ id: '10-3', ...delta }, '10-3,20-9');
    assert.deepEqual((await play([[...clean, wrong]], { threads: 't1,t2' })).kinds, ['position']);
    const short = say({ id: '10-3', ...delta }, '10-3');
    assert.deepEqual((await play([[...clean, short]], { threads: 't1,t2' })).kinds, ['framing']);
});

test('a clean stream passes when it is cut at every byte', async () => {
    const five = story('r1').slice(0, 5).map(token), two = story('r2').slice(0, 2).join('');
    const all = numbered([status('started'), ...five, delta, { ...status('started'), run: 'r2' },
                          done(), { ...token(two), run: 'r2' }, { ...done(), run: 'r2' }]);
    const bytes = Buffer.concat([Buffer.from(HEAD), chunk(FIRST), ...all.map((made) => chunk(block(made)))]);
    let cuts = 0;
    const port = await serve((socket, request) => {
        const last = request.match(/\r\nLast-Event-ID: (\S+)/)?.[1];
        const point = Number(request.match(/since=(\d+)/)?.[1]);
        const behind = last ? all.findIndex((made) => made.id === last) + 1 : 0;
        if (!last && !seen.has(point)) { // its first connection
            seen.add(point);
            cuts++;
            socket.end(bytes.subarray(0, point));
        } else {
            socket.write(Buffer.concat([Buffer.from(HEAD), chunk(FIRST),
                                        ...all.slice(behind).map((made) => chunk(block(made)))]));
        }
    });
    /** @type {Set<number>} */
    const seen = new Set();
    const farm = Farm.start({ seed: SEED, retryMaxMs: 20, sanitized: true });
    farm.say(`ports ${port}`).say(`run ${THREAD} r2 2`);
    for (let point = 1; point < bytes.length; point++) {
        farm.say(`open ${point} ${THREAD} - since=${point}${point % 2 ? ' merge=0' : ''}`);
    }
    farm.say(`run ${THREAD} r1 5`);
    await farm.reached((now) => now.live === bytes.length - 1 && now.open === 0);
    const rows = (await farm.report()).filter((row) => row.outcome === 'done' && row.joined);
    assert.deepEqual(farm.violations, []);
    assert.equal(cuts, bytes.length - 1);
    assert.equal(rows.length, 2 * cuts);
    assert.equal(await farm.quit(), 0);
});

// --- faults: each is seen, by its name ----------------------------------------------------------

/** @type {Record<string, { kinds: string[], stream: () => (string | Buffer)[], options?: string }>} */
const faults = {
    'a duplicate': { kinds: ['duplicate'], stream: () => {
        const all = blocks(answer());
        return [...all.slice(0, 6), all[5], ...all.slice(6)];
    } },
    'a hole, merge=0': { kinds: ['lost', 'lost text'], options: 'merge=0', stream: () =>
        blocks(answer()).filter((_, i) => i !== 5) },
    'a hole at an event that is no token, merged': { kinds: ['lost'], stream: () =>
        blocks(answer()).filter((_, i) => i !== 13) },
    'a new epoch that does not begin with 1': { kinds: ['lost'], stream: () =>
        [...blocks(answer().slice(0, 13)), block({ id: '11-2', ...delta }), block({ id: '11-3', ...done() })] },
    'a swapped pair': { kinds: ['lost', 'lost text', 'reordered'], options: 'merge=0', stream: () => {
        const all = blocks(answer());
        [all[5], all[6]] = [all[6], all[5]];
        return all;
    } },
    'an older epoch': { kinds: ['reordered'], stream: () =>
        [...blocks(answer()), block({ id: '9-1', ...delta, run: 'r2' })] },
    'a foreign thread': { kinds: ['foreign'], stream: () =>
        [...blocks(answer().slice(0, 3)), block({ id: '10-4', ...delta, thread: 't2' })] },
    'a foreign token': { kinds: ['foreign'], stream: () =>
        blocks(answer().map((event, i) => (i === 4 ? token(story('r2')[3]) : event))) },
    'another answer under the name of a run': { kinds: ['foreign'], stream: () =>
        blocks(answer().map((event, i) => (i === 13 ? { ...delta, message: 'answer-r2' } : event))) },
    'a token of a run nobody knows': { kinds: ['foreign'], stream: () =>
        blocks(answer().map((event, i) => (i === 4 ? token(story('x', 1, 'y', 5)[3]) : event))) },
    'text of another attempt': { kinds: ['text of another attempt'], stream: () =>
        blocks(answer().map((event, i) => (i === 4 ? token(story('r1', 2)[3]) : event))) },
    'missing text': { kinds: ['lost text'], stream: () =>
        blocks(answer().filter((_, i) => i !== 4)) },
    'repeated text': { kinds: ['duplicated text'], stream: () =>
        blocks(answer().map((event, i) => (i === 4 ? token(story('r1')[2]) : event))) },
    'one byte changed': { kinds: ['changed text'], stream: () =>
        blocks(answer().map((event, i) => (i === 4 ? token(`${story('r1')[3].slice(0, -1)}~`) : event))) },
    'the last piece missing': { kinds: ['lost text'], stream: () =>
        blocks(answer().filter((_, i) => i !== 12)) },
    'part of the last piece missing': { kinds: ['lost text'], stream: () =>
        blocks(answer().map((event, i) => (i === 12 ? token(story('r1')[11].slice(0, -1)) : event))) },
    'an event after the end': { kinds: ['after end'], stream: () => blocks([...answer(), delta]) },
    'a second end': { kinds: ['second end'], stream: () => blocks([...answer(), done()]) },
    'a lower attempt': { kinds: ['attempt'], stream: () =>
        blocks([...answer('r1', 2).slice(0, 5), delta]) },
    'an attempt that begins with a token': { kinds: ['begin'], stream: () =>
        blocks([...answer().slice(0, 5), { ...token(story('r1', 2)[0]), attempt: 2 }]) },
    'started twice': { kinds: ['begin'], stream: () => blocks([status('started'), ...answer()]) },
    'an end that differs from what was seen before a reset': { kinds: ['other end'], stream: () =>
        [...blocks(answer()), named('reset', { reason: 'gone', threadId: THREAD }, '10-20'),
         block({ id: '10-21', type: 'error', content: { code: 'x' } })] },
    'a multi-byte character that was cut': { kinds: ['framing'], stream: () => {
        const text = Buffer.from(block({ id: '10-1', type: 'token', content: 'é' }));
        const at = text.indexOf(0xc3);
        return [chunk(Buffer.concat([text.subarray(0, at + 1), text.subarray(at + 2)]))];
    } },
    'data that is no JSON': { kinds: ['framing'], stream: () => ['data: {"a":}\nid: 10-1\n\n'] },
    'a key twice': { kinds: ['framing'], stream: () => ['data: {"type":"x","type":"y"}\n\n'] },
    'two data lines': { kinds: ['framing'], stream: () => [`data: ${json({ id: '10-1', ...delta })}\ndata: \nid: 10-1\n\n`] },
    'the id in front of the data': { kinds: ['framing'], stream: () => [`id: 10-1\ndata: ${json({ id: '10-1', ...delta })}\n\n`] },
    'no id line': { kinds: ['framing'], stream: () => [`data: ${json({ id: '10-1', ...delta })}\n\n`] },
    'another id line': { kinds: ['framing'], stream: () => [`data: ${json({ id: '10-1', ...delta })}\nid: 10-2\n\n`] },
    'an id line for none': { kinds: ['framing'], stream: () => [`data: ${json({ ...delta })}\nid: 10-2\n\n`] },
    'a name that nobody knows': { kinds: ['framing'], stream: () => [named('gossip', {})] },
    'a carriage return': { kinds: ['framing'], stream: () => [`data: ${json({ ...delta })}\r\n\r\n`] },
    'a blank line too many': { kinds: ['framing'], stream: () => ['\n'] },
    'a comment inside a block': { kinds: ['framing'], stream: () => [`data: {}\n:keepalive\n\n`] },
    'a line of no field': { kinds: ['framing'], stream: () => ['hello\n'] },
    'a chunk without CR LF': { kinds: ['framing'], stream: () => [Buffer.from('3\r\n:a\n:b\n')] },
    'a chunk with a wrong size': { kinds: ['framing'], stream: () => [Buffer.from('zz\r\n:a\n\r\n')] },
    'a last chunk': { kinds: ['framing'], stream: () => [Buffer.from('0\r\n\r\n')] },
    'a position that was not delivered': { kinds: ['position'], stream: () =>
        [...blocks(answer().slice(0, 3)), named('bye', { reason: 'going' }, '10-9')] },
};

for (const [name, { kinds, stream, options }] of Object.entries(faults)) {
    test(`seen: ${name}`, async () => {
        const found = await play([stream(), []], { options });
        assert.deepEqual(found.kinds, kinds, JSON.stringify(found.violations, null, 1));
    });
}

test('a hole under merging is seen when another reader knows what was there', async () => {
    const all = blocks([status('started'), token(story('r1')[0]), delta, token(story('r1')[1])]);
    const port = await serve((socket, request) => {
        const whole = request.includes('since=0');
        socket.write(Buffer.concat([Buffer.from(HEAD), chunk(FIRST),
            ...all.filter((_, i) => whole || i !== 2).map(chunk)]));
    });
    const farm = Farm.start({ seed: SEED, sanitized: true });
    farm.say(`ports ${port}`).say(`open 0 ${THREAD} - since=0`);
    await farm.reached((now) => now.events === 4);
    farm.say(`open 1 ${THREAD} -`);
    await farm.reached((now) => now.events === 7);
    assert.deepEqual(farm.violations.map((v) => [v.violation, v.reader]), [['lost', 1]]);
    assert.equal(await farm.quit(), 1);
});

test('a beginning that was missed is seen when another reader saw it', async () => {
    const all = blocks([{ ...delta, run: null }, ...answer()]);
    const port = await serve((socket, request) => {
        const part = request.includes('since=0') ? all : [all[0], ...all.slice(2)];
        socket.write(Buffer.concat([Buffer.from(HEAD), chunk(FIRST), ...part.map(chunk)]));
    });
    const farm = Farm.start({ seed: SEED, sanitized: true });
    farm.say(`ports ${port}`).say(`open 0 ${THREAD} - since=0`);
    await farm.reached((now) => now.events === 16);
    farm.say(`open 1 ${THREAD} -`);
    await farm.reached((now) => now.events === 31);
    assert.deepEqual(farm.violations.map((v) => [v.violation, v.reader]), [['lost', 1], ['lost', 1]]);
    assert.equal(await farm.quit(), 1);
});

test('a refusal is told once, and asked about slowly, or at once with a new token', async () => {
    let asked = 0;
    const port = await serve((socket, request) => {
        asked++;
        if (request.includes('Bearer good')) {
            socket.write(Buffer.concat([Buffer.from(HEAD), chunk(FIRST), SENTINEL]));
        } else {
            const body = '{"error":{"code":"token_expired","message":"x"}}';
            socket.end(`HTTP/1.1 401 Unauthorized\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
        }
    });
    const farm = Farm.start({ seed: SEED, retryMaxMs: 1, sanitized: true });
    farm.say(`ports ${port}`).say(`open 0 ${THREAD} bad`);
    await farm.reached((now) => now.refused === 1 && now.connected === 0);
    farm.say('token 0 good');
    await farm.reached((now) => now.bare === 1);
    assert.equal(asked, 2);
    assert.deepEqual(farm.refusals.map((line) => [line.refused, line.code]), [[401, 'token_expired']]);
    assert.equal(await farm.quit(), 0);
});

test('cut, stall, half: they come back, and stay right', async () => {
    const all = numbered(answer());
    /** @type {Set<net.Socket>} */
    const sockets = new Set();
    const port = await serve((socket, request) => {
        const last = request.match(/\r\nLast-Event-ID: (\S+)/)?.[1];
        const behind = last ? all.findIndex((made) => made.id === last) + 1 : 0;
        sockets.add(socket.on('close', () => sockets.delete(socket)).on('end', () => socket.end()));
        // a stream that goes on: the farm cuts in the middle of it
        const bytes = Buffer.concat([Buffer.from(HEAD), chunk(FIRST),
                                     ...all.slice(behind).map((made) => chunk(block(made)))]);
        socket.write(bytes);
    });
    const farm = Farm.start({ seed: SEED, retryMaxMs: 20, sanitized: true });
    farm.say(`ports ${port}`).say(`open-many 0 40 ${THREAD} - merge=0 slow=1000`).say(`run ${THREAD} r1 12`);
    await farm.reached((now) => now.live === 40);
    for (let round = 1; round <= 5; round++) {
        farm.say('cut 0.5');
        await farm.reached((now) => now.cut >= round * 10 && now.live === 40);
    }
    const { reconnects } = await farm.reached((now) => now.live === 40);
    farm.say('half 1');
    await farm.reached((now) => now.reconnects === reconnects + 40 && now.live === 40);
    farm.say('stall 1 100').say('slow 1 100 2000');
    await farm.settled();
    assert.deepEqual(farm.violations, []);
    assert.equal((await farm.report()).filter((row) => row.joined && row.outcome === 'done').length, 40);
    farm.say('close all');
    await farm.reached((now) => now.readers === 0);
    assert.equal(await farm.quit(), 0);
});

test('a wrong command is said and remembered', async () => {
    const farm = Farm.start({ seed: SEED, sanitized: true });
    farm.say('opne 0 t1 -').say('cut 2').say('open 0').say('open 0 t1 - fast=1').say('slow 1 100 5').say('status');
    assert.equal(await farm.quit(), 1);
    assert.equal(farm.complaints.trim().split('\n').length, 5);
});
