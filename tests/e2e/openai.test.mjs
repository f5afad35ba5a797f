// The openai agent against a stand-in provider over TLS: every answer of tests/input/provider
// becomes the same events, every failure its own error, and the key stays where it belongs.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { bytesOf, casesOf } from '../input/cases.mjs';
import { Stack, textOf, until, withLogs } from './harness.mjs';
import { certify, chunk, END, Provider } from './lib/provider.mjs';
import { counting, isBeginning, isEnd, runsOf } from './lib/runs.mjs';

const FULL = process.env.THREADCAST_FULL === '1';
const KEY = `sk-${randomBytes(16).toString('hex')}`;
const CASES = casesOf('provider');

/** @type {Stack} */
let stack;
/** @type {Provider} over HTTP/2 */
let provider;
/** @type {Provider} over HTTP/1.1 */
let older;
/** @type {Provider} with a certificate of another CA */
let forged;
const runs = runsOf(() => stack);

/** how long a provider may be silent where the test is about that; long enough for a loaded machine */
const IMPATIENT_MS = 2000;

const agents = {
    patient: { retries: 0, pace: 0 },
    again: { retries: 2 },
    impatient: { retries: 0, stall_ms: IMPATIENT_MS, first_byte_ms: IMPATIENT_MS },
    hurried: { retries: 0, timeout_ms: IMPATIENT_MS },
    small: { retries: 0, max_bytes: 4096 },
    few: { retries: 0, max_events: 10 },
    paced: { pace: 500, stream: false },
    strict: { allow: [], system: 'Be brief.', temperature: 0.25, max_tokens: 100, model: 'strict-1' },
    open: { allow: ['model', 'system', 'temperature', 'max_tokens', 'extra_body'], extra_body: { seed: 7, stream_options: null } },
    short: { history_messages: 2 },
    cheap: { history_tokens: 60 },
    elsewhere: { retries: 0, base_url: 'http://127.0.0.1:1' }, // where nobody listens
};

before(async () => {
    stack = await Stack.start({ workers: 0 });
    stack.secret(KEY);
    const tls = await certify(stack.dir);
    provider = await new Provider(tls).start();
    older = await new Provider(tls, 1).start();
    fs.mkdirSync(path.join(stack.dir, 'forged'));
    forged = await new Provider(await certify(path.join(stack.dir, 'forged'))).start();
    stack.secret('another-key');
    fs.writeFileSync(path.join(stack.dir, 'another.key'), 'another-key\n');
    const file = path.join(stack.dir, 'agents.json');
    const given = { ...agents, forged: { base_url: forged.url, retries: 0 }, older: { retries: 0, pace: 0, base_url: older.url, model: 'stand-in',
                                        api_key_file: path.join(stack.dir, 'another.key') } };
    const kinds = Object.entries(given).map(([name, options]) => [name, { kind: 'openai', ...options }]);
    fs.writeFileSync(file, JSON.stringify({ default: 'patient', agents: {
        ...Object.fromEntries(kinds),
        env: { kind: 'exec', command: 'env | sed \'s/.*/{"type":"token","content":"& "}/\'' } } }));
    await stack.startWorker({ 'agents-file': file, 'max-attempts': 1, concurrency: 256, 'poll-ms': 200,
                              'run-buffer-bytes': 65536, 'drain-ms': 500 },
                            { OPENAI_BASE_URL: provider.url, OPENAI_API_KEY: KEY, OPENAI_MODEL: 'stand-in',
                              OPENAI_CA_FILE: tls.ca });
});
after(() => Promise.all([provider?.stop(), older?.stop(), forged?.stop()]));

/** Asks; answers the events of the run once it has ended. */
async function ask(prompt, { agent = 'patient', metadata = {}, thread = undefined } = {}) {
    return heard(await post(prompt, { agent, metadata, thread }));
}

async function post(prompt, { agent = 'patient', metadata = {}, thread = undefined } = {}) {
    const on = thread ?? await stack.thread();
    const [message] = await stack.pg.query(
        `insert into messages (thread_id, role, content, metadata) values ($1, 'user', $2, $3) returning id`,
        [on, prompt, { agent, ...metadata }]);
    const [row] = await stack.pg.query('select id, reply_id from runs where message_id = $1', [message.id]);
    return { thread: on, run: row.id, reply: row.reply_id };
}

async function heard(run) {
    return until(async () => {
        const events = await runs.events(run);
        return isEnd(events.at(-1) ?? {}) ? events : null;
    }, { every: 25, what: () => `the end of ${run.run}\n${stack.workers[0].child.tail(30)}` });
}

