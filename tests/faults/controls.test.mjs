// For each protection: the test that proves it, run on a daemon without it, has to fail.
// A test that passes both ways proves nothing, nor does one that fails both ways or for another
// reason: so it has to pass first, under the same settings, and then to fail by its own words.
// THREADCAST_FULL=1 runs them all, otherwise a few; THREADCAST_CONTROLS=<words> those whose name
// has one of them.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { BIN, ROOT } from '../e2e/harness.mjs';
import { BRIDGE } from './controls-bridge.mjs';
import { UNITS, WORKER } from './controls-worker.mjs';
import { mutant } from './mutant.mjs';

/** @typedef {import('./mutant.mjs').Control} Control */

const CONTROLS = [...BRIDGE, ...WORKER, ...UNITS];

const REPORTER = path.join(ROOT, 'tests/faults/outcomes.mjs');
/** what one test may take; the tests' own deadlines are shorter */
const RUN_MS = 120_000;

const wanted = process.env.THREADCAST_CONTROLS?.split(',');
const chosen = CONTROLS.filter(({ name, always }) =>
    wanted ? wanted.some((word) => name.includes(word)) : always || process.env.THREADCAST_FULL);

/** @typedef {{ name: string, passed: boolean, kind?: string, message: string }} Ran */

/**
 * Runs a program to its end; null: it was not to be waited for.
 * @param {string} command @param {string[]} args @param {Record<string, string | undefined>} env
 */
function ended(command, args, env) {
    // (a shell, so that both outputs are one, in their order)
    const { status, stdout } = spawnSync('/bin/sh', ['-c', 'exec "$0" "$@" 2>&1', command, ...args],
                                         { encoding: 'utf8', timeout: RUN_MS, env, maxBuffer: 1 << 28 });
    return { status, output: `${status === null ? `not within ${RUN_MS} ms\n` : ''}${stdout}` };
}

/** A unit test: what cmocka prints between the name and the verdict. @param {Control} control @param {string} bin */
function outcomeOfUnit({ unit = '', test: name }, bin) {
    const done = ended(path.join(bin === BIN ? path.join(BIN, '../tests') : bin, unit), [], process.env);
    /** @type {Ran[]} */
    const ran = done.output.split('[ RUN      ] ').slice(1).map((text) => {
        const failed = /^\[  FAILED  \]/m.test(text);
        return { name: text.split('\n')[0], passed: !failed && /^\[       OK \]/m.test(text), message: text,
                 kind: failed ? 'testCodeFailure' : 'neither' };
    });
    return { ...done, ran: ran.filter((one) => one.name === name) };
}

/**
 * Runs the test of a control in a process of its own. What it asks of the daemons is the same
 * with and without the protection.
 * @param {Control} control @param {string} bin
 */
function outcome(control, bin) {
    if (control.unit) return outcomeOfUnit(control, bin);
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    const done = ended(process.execPath, ['--test', `--test-reporter=${REPORTER}`, '--test-reporter-destination=stdout',
                                          '--test-name-pattern', control.test, path.join(ROOT, 'tests', control.file ?? '')],
                       { ...env, ...control.daily && { THREADCAST_FULL: undefined }, THREADCAST_BIN: bin, THREADCAST_PATIENCE_MS: '8000' });
    /** @type {Ran[]} */
    const ran = done.output.split('\n').filter((line) => line.startsWith('{"name":')).map((line) => JSON.parse(line));
    return { ...done, ran };
}

/** @param {Control} control */
const placeOf = ({ unit, file, test: name }) => `${unit ? `unit/${unit}` : file} "${name}"`;

/** @type {Map<string, string>} what is wrong with a test on the programs as they are, '' if it passes */
const baselines = new Map();

/** The test passes with the protection, under the settings of the control. @param {Control} control */
function passesUnchanged(control) {
    const key = placeOf(control);
    if (!baselines.has(key)) {
        const { status, ran, output } = outcome(control, BIN);
        baselines.set(key, ran.length === 0 ? `nothing is called ${key}` : status === 0 ? ''
            : `${key} fails on the unchanged programs\n${output.slice(-3000)}`);
    }
    assert.equal(baselines.get(key), '');
}

for (const control of chosen) {
    test(`without: ${control.name}`, { timeout: 3 * RUN_MS }, (t) => {
        passesUnchanged(control);
        const { dir, remove } = mutant(control);
        t.after(remove);
        let { status, ran, output } = outcome(control, dir);
        for (let tries = control.tries ?? 1; tries > 1 && status === 0; tries--) ({ status, ran, output } = outcome(control, dir));
        const key = placeOf(control);
        assert.notEqual(status, 0, `${key} passes without it`);
        assert.notEqual(status, null, `${key} does not come to an end without it\n${output.slice(-3000)}`);
        const failed = ran.filter(({ passed, kind }) => !passed && kind === 'testCodeFailure').map(({ message }) => message);
        const seen = failed.find((message) => control.fails.test(message));
        assert.ok(seen, `${key} does not fail by ${control.fails}, but by\n${failed.join('\n----\n') || output.slice(-3000)}`);
        t.diagnostic(`seen as: ${control.fails.exec(seen)?.[0].replace(/\s+/g, ' ').slice(0, 120)}`);
    });
}
