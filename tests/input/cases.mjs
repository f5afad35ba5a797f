// Bad input, as data: every area has a directory with a table, `cases.json`, and files.
//
//     tests/input/<area>/cases.json    one row a case: its bytes, and the expected answer
//     tests/input/<area>/<file>        the bytes, raw
//
// A row says where its bytes are: `file` (in the area's directory), `corpus` (a file below
// tests/fuzz/corpus), or `make`, for what would be huge or needs a key: a list of texts,
// `{"of": "x", "times": 9}`, `{"hex": "00ff"}` and `{"bytes": [from, to]}`.
// What else stands in a row is the business of the area's test.

import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const CORPUS = path.resolve(HERE, '../fuzz/corpus');

/** @typedef {string | { of: string, times: number } | { hex: string } | { bytes: [number, number] }} Part */
/** @typedef {{ name: string, file?: string, corpus?: string, make?: Part[] } & Record<string, any>} Case */

/** @param {string} area @returns {Case[]} */
export function casesOf(area) {
    const table = JSON.parse(fs.readFileSync(path.join(HERE, area, 'cases.json'), 'utf8'));
    const cases = Object.entries(table).map(([name, row]) => ({ name, .../** @type {object} */ (row) }));
    for (const name of fs.readdirSync(path.join(HERE, area))) {
        if (name !== 'cases.json' && !cases.some((row) => /** @type {any} */ (row).file === name))
            throw new Error(`tests/input/${area}/${name} is in no row of cases.json`);
    }
    return cases;
}

/** @param {Part} part */
function partBytes(part) {
    if (typeof part === 'string') return Buffer.from(part);
    if ('hex' in part) return Buffer.from(part.hex, 'hex');
    if ('bytes' in part) {
        const [from, to] = part.bytes;
        return Buffer.from(Array.from({ length: to - from + 1 }, (_, i) => from + i));
    }
    return Buffer.from(part.of.repeat(part.times));
}

/** @param {Part[]} parts */
export const made = (parts) => Buffer.concat(parts.map(partBytes));

/** @param {string} area @param {Case} row @returns {Buffer} */
export function bytesOf(area, row) {
    if (row.file !== undefined) return fs.readFileSync(path.join(HERE, area, row.file));
    if (row.corpus !== undefined) return fs.readFileSync(path.join(CORPUS, row.corpus));
    if (row.make !== undefined) return made(row.make);
    throw new Error(`${area}/${row.name} has no bytes`);
}

/** Where a file lies, for a program that reads it itself. @param {string} area @param {string} file */
export const pathOf = (area, file) => path.join(HERE, area, file);

/**
 * Numbers that a seed gives: the same ones in each run with it (mulberry32).
 * @param {number} seed
 */
export function random(seed) {
    let state = seed >>> 0;
    return () => {
        state = (state + 0x6d2b79f5) >>> 0;
        let t = Math.imul(state ^ (state >>> 15), state | 1);
        t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
        return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
}

/**
 * How bytes are cut into writes: short ones at every byte and into single bytes, others
 * at a few places that `draw` chooses.
 * @param {Buffer} bytes
 * @param {{ short: number, cuts: number, draw: () => number }} how
 * @returns {Buffer[][]}
 */
export function splits(bytes, { short, cuts, draw }) {
    const at = bytes.length <= short ? Array.from({ length: Math.max(0, bytes.length - 1) }, (_, i) => i + 1)
        : Array.from({ length: cuts }, () => 1 + Math.floor(draw() * (bytes.length - 1)));
    const parts = at.map((i) => [bytes.subarray(0, i), bytes.subarray(i)]);
    if (bytes.length > 1 && bytes.length <= 4 * short)
        parts.push(Array.from(bytes, (_, i) => bytes.subarray(i, i + 1)));
    return parts;
}