/** What a row of tests/input/provider expects, of events: neighbouring texts are one. */
function said(events) {
    const all = [];
    for (const { type, content } of counting(events)) {
        const [kind, value] = type === 'token' ? ['token', content]
            : type === 'delta' ? [content.kind, content.kind === 'reasoning' ? content.text : content] : [];
        if (!kind) continue;
        if (all.at(-1)?.[0] === kind && typeof value === 'string') all.at(-1)[1] += value;
        else all.push([kind, value]);
    }
    return all;
}

const expected = (row) => row.says.map(([kind, value]) => [kind, kind === 'usage' ? { kind, ...value } : value]);

function check(row, events, how) {
    const end = events.at(-1);
    assert.deepEqual(said(events), expected(row), `${row.name} (${how})`);
    if (row.error) {
        assert.deepEqual([end.type, end.content.code, end.content.retryable], ['error', row.error, row.retryable],
                         `${row.name} (${how}): ${JSON.stringify(end.content)}`);
    } else {
        assert.deepEqual([end.type, end.content.finishReason], ['done', row.done], `${row.name} (${how})`);
        const usage = row.says.find(([kind]) => kind === 'usage')?.[1];
        assert.deepEqual(end.content.usage, usage, `${row.name} (${how})`);
    }
}

let served = 0;
/** Serves a row's bytes in pieces, with its status, its type and its end. */
async function play(row, pieces, how, by = provider) {
    const prompt = `play ${++served}`;
    let cut = () => {};
    by.answers.set(prompt, (response) => {
        cut = () => by.cut(response);
        return by.stream(response, pieces, {
            status: row.status ?? 200, end: row.end === 'cut' ? 'never' : 'well',
            headers: row.type === '' ? {} : { 'Content-Type': row.type ?? 'text/event-stream' } });
    });
    const run = await post(prompt, { agent: by === older ? 'older' : 'patient' });
    if (row.end === 'cut') { // what a reset overtakes is lost, so it waits for what is to be seen
        await until(async () => by.asked(prompt).length &&
            said(await runs.events(run)).length === row.says.length, { what: `${row.name}: what is said before the cut` });
        cut();
    }
    check(row, await heard(run), how);
    by.answers.delete(prompt);
}

/** @template T @param {T[]} list @param {number} width @param {(item: T, i: number) => Promise<void>} fn */
async function inParallel(list, width, fn) {
    let next = 0;
    await Promise.all(Array.from({ length: width }, async () => {
        while (next < list.length) {
            const i = next++;
            await fn(list[i], i);
        }
    }));
}

test('every answer becomes its events', async () => {
    await withLogs(() => stack, () => inParallel(CASES, 32, (row, i) =>
        play(row, [bytesOf('provider', row)], 'whole', i % 2 ? older : provider)));
});

const streams = CASES.filter((row) => row.file?.endsWith('.sse'));

test('one byte at a time they are the same', async () => {
    // a reset may overtake what was sent just before it
    const some = FULL ? CASES.filter((row) => row.end !== 'cut') : streams.filter((row) => /-(text|tools|error)\.sse$/.test(row.file ?? ''));
    await inParallel(some, 8, (row, i) => play(row, [...bytesOf('provider', row)].map((byte) => Buffer.of(byte)),
                                               'byte by byte', i % 2 ? older : provider));
});

// tests/unit/test_worker_openai_answer.c cuts all of them at every byte, always
test(`cut in two at ${FULL ? 'every byte' : 'some bytes'} they are the same`, async () => {
    const cuts = streams.flatMap((row) => {
        const bytes = bytesOf('provider', row);
        const every = row.file?.endsWith('-text.sse') ? 1 : 8;
        const at = FULL ? [...bytes.keys()].slice(1).filter((cut) => cut % every === 0)
            : Array.from({ length: 2 }, () => 1 + randomBytes(4).readUInt32LE() % (bytes.length - 1));
        return at.map((cut) => ({ row, cut, pieces: [bytes.subarray(0, cut), bytes.subarray(cut)] }));
    });
    await inParallel(cuts, 16, ({ row, cut, pieces }, i) =>
        play(row, pieces, `cut at ${cut}`, i % 2 ? older : provider));
});

test('HTTP/2, and connections that are used again', async () => {
    const { connections } = provider;
    for (let i = 0; i < 5; i++) await ask(`again ${i}`);
    assert.ok(provider.connections - connections <= 1, 'a question needs no handshake of its own');
    assert.ok(provider.questions.every((question) => question.version === '2.0'));
});

