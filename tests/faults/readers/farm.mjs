// Drives faults-readers: its commands and lines are described at the top of commands.c.
//
//     const farm = Farm.start({ seed: 7 });
//     farm.say('ports 8080').say('open-many 0 1000 t1 -').say('run t1 6f1c… 200');
//     await farm.settled();                 // every reader has seen every end
//     const rows = await farm.report();
//     assert.equal(await farm.quit(), 0);   // 1: there was a violation

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { PATIENCE_MS, until } from '../../e2e/lib/until.mjs';

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');

/** Where a program of this directory is. @param {string} name */
export function program(name) {
    const dirs = [process.env.THREADCAST_BIN, 'build/asan/bin', 'build/dev/bin', 'build/release/bin'];
    const found = dirs.filter((dir) => dir !== undefined)
        .map((dir) => path.resolve(ROOT, /** @type {string} */ (dir), name))
        .find((file) => fs.existsSync(file));
    if (!found) throw new Error(`${name} is not built: cmake --build --preset asan`);
    return found;
}

/**
 * @typedef {object} Row what one reader saw of one run
 * @property {number} reader
 * @property {string} thread
 * @property {string} run
 * @property {boolean} joined
 * @property {number} attempt
 * @property {number} bytes
 * @property {string | null} sha256
 * @property {'done' | 'error' | 'cancelled' | null} outcome
 * @property {string | null} code
 * @property {string | null} end
 * @property {number} resets
 * @property {boolean} excused
 */

/** @type {Set<Farm>} */
const running = new Set();

export class Farm {
    #process;
    #rest = '';
    /** @type {any[]} the lines that answer `status` */
    #statuses = [];
    /** @type {Row[]} */
    #rows = [];
    #reports = 0;
    #asked = { status: 0, report: 0 };
    /** @type {number | string | null} */
    #ended = null;

    /** @type {any[]} */
    violations = [];
    /** @type {any[]} */
    resets = [];
    /** @type {any[]} */
    refusals = [];
    /** @type {any[]} */
    auths = [];
    /** what it says that is none of these: wrong commands, a sanitizer's report */
    complaints = '';

    /**
     * @param {{ seed: number, retryMaxMs?: number, silenceMs?: number, sanitized?: boolean }} options
     */
    static start({ seed, retryMaxMs = 500, silenceMs = 0, sanitized = false }) {
        let command = program('faults-readers');
        if (sanitized && fs.existsSync(`${command}-sanitized`)) command += '-sanitized';
        return new Farm(spawn(command, ['--seed', String(seed), '--retry-max-ms', String(retryMaxMs),
                                        '--silence-ms', String(silenceMs)],
                              { stdio: ['pipe', 'pipe', 'pipe'] }));
    }

    /** @param {import('node:child_process').ChildProcessWithoutNullStreams} child */
    constructor(child) {
        this.#process = child;
        child.stdout.setEncoding('utf8').on('data', (text) => this.#onText(text));
        child.stderr.setEncoding('utf8').on('data', (text) => (this.complaints += text));
        child.stdin.on('error', () => {});
        running.add(this);
        this.exit = new Promise((resolve) => child.once('close', (code, signal) => {
            running.delete(this);
            this.#ended = code ?? signal;
            resolve(this.#ended);
        }));
    }

    get pid() {
        return this.#process.pid ?? 0;
    }

    /** @param {string} text */
    #onText(text) {
        const lines = (this.#rest + text).split('\n');
        this.#rest = lines.pop() ?? '';
        for (const line of lines) this.#onLine(JSON.parse(line));
    }

    /** @param {any} line */
    #onLine(line) {
        if (line.readers !== undefined) this.#statuses.push(line);
        else if (line.violation !== undefined) this.violations.push(line);
        else if (line.reset !== undefined) this.resets.push(line);
        else if (line.refused !== undefined) this.refusals.push(line);
        else if (line.auth !== undefined) this.auths.push(line);
        else if (line.reported !== undefined) this.#reports++;
        else if (line.run !== undefined) this.#rows.push(line);
        else this.complaints += `${JSON.stringify(line)}\n`;
    }

    /** One command, without waiting. @param {string} command */
    say(command) {
        this.#process.stdin.write(`${command}\n`);
        return this;
    }

    /** @param {() => boolean} answered @param {string} what @param {number} timeout */
    async #answer(answered, what, timeout) {
        await until(() => answered() || this.#ended !== null,
                    { timeout, what: `the farm answers ${what}\n${this.complaints}` });
        if (!answered()) throw new Error(`the farm ended (${this.#ended})\n${this.complaints}`);
    }

    /** @param {number} [timeout] */
    async status(timeout = PATIENCE_MS) {
        const number = this.#asked.status++;
        this.say('status');
        await this.#answer(() => this.#statuses.length > number, 'status', timeout);
        return this.#statuses[number];
    }

    /** @param {number} [timeout] @returns {Promise<Row[]>} */
    async report(timeout = PATIENCE_MS) {
        const number = this.#asked.report++;
        this.#rows = [];
        this.say('report');
        await this.#answer(() => this.#reports > number, 'report', timeout);
        return this.#rows;
    }

    /**
     * Waits for a status that `wanted` likes.
     * @param {(status: any) => boolean} wanted
     * @param {number} [timeout]
     */
    async reached(wanted, timeout = PATIENCE_MS) {
        let last;
        return until(async () => wanted(last = await this.status(timeout)) && last, {
            timeout, every: 50, what: () => `the farm reaches ${wanted}\n${JSON.stringify(last)}\n` +
                this.violations.slice(0, 3).map((v) => JSON.stringify(v)).join('\n') });
    }

    /** Every reader has seen the end of every announced run. @param {number} [timeout] */
    async settled(timeout = PATIENCE_MS) {
        return this.reached((status) => status.open === 0, timeout);
    }

    /** Ends it; answers its status. */
    async quit() {
        this.say('quit');
        return this.exit;
    }

    /** What failed tests have left running. */
    static killAll() {
        running.forEach((farm) => farm.kill());
    }

    kill() {
        this.#process.kill('SIGKILL');
        return this.exit;
    }
}
