// A daemon without one of its protections: the source with one place changed, compiled and
// linked like the original, or the program with one piece of embedded text replaced. For
// tests that must fail with it: they show that they can see the fault.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { BIN, ROOT } from '../e2e/harness.mjs';

/**
 * @typedef {object} Mutation
 * @property {'bridge' | 'worker'} [daemon]
 * @property {string} [unit] instead of a daemon: a program of tests/unit that has the source in it
 * @property {string} [source] the file that is changed; none: what the program embeds (Lua, SQL)
 * @property {string} from must be there exactly once
 * @property {string} to in a program: at most as long as `from`
 * @property {{ source?: string, from: string, to: string }[]} [also] other files, or what is embedded: what stands in for it
 */

/**
 * @typedef {Mutation & { name: string, file?: string, test: string, fails: RegExp, always?: boolean, daily?: boolean, tries?: number }} Control
 *   file, test: below tests/, and a pattern of the test's name (of a unit test: its name);
 *   fails: what that test has to say when it sees it, for a crash or a wrong port is no proof
 *   daily: the test's short version, its long one is too long
 *   tries: of how many runs one has to see it, where chance takes part (1)
 */

/** @param {string} text @param {Mutation} mutation */
function changed(text, { source, daemon, from, to }) {
    const parts = text.split(from);
    if (parts.length !== 2) throw new Error(`${source ?? daemon} has ${parts.length - 1} times: ${from}`);
    return parts.join(to);
}

/** @param {string[]} words as cmake quotes them */
const shell = (words, cwd) => execFileSync('/bin/sh', ['-c', words.join(' ')], { cwd, stdio: ['ignore', 'pipe', 'pipe'] });

/** @param {Mutation} mutation */
const placesOf = (mutation) => [mutation, ...mutation.also ?? []];

/** Answers the object file. @param {{ source?: string, from: string, to: string }} place @param {string} build @param {string} dir */
function compile(place, build, dir) {
    const source = path.join(ROOT, place.source ?? '');
    const units = JSON.parse(fs.readFileSync(path.join(build, 'compile_commands.json'), 'utf8'));
    const unit = units.find(({ file }) => file === source);
    if (!unit) throw new Error(`${build} does not compile ${place.source}`);
    const copy = path.join(dir, path.basename(source));
    const object = `${copy}.o`;
    fs.writeFileSync(copy, changed(fs.readFileSync(source, 'utf8'), place));
    shell([unit.command.replace(/-o \S+\.o/, `-o ${object}`).replace(unit.file, copy).replace('ccache ', ''),
           '-Wno-error'], unit.directory);
    return object;
}

/** @param {Mutation} mutation @param {string} dir @param {string} out */
function link(mutation, dir, out) {
    const build = path.dirname(BIN);
    const objects = placesOf(mutation).filter(({ source }) => source).map((place) => compile(place, build, dir));
    const target = mutation.unit ? `tests/${mutation.unit}` : `bin/threadcast-${mutation.daemon}`;
    const command = execFileSync('ninja', ['-C', build, '-t', 'commands', target], { encoding: 'utf8' })
        .trim().split('\n').filter((line) => !line.startsWith('ninja:')).at(-1) ?? '';
    // its symbols come first, so the library's own file is not looked at
    shell([command.replace(`-o ${target}`, `-o ${out} ${objects.join(' ')}`)], build);
}

/** @param {{ from: string, to: string }} place @param {string} program @param {string} out */
function patch(place, program, out) {
    const { from, to } = place;
    if (to.length > from.length) throw new Error(`longer than what it replaces: ${to}`);
    const text = fs.readFileSync(program).toString('latin1');
    fs.writeFileSync(out, changed(text, { source: program, from, to: to.padEnd(from.length) }), 'latin1');
    fs.chmodSync(out, 0o755);
}

/**
 * A directory of programs in which one daemon is changed: a THREADCAST_BIN; or of one unit test.
 * @param {Mutation} mutation
 */
export function mutant(mutation) {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'threadcast-mutant-'));
    fs.chmodSync(dir, 0o755);
    for (const name of fs.readdirSync(BIN)) {
        if (name !== `threadcast-${mutation.daemon}`) fs.symlinkSync(path.join(BIN, name), path.join(dir, name));
    }
    const out = path.join(dir, mutation.unit ?? `threadcast-${mutation.daemon}`);
    const from = path.join(BIN, `threadcast-${mutation.daemon}`);
    const embedded = placesOf(mutation).filter(({ source }) => !source);
    const linked = embedded.length < placesOf(mutation).length;
    if (linked) link(mutation, dir, out);
    embedded.forEach((place, i) => patch(place, linked || i ? out : from, out));
    return { dir, remove: () => fs.rmSync(dir, { recursive: true, force: true }) };
}