test('what is asked: model, prompts, key', async () => {
    const thread = await stack.thread();
    await ask('first', { thread });
    await ask('second', { thread, agent: 'strict' });
    const [question] = provider.asked('second');
    assert.equal(question.path, '/v1/chat/completions');
    assert.equal(question.headers.authorization, `Bearer ${KEY}`);
    assert.equal(question.headers['content-type'], 'application/json');
    assert.deepEqual(question.body, {
        model: 'strict-1', stream: true, stream_options: { include_usage: true }, temperature: 0.25, max_tokens: 100,
        messages: [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'first' },
                   { role: 'assistant', content: 'Hello' }, { role: 'user', content: 'second' }] });
    assert.equal(provider.asked('first')[0].body.model, 'stand-in');
});

test('a budget keeps what is newest, and the prompt always', async () => {
    const thread = await stack.thread();
    for (const prompt of ['one', 'two', 'three']) await ask(prompt, { thread });
    await ask('four', { thread, agent: 'short' });
    const long = `five ${'x'.repeat(400)}`;
    await ask(long, { thread, agent: 'cheap' });
    await ask('six', { thread, agent: 'cheap' });
    const texts = (prompt) => provider.asked(prompt)[0].body.messages.map(({ content }) => content);
    assert.deepEqual(texts('four'), ['three', 'Hello', 'four']);
    assert.deepEqual(texts(long), [long]);
    // the answer to what does not fit is not kept without it
    assert.deepEqual(texts('six'), ['six']);
});

test('a message sets what the operator allows, and nothing else', async () => {
    await ask('mild', { metadata: { openai: { temperature: 1, max_tokens: 5 } } });
    assert.deepEqual([provider.asked('mild')[0].body.temperature, provider.asked('mild')[0].body.max_tokens], [1, 5]);
    await ask('wild', { agent: 'open', metadata: { openai: { model: 'm2', system: 'Rhyme.', extra_body: { top_p: 0.5 } } } });
    const [{ body }] = provider.asked('wild');
    assert.deepEqual([body.model, body.messages[0].content, body.seed, body.top_p, body.stream_options],
                     ['m2', 'Rhyme.', 7, 0.5, undefined]);
    /** @type {[string, any, string, RegExp][]} */
    const refusals = [
        ['patient', { model: 'gpt-expensive' }, 'option_refused', /model/],
        ['patient', { system: 'x' }, 'option_refused', /system/],
        ['strict', { temperature: 1 }, 'option_refused', /temperature/],
        ['open', { base_url: 'http://127.0.0.1:1/' }, 'option_refused', /never/],
        ['open', { api_key_file: '/etc/hostname' }, 'option_refused', /never/],
        ['open', { extra_body: { messages: [] } }, 'option_refused', /extra_body/],
        ['open', { temperature: 'hot' }, 'option_invalid', /temperature/],
        ['open', { max_tokens: 0 }, 'option_invalid', /max_tokens/],
        ['open', 'x', 'option_invalid', /object/],
    ];
    await inParallel(refusals, 4, async ([agent, openai, code, words]) => {
        const prompt = `refused ${JSON.stringify([agent, openai])}`;
        const events = await ask(prompt, { agent, metadata: { openai } });
        assert.equal(events.at(-1).content.code, code, prompt);
        assert.match(events.at(-1).content.message, words);
        assert.equal(provider.asked(prompt).length, 0, 'nobody was asked');
    });
});

