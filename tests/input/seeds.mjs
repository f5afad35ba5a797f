// Bad input as the beginning of fuzzing: node seeds.mjs <target> <directory> writes the rows of
// the areas that this fuzzer reads, one file a row, each behind the bytes by which the
// fuzzer's input says how it is to be cut. What is larger than any limit is left out.

import fs from 'node:fs';
import path from 'node:path';
import { bytesOf, casesOf } from './cases.mjs';

const MAX_BYTES = 300_000;

/** @type {Record<string, [string, number[]][]>} areas, and what stands in front (tests/fuzz/fuzz_<target>.c says it) */
const AREAS = {
    event: [['event', []]],
    exec_line: [['agent', [0, 0]], ['agent', [3, 7]]],
    http: [['http', []]],
    redis: [['redis', [64]], ['redis', [3]]],
    request: [['http', [0]], ['http', [3]]],
};

/** A row that would be huge is not even made. @param {import('./cases.mjs').Case} row */
const sizeOf = ({ make = [] }) => make.reduce((sum, part) => sum + (typeof part === 'object' && 'of' in part ? part.of.length * part.times : 0), 0);

const [target = '', dir = ''] = process.argv.slice(2);
fs.mkdirSync(dir, { recursive: true });
for (const [area, front] of AREAS[target] ?? []) {
    for (const row of casesOf(area)) {
        if (row.corpus !== undefined || (row.file ?? row.make) === undefined || sizeOf(row) > MAX_BYTES) continue;
        fs.writeFileSync(path.join(dir, `${front.join('-')}-${row.name}`), Buffer.concat([Buffer.from(front), bytesOf(area, row)]));
    }
}
