// The parts without sockets: what waits and is numbered.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { cancels } from '../src/control.js';
import { Ended, Fenced, Refused, WorkerLost } from '../src/errors.js';
import { clean, pieces, toJson } from '../src/event.js';
import { passes, Place } from '../src/script.js';
import { Story } from '../src/story.js';

const HERE = new URL('..', import.meta.url);

/** @param {{ attempt?: number, flushMs?: number, begun?: boolean, limits?: object }} [options] */
function story({ attempt = 1, flushMs = 25, begun = true, limits } = {}) {
    const made = new Story(new Place('t1', '', limits), {
        runId: 'r1', messageId: 'm1', agentId: 'a1', attempt, worker: 'w1', flushMs });
    if (begun) ok(made, made.take(0));
    return made;
}

/** @param {Story} s @param {any} call */
function ok(s, call) {
    call.tries++;
    const last = call.number + call.events.length - 1;
    s.answered(['OK', `7-${call.number}`, `7-${last}`, String(last + 1)]);
}

/** @param {any} call */
const contents = (call) => call && call.events.map((/** @type {string} */ text) => {
    const { content } = JSON.parse(text);
    return typeof content === 'string' ? content
        : content.text ?? content.status ?? content.kind ?? content.finishReason;
});

test('the first token leaves at once, others wait and merge, nothing is overtaken', () => {
    const s = story();
    s.addText('token', 'a');
    const call = s.take(0.1);
    assert.deepEqual([call?.mode, call?.number, contents(call)], ['publish', 2, ['a']]);
    s.addText('token', 'b');
    assert.equal(s.take(1), call, 'nothing else before its answer');
    ok(s, call);
    s.addText('token', 'c');
    assert.equal(s.take(2), null);
    assert.ok(Math.abs(s.waitMs(2) - 23.1) < 0.01);
    s.add('delta', { kind: 'step' });
    s.addText('reasoning', 'd');
    s.addText('reasoning', 'e');
    s.addText('token', 'f');
    assert.deepEqual(contents(s.take(2)), ['bc', 'step', 'de', 'f']);
});

test('the interval doubles every thousand events, up to 200 ms; a call is limited', () => {
    const s = story();
    const seen = new Set();
    for (let i = 0; i < 5000; i++) {
        s.add('delta', { kind: 'x' });
        ok(s, s.take(i));
        seen.add(s.intervalMs);
    }
    assert.deepEqual([...seen], [25, 50, 100, 200]);
    for (let i = 0; i < 300; i++) s.add('delta', { kind: String(i) });
    const sizes = [];
    while (!s.idle) {
        const call = s.take(1);
        sizes.push(call?.events.length);
        ok(s, call);
    }
    assert.deepEqual(sizes, [128, 128, 44]);
});

test('LOST: the same story, folded; a lost end is told again with it', () => {
    const s = story();
    s.addText('reasoning', 'why');
    s.add('delta', { kind: 'tool_call' });
    s.add('delta', { kind: 'progress' });
    s.add('status', { status: 'working' });
    s.addText('token', 'Hel');
    ok(s, s.take(0));
    s.addText('token', 'lo');
    s.done('stop');
    const call = s.take(1);
    assert.equal(call?.mode, 'end');
    s.answered(['LOST']);
    const again = s.take(1);
    assert.deepEqual([again?.mode, again?.number, contents(again)], [
        'beginend', call?.number, ['rewind', 'why', 'tool_call', 'working', 'Hello', 'stop']]);
    assert.equal(again?.terminal, call?.terminal, 'its end, byte for byte');
    for (let i = 0; i < 10; i++) s.answered(['GAP', '3']);
    assert.ok(s.failure instanceof Refused);
});