// What waits, waits together.
describe('in their own time', { concurrency: true }, () => {
    test('asked again while nothing was said: readers see one attempt', async () => {
        provider.answers.set('twice 503', (response, _, nth) => nth < 2
            ? provider.stream(response, ['{"error":{"message":"Loading model"}}'], { status: 503 })
            : provider.stream(response, [chunk({ content: 'At last' }), END]));
        const events = await ask('twice 503', { agent: 'again' });
        assert.equal(textOf(events), 'At last');
        assert.equal(events.filter(isBeginning).length, 1);
        assert.equal(provider.asked('twice 503').length, 3);
    });

    test('Retry-After is waited for, in seconds and as a date', async () => {
        const later = { 'seconds': () => '1', 'a date': () => new Date(Date.now() + 2000).toUTCString() };
        await Promise.all(Object.entries(later).map(async ([name, value]) => {
            const prompt = `429 with ${name}`;
            provider.answers.set(prompt, (response, _, nth) => nth === 0
                ? provider.stream(response, ['{}'], { status: 429, headers: { 'Retry-After': value() } })
                : provider.stream(response, [chunk({ content: 'ok' }), END]));
            assert.equal(textOf(await ask(prompt, { agent: 'again' })), 'ok');
            const [first, second] = provider.asked(prompt);
            assert.ok(second.at - first.at >= 990, `${name}: asked again after ${second.at - first.at} ms`);
        }));
    });

    test('silence, an endless stream and one that takes too long end, and the transfer with them', async () => {
        provider.answers.set('never begins', (response) => provider.stream(response, [], { end: 'never' }));
        provider.answers.set('stalls', (response) => provider.stream(response, [chunk({ content: 'Well' })], { end: 'never' }));
        const endless = async (response, question) => {
            response.writeHead(200, { 'Content-Type': 'text/event-stream' });
            while (!question.closed && !response.destroyed)
                await new Promise((resolve) => response.write(chunk({ content: 'on and on ' }), resolve));
        };
        for (const prompt of ['too large', 'too many', 'too long']) provider.answers.set(prompt, endless);
        const ends = { 'never begins': ['impatient', 'provider_timeout'], stalls: ['impatient', 'provider_timeout'],
                       'too large': ['small', 'provider_limit'], 'too many': ['few', 'provider_limit'],
                       'too long': ['hurried', 'provider_limit'] };
        await Promise.all(Object.entries(ends).map(async ([prompt, [agent, code]]) => {
            const events = await ask(prompt, { agent });
            assert.equal(events.at(-1).content.code, code, prompt);
            await until(() => provider.asked(prompt)[0].closed, { what: `${prompt}: the transfer has ended` });
            assert.equal(textOf(events).length > 0, prompt !== 'never begins', 'what was said is kept');
        }));
    });

    test('nobody there, and a certificate that nobody signed', async () => {
        const events = await ask('hello?', { agent: 'elsewhere' });
        assert.equal(events.at(-1).content.code, 'provider_unavailable');
        assert.equal(events.at(-1).content.retryable, true);
        const { code, retryable, message } = (await ask('is it you?', { agent: 'forged' })).at(-1).content;
        assert.deepEqual([code, retryable], ['provider_unavailable', false]);
        assert.match(message, /certificate/);
        assert.equal(forged.questions.length, 0, 'it has seen neither prompt nor key');
    });

    test('the end is there without [DONE] and without the end of the connection', async () => {
        provider.answers.set('lingers', (response) =>
            provider.stream(response, [chunk({ content: 'Bye' }), chunk({}, 'stop')], { end: 'never' }));
        const events = await ask('lingers');
        assert.equal(textOf(events), 'Bye');
        assert.equal(events.at(-1).content.finishReason, 'stop');
    });

    test('a cancel ends the transfer', async () => {
        provider.answers.set('cancel me', (response) =>
            provider.stream(response, [chunk({ content: 'Wait' })], { end: 'never' }));
        const run = await post('cancel me');
        await until(async () => textOf(await runs.events(run)) === 'Wait', { what: 'text is there' });
        const answer = await stack.request('POST', `/v1/runs/${run.run}/cancel`);
        assert.equal(answer.status, 202, answer.text);
        const events = await heard(run);
        assert.equal(events.at(-1).content.finishReason, 'cancelled');
        await until(() => provider.asked('cancel me')[0].closed, { what: 'the transfer has ended' });
    });

    test('an answer in one piece is said in steps', async () => {
        const content = 'All of this came at once, and yet it is read as it grows. '.repeat(8).trim();
        provider.answers.set('in one piece', (response) => provider.stream(response, [JSON.stringify({
            object: 'chat.completion', choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }],
            usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 } })], { headers: { 'Content-Type': 'application/json' } }));
        const events = await ask('in one piece', { agent: 'paced' });
        assert.equal(provider.asked('in one piece')[0].body.stream, false);
        assert.equal(textOf(events), content);
        assert.ok(events.filter(({ type }) => type === 'token').length >= 3, 'in steps');
        assert.deepEqual(said(events).map(([kind]) => kind), ['token', 'usage']);
        assert.equal(events.at(-1).content.usage.totalTokens, 3);
    });

    test('the key is in no event, whatever a provider says of it, and in no agent\'s environment', async () => {
        provider.answers.set('parrot', (response, question) => provider.stream(response, [JSON.stringify({
            error: { message: `Bad header: ${question.headers.authorization}` } })], { status: 400 }));
        provider.answers.set('parrot in a stream', (response, question) => provider.stream(response, [
            `data: {"error":"what is ${question.headers.authorization}?"}\n\n`]));
        for (const prompt of ['parrot', 'parrot in a stream']) {
            const events = await ask(prompt);
            assert.match(events.at(-1).content.message, /Bearer \*+/);
            assert.ok(!JSON.stringify(events).includes(KEY));
        }
        const environment = textOf(await ask('env', { agent: 'env' }));
        assert.match(environment, /PATH=/);
        assert.doesNotMatch(environment, /OPENAI|sk-/);
    });
});

