// What gets a second look (lib/late.mjs) and what does not: real runs of node --test.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { run } from './lib/process.mjs';

const LOOK = fileURLToPath(new URL('lib/late.mjs', import.meta.url));

/** @type {string} */
let dir;
before(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'threadcast-late-'));
});
after(() => fs.rmSync(dir, { recursive: true, force: true }));

let onces = 0;
/** fails at first, and is in time the second time: a file says which time it is */
const ONCE = (/** @type {string} */ error) => `
    const mark = new URL(import.meta.url + '.${onces++}');
    if (!fs.existsSync(mark)) {
        fs.writeFileSync(mark, '');
        throw new Error(${JSON.stringify(error)});
    }`;

/**
 * Runs a file of tests as `./scripts/test` does, then the second look.
 * @param {Record<string, string>} bodies of the tests, by their names
 */
async function look(bodies, more = '', name = `${onces++}`) {
    const file = path.join(dir, `${name}.test.mjs`);
    fs.writeFileSync(file, `import fs from 'node:fs';\nimport { after, test } from 'node:test';\n${more}\n` +
        Object.entries(bodies).map(([name, body]) => `test(${JSON.stringify(name)}, async (t) => {${body}});\n`).join(''));
    const log = `${file}.log`;
    // (a run of node:test inside another does not report as one at the top does)
    const first = await run(process.execPath, ['--test', '--test-reporter=tap', '--test-concurrency=2', file]);
    fs.writeFileSync(log, first.stdout);
    const second = await run(process.execPath, [LOOK, log], { cwd: dir });
    assert.equal(second.stderr, '');
    return { first: first.code, code: second.code, out: second.stdout, file, log };
}

test('late beside others, in time alone: said, and not a failure', async () => {
    for (const error of ['taken over after 2201 ms', 'not within 20000 ms: it streams', '512,3072 ms', 'POST …/messages: 503 busy']) {
        const { first, code, out } = await look({ 'a "name" (of [one]) # \\ |': ONCE(error), other: '' });
        assert.deepEqual([first, code], [1, 0], out);
        assert.match(out, /late beside others, in time alone: a "name" \(of \[one]\) # \\ \|\n/);
        assert.ok(out.includes(error), out);
    }
});

test('late alone, too: a failure', async () => {
    const { code, out } = await look({ slow: `throw new Error('not within 20000 ms: it streams')` });
    assert.equal(code, 1);
    assert.match(out, /failed alone, too: slow\n/);
});

test('a test in a test', async () => {
    const once = await look({ parent: `await t.test('child', () => {${ONCE('after 12 ms')}});` });
    assert.deepEqual([once.first, once.code], [1, 0], once.out);
    const wrong = await look({ parent: `await t.test('late', () => {${ONCE('after 12 ms')}}); await t.test('wrong', () => {${ONCE('lost')}});` });
    assert.deepEqual([wrong.first, wrong.code, wrong.out], [1, 1, '']);
});

test('what was wrong gets no second look', async () => {
    for (const bodies of [
        { wrong: ONCE('an event is lost') },
        { wrong: ONCE('an event is lost'), late: ONCE('not within 20000 ms: x') },
        { wrong: ONCE('an event is lost\nfaults around it: 1200 to 1350 ms') },
        { dropped: `t.after(() => console.error('complaint: bridge ended with SIGSEGV')); ${ONCE('not within 9 ms: x')}` },
        { ends: `${ONCE('not within 20000 ms: x')}`, dies: 'process.kill(process.pid, "SIGSEGV");' },
        Object.fromEntries([1, 2, 3, 4].map((n) => [`late ${n}`, `throw new Error('not within 20000 ms: x');`])),
    ]) {
        const { first, code, out } = await look(bodies);
        assert.deepEqual([first, code, out], [1, 1, ''], JSON.stringify(bodies));
    }
    const { first, code, out } = await look({ fine: '' }, `after(() => {${ONCE('bridge had ended by itself: not within 20 ms')}});`);
    assert.deepEqual([first, code, out], [1, 1, ''], 'what is seen when a file ends');
});

test('what a file of chance found is not looked for again', async () => {
    const { first, code, out } = await look({ random: ONCE('not within 9 ms: x') }, '', 'chaos');
    assert.deepEqual([first, code, out], [1, 1, '']);
});

test('a run that came to no end is a failure', async () => {
    const { log } = await look({ late: ONCE('after 12 ms'), other: '' });
    const tap = fs.readFileSync(log, 'utf8');
    for (const cut of ['TAP version 13\n', tap.slice(0, tap.indexOf('# Subtest: other')), tap.slice(0, tap.indexOf('\n# pass')),
                       tap.replace(/^ok \d+ - other/m, '# gone')]) {
        assert.notEqual(cut, tap);
        fs.writeFileSync(log, cut);
        const { code, stdout } = await run(process.execPath, [LOOK, log]);
        assert.deepEqual([code, stdout], [1, '']);
    }
});

test('a test that cannot be run again is a failure', async () => {
    const { log, file } = await look({ late: `throw new Error('after 12 ms');` });
    fs.writeFileSync(file, '');
    const { code, stdout } = await run(process.execPath, [LOOK, log]);
    assert.equal(code, 1);
    assert.match(stdout, /failed alone, too: late\n/);
});