test('whose end it was', () => {
    const end = (/** @type {(s: Story, call: any) => string | undefined} */ found, tries = 2) => {
        const s = story();
        s.done('stop');
        const call = /** @type {any} */ (s.take(0));
        call.tries = tries;
        s.answered(['ENDED', '7-9'], found(s, call));
        return s.over || s.failure?.constructor;
    };
    assert.equal(end((_, call) => `{"id":"7-9",${call.terminal.slice(1)}`), true);
    assert.equal(end(() => undefined), true, 'no longer in the log');
    assert.equal(end((_, call) => `{"id":"7-9",${call.terminal.slice(1)}`, 1), Ended);
    assert.equal(end(() => '{"type":"done"}'), Ended);
    assert.equal(end(() => '{"type":"error","content":{"code":"worker_lost"}}'), WorkerLost);
    const s = story();
    s.add('delta', { kind: 'x' });
    s.take(0);
    s.answered(['FENCED', '3']);
    assert.ok(s.failure instanceof Fenced);
    assert.throws(() => s.addText('token', 'x'), Fenced);
});

test('text is cut between characters, halves meet, what JSON cannot say is refused', () => {
    const text = `a${'🇦🇹ß\u0001'.repeat(20_000)}`;
    const parts = pieces(text);
    assert.equal(parts.join(''), text);
    assert.ok(parts.every((part) => Buffer.byteLength(part) <= 32_768));
    const s = story();
    for (const unit of '🇦🇹'.split('')) s.addText('token', unit);
    assert.deepEqual(contents(s.take(1)), ['🇦🇹']);
    const t = story();
    t.addText('token', '\ud83c');
    t.add('delta', { kind: 'x' });
    assert.deepEqual(contents(t.take(1)), ['\ufffd', 'x']);
    assert.equal(clean('a\0\udc00b🇦'), 'a\ufffd\ufffdb🇦');
    assert.equal(toJson({ a: new Date(0), b: undefined, ['\ud800']: '\ud800' }),
                 '{"a":"1970-01-01T00:00:00.000Z","�":"�"}');
    /** @type {any} */
    const loop = {};
    loop.loop = loop;
    for (const bad of [NaN, { a: Infinity }, { a: 1n }, { a: () => 1 }, undefined, loop]) assert.throws(() => toJson(bad));
});

test('which errors pass, which hints cancel', () => {
    const reply = (/** @type {string} */ message) => Object.assign(new Error(message), { name: 'ReplyError' });
    for (const text of ['LOADING Redis is', 'READONLY You', 'OOM command', 'MISCONF x', 'ERR max number of clients reached']) {
        assert.ok(passes(reply(text)), text);
    }
    for (const text of ['NOPERM x', 'WRONGPASS x', 'NOAUTH x', 'ERR unknown', 'THREADCAST version']) {
        assert.ok(!passes(reply(text)), text);
    }
    assert.ok(passes(new Error('Connection is closed.')));
    assert.equal(cancels('{"runId":"r1","type":"cancel","more":[1]}'), 'r1');
    for (const other of ['', 'x', 'null', '[]', '{"type":"cancel"}', '{"type":"pause","runId":"r1"}',
                         '{"type":"cancel","runId":7}', `{"type":"cancel","runId":"${'x'.repeat(1024)}"}`]) {
        assert.equal(cancels(other), undefined, other.slice(0, 40));
    }
});

test('what npm would publish', () => {
    const cwd = fileURLToPath(HERE);
    const [packed] = JSON.parse(execFileSync('npm', ['pack', '--dry-run', '--json', '--offline'], {
        cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
    assert.deepEqual(packed.files.map((/** @type {any} */ f) => f.path).sort(), [
        'LICENSE', 'README.md', 'index.d.ts', 'package.json', 'publish.lua',
        ...fs.readdirSync(new URL('src', HERE)).map((name) => `src/${name}`)].sort());
    const common = new URL('../../common/publish.lua', HERE);
    assert.deepEqual(fs.readFileSync(new URL('publish.lua', HERE)), fs.readFileSync(common));
});