test('what was said once, or handed back, is not asked again in silence: a new attempt says rewind', async () => {
    let cut = () => {};
    provider.answers.set('lost', (response, _, nth) => {
        if (nth > 0) return provider.stream(response, [chunk({ content: 'All of it' }), END]);
        cut = () => provider.cut(response);
        return provider.stream(response, [chunk({ content: 'Half of' })], { end: 'never' });
    });
    provider.answers.set('handed back', (response, _, nth) => nth === 0
        ? provider.stream(response, [chunk({ content: 'Half of' })], { end: 'never' })
        : provider.stream(response, [chunk({ content: 'The other worker\'s' }), END]));
    const going = await post('handed back');
    await until(async () => textOf(await runs.events(going)) === 'Half of', { what: 'text is there' });
    const worker = stack.workers[0];
    await worker.stop();
    await until(() => provider.asked('handed back')[0].closed, { what: 'the transfer has ended' });
    worker.options = { ...worker.options, 'max-attempts': 3, 'retry-ms': 10 };
    await worker.start();
    const lost = await post('lost', { agent: 'again' });
    await until(async () => textOf(await runs.events(lost)) === 'Half of', { what: 'it was said, and is not lost with the cut' });
    cut();
    const events = await heard(lost);
    assert.equal(textOf(events), 'All of it');
    assert.deepEqual(events.filter(isBeginning).map(({ content }) => content.status), ['started', 'rewind']);
    assert.equal(events.filter(isEnd).length, 1);
    const again = await heard(going);
    assert.equal(textOf(again), 'The other worker\'s');
    assert.deepEqual(again.filter(isBeginning).map(({ content }) => content.status), ['started', 'rewind']);
});

/** 10 kB a piece, of which 100 bytes are text. */
function flood(by, pieces) {
    const state = { pieces, written: 0, line: 'x'.repeat(100) };
    const piece = `:${'x'.repeat(10_000)}\n${chunk({ content: state.line })}`;
    by.answers.set('flood', async (response) => {
        response.writeHead(200, { 'Content-Type': 'text/event-stream' });
        for (; state.written < state.pieces; state.written++)
            await new Promise((resolve) => response.write(piece, resolve));
        response.end(END);
    });
    return state;
}

test('when Redis stands still, the provider waits, and then nothing is lost', async () => {
    const water = flood(older, 4000), { connections } = provider; // more than sockets hold
    const high = flood(provider, 1000); // its window is curl's: what it holds is not looked at
    /** @type {any} */
    let beside;
    provider.answers.set('beside it', (response) => {
        response.writeHead(200, { 'Content-Type': 'text/event-stream' });
        response.write(chunk({ content: 'one ' }));
        beside = response;
    });
    const calm = await post('beside it'); // on the same connection as the other flood
    await until(async () => textOf(await runs.events(calm)) === 'one ', { what: 'the calm one has begun' });
    const [thread, another] = [await stack.thread(), await stack.thread()];
    stack.redis.child.kill('SIGSTOP');
    let low, up, before = 0;
    try {
        low = await post('flood', { agent: 'older', thread });
        up = await post('flood', { thread: another });
        await until(() => water.written > 0 && high.written > 0, { what: 'the floods have begun' });
        // half a second in which nothing was taken
        await until(() => before === water.written || ((before = water.written), false), { every: 500, what: 'the provider waits' });
        beside.write(chunk({ content: 'two' }));
        beside.end(END);
    } finally {
        stack.redis.child.kill('SIGCONT');
    }
    assert.ok(before < water.pieces, `${before} of ${water.pieces} pieces were taken while Redis stood still`);
    assert.equal(textOf(await heard(calm)), 'one two');
    assert.equal(textOf(await heard(low)), water.line.repeat(water.pieces));
    assert.equal(textOf(await heard(up)), high.line.repeat(high.pieces));
    assert.ok(provider.connections - connections <= 1);
});
