// A second look at what was late. Six files of tests on two cores, and a machine that belongs to
// others, too, can make a good program miss a deadline; nothing makes it lose a token. So a test
// whose failure speaks of milliseconds, or of a POST that was told to try again, is run again by
// itself, once; every other failure stays what it is.
//
//     node tests/e2e/lib/late.mjs <a TAP file of node --test>
//
// Exit 0 when each of them has passed alone, 1 when one has not or may not be repeated. What
// the second run said is in `<the file>-alone.log`.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** so many tests are late by chance; more are a slow program */
const MOST = 3;

/** the first line of what it says */
const LATE = /\d ms\b|performance\.now\(\)|^POST .*: 50[234]\b/;
/** what they find by chance may not come again */
const NEVER = /\/(chaos|deploys|preload-memory)\.test\.mjs$/;
/** of a sanitizer, a signal, a secret: printed where it is seen, for an error behind an error is not (lib/process.mjs) */
const COMPLAINT = /^# complaint: /m;

/**
 * One test that failed, with the tests inside it that did.
 * @typedef {object} Failure
 * @property {string} name
 * @property {string} file
 * @property {string[]} names its own and those inside it
 * @property {string[]} errors what the innermost said
 * @property {boolean} late nothing but lateness
 */

/** `a \# b` as it was written. @param {string} name */
const plain = (name) => name.replace(/\\([\\#])/g, '$1');

/** The value of `error:` in a test's YAML. @param {string[]} yaml without indentation */
function errorOf(yaml) {
    const at = yaml.findIndex((line) => line.startsWith('error: '));
    if (at < 0) return '';
    if (!/^error: \|-?$/.test(yaml[at])) return yaml[at].slice('error: '.length).replace(/^'(.*)'$/, '$1');
    const end = yaml.findIndex((line, i) => i > at && /^\S/.test(line));
    return yaml.slice(at + 1, end < 0 ? undefined : end).map((line) => line.slice(2)).join('\n');
}

/**
 * The tests that failed, those at the top.
 * @param {string} tap
 * @returns {Failure[]}
 */
function failures(tap) {
    const lines = tap.split('\n');
    const found = [];
    /** of the test at the top that is being read */
    let inside = [];
    for (let i = 0; i < lines.length; i++) {
        const head = /^( *)(not ok|ok) \d+ - (.*)$/.exec(lines[i]);
        if (!head) continue;
        const [, indent, verdict, name] = head;
        if (verdict === 'not ok') {
            const yaml = [];
            for (let j = i + 2; lines[i + 1] === `${indent}  ---` && j < lines.length && lines[j] !== `${indent}  ...`; j++) {
                yaml.push(lines[j].slice(indent.length + 2));
            }
            const field = (/** @type {string} */ key) => yaml.find((line) => line.startsWith(`${key}: `))?.slice(key.length + 3, -1);
            inside.push({ name: plain(name), error: errorOf(yaml), kind: field('failureType'), place: field('location') });
        }
        if (indent) continue;
        if (verdict === 'not ok') found.push(failureOf(inside));
        inside = [];
    }
    return found;
}

/** @param {{ name: string, error: string, kind?: string, place?: string }[]} inside the last is at the top */
function failureOf(inside) {
    const top = inside[inside.length - 1];
    const innermost = inside.filter(({ kind }) => kind !== 'subtestsFailed');
    const place = top.place?.replace(/:\d+:\d+$/, '') ?? '';
    const file = place.startsWith('file:') ? fileURLToPath(place) : place; // node 18 says it so
    return {
        name: top.name,
        file,
        names: inside.map(({ name }) => name),
        errors: innermost.map(({ error }) => error),
        late: top.place !== undefined && innermost.length > 0 &&
            innermost.every(({ kind, error }) => kind === 'testCodeFailure' && LATE.test(error.split('\n')[0])) && !NEVER.test(file),
    };
}

/** Whether each name has a verdict, and a good one. @param {string} tap @param {string[]} names */
function passed(tap, names) {
    const good = tap.split('\n').map((line) => /^ *ok \d+ - (.*)$/.exec(line)?.[1])
        .filter((line) => line !== undefined && !/ # SKIP\b/.test(line)).map((line) => plain(String(line)));
    return names.every((name) => good.includes(name));
}

/** Whether the run came to its end, with a verdict on each. @param {string} tap */
function whole(tap) {
    const verdicts = tap.match(/^(not )?ok \d+ - /gm)?.length ?? 0;
    return Number(/^1\.\.(\d+)$/m.exec(tap)?.[1]) === verdicts && /^# pass \d+$/m.test(tap) && /^# fail \d+$/m.test(tap);
}

/** Runs one test by itself. @param {Failure} failure @param {string} log */
function alone(failure, log) {
    const name = failure.name.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
    const child = spawnSync(process.execPath, ['--test', '--test-reporter=tap', `--test-name-pattern=^${name}$`, failure.file],
                            { encoding: 'utf8', maxBuffer: 1 << 28, timeout: 240_000, killSignal: 'SIGKILL' });
    fs.appendFileSync(log, `${child.stdout}${child.stderr}`);
    return child.status === 0 && passed(child.stdout, failure.names) && !COMPLAINT.test(child.stdout);
}

/** @param {string} file */
function main(file) {
    const tap = fs.readFileSync(file, 'utf8');
    const found = failures(tap);
    if (found.length === 0 || found.length > MOST || !found.every(({ late }) => late) || !whole(tap) || COMPLAINT.test(tap)) return 1;
    const log = `${file.replace(/\.log$/, '')}-alone.log`;
    fs.rmSync(log, { force: true });
    let status = 0;
    for (const failure of found) {
        const good = alone(failure, log);
        if (!good) status = 1;
        console.log(`   ${good ? 'late beside others, in time alone' : 'failed alone, too'}: ${failure.name}\n` +
                    `      ${path.relative(process.cwd(), failure.file)}: ${failure.errors.join('; ').split('\n')[0]}`);
    }
    return status;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exit(main(process.argv[2]));
