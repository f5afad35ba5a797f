// One child process whose output is kept: redis-server, postgres, a bridge, a worker.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { PATIENCE_MS, until, within } from './until.mjs';

/** no test sends these */
const CRASHES = ['SIGSEGV', 'SIGABRT', 'SIGBUS', 'SIGILL', 'SIGFPE'];
const SANITIZER = /ERROR: \w*Sanitizer|LeakSanitizer|runtime error:|SUMMARY: \w*Sanitizer/;

/** what the sanitizers are told; a build without them does not read it */
const SANITIZER_ENV = {
    ASAN_OPTIONS: 'detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1',
    UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
    TSAN_OPTIONS: 'second_deadlock_stack=1',
};

/**
 * Says at once what is wrong for good: node drops an error in `t.after` behind one in the test, and what was
 * only late may be run again (late.mjs).
 * @param {string} what
 * @param {string} [detail]
 */
export function complain(what, detail = '') {
    console.error(`complaint: ${what}\n${detail}`);
}

export class Child {
    /** @type {import('node:child_process').ChildProcess} */
    #process;
    #exited = false;

    /**
     * @param {string} name
     * @param {string} command
     * @param {string[]} args
     * @param {{ env?: Record<string, string>, cwd?: string, uid?: number, gid?: number,
     *           umask?: number }} [options]
     */
    constructor(name, command, args, { env = {}, cwd, uid, gid } = {}) {
        this.name = name;
        this.command = [command, ...args].join(' ');
        this.output = '';
        /** @type {number | null} */
        this.code = null;
        /** @type {string | null} */
        this.signal = null;
        // killed with this process, however that ends: no test leaves a server behind
        this.#process = spawn('setpriv', ['--pdeathsig', 'KILL', '--', command, ...args], {
            cwd, uid, gid,
            stdio: ['ignore', 'pipe', 'pipe'],
            env: { PATH: process.env.PATH, HOME: process.env.HOME, LC_ALL: 'C.UTF-8',
                   ...SANITIZER_ENV, ...env },
        });
        for (const stream of [this.#process.stdout, this.#process.stderr]) {
            stream?.setEncoding('utf8');
            stream?.on('data', (text) => (this.output += text));
        }
        /** resolves when the process has gone and all its output is here */
        this.exit = new Promise((resolve) => {
            this.#process.once('error', (error) => {
                this.output += `cannot start ${command}: ${error.message}\n`;
                this.#exited = true;
                this.code = 127;
                resolve(undefined);
            });
            this.#process.once('close', (code, signal) => {
                this.#exited = true;
                this.code = code;
                this.signal = signal;
                const report = this.sanitizerReport();
                if (report || CRASHES.includes(signal ?? '')) complain(`${name} ended with ${code ?? signal}`, report);
                resolve(undefined);
            });
        });
    }

    get pid() {
        return this.#process.pid ?? 0;
    }

    get running() {
        return !this.#exited;
    }

    get lines() {
        return this.output.split('\n');
    }

    /** @param {NodeJS.Signals} signal */
    kill(signal) {
        if (!this.#exited) this.#process.kill(signal);
    }

    /**
     * Waits for a line of its output, from `from` (an offset into `output`) on.
     * @param {RegExp} pattern
     * @param {{ timeout?: number, from?: number }} [options]
     * @returns {Promise<RegExpMatchArray>}
     */
    async line(pattern, { timeout = PATIENCE_MS, from = 0 } = {}) {
        const match = await until(
            () => this.output.slice(from).match(pattern) ?? (this.#exited ? 'gone' : null),
            { timeout, what: () => `${this.name} says ${pattern}\n${this.tail()}` });
        if (typeof match === 'string') {
            throw new Error(`${this.name} ended (${this.code ?? this.signal}) before it said ` +
                            `${pattern}\n$ ${this.command}\n${this.tail()}`);
        }
        return match;
    }

    /**
     * Signals and waits for the end. Answers the milliseconds it took.
     * @param {NodeJS.Signals} signal
     * @param {number} [timeout]
     */
    async stop(signal = 'SIGTERM', timeout = PATIENCE_MS) {
        const began = performance.now();
        this.kill(signal);
        try {
            await within(this.exit, timeout, `${this.name} ends after ${signal}\n${this.tail()}`);
        } catch (error) {
            complain(`${this.name} does not end after ${signal}`);
            this.kill('SIGKILL');
            await this.exit;
            throw error;
        }
        return performance.now() - began;
    }

    /** what a sanitizer had to say, or '' */
    sanitizerReport() {
        const at = this.output.search(SANITIZER);
        return at < 0 ? '' : this.output.slice(Math.max(0, at - 200), at + 6000);
    }

    tail(count = 40) {
        return this.lines.slice(-count).map((line) => `    ${this.name}| ${line}`).join('\n');
    }
}

/**
 * Runs a command to its end.
 * @param {string} command
 * @param {string[]} args
 * @param {{ env?: Record<string, string>, cwd?: string, uid?: number, gid?: number,
 *           input?: string, timeout?: number }} [options]
 * @returns {Promise<{ code: number | null, stdout: string, stderr: string }>}
 */
export async function run(command, args, options = {}) {
    const { env = {}, input, timeout = 60_000, ...rest } = options;
    const child = spawn(command, args, {
        ...rest,
        stdio: ['pipe', 'pipe', 'pipe'],
        env: { PATH: process.env.PATH, HOME: process.env.HOME, LC_ALL: 'C.UTF-8',
               ...SANITIZER_ENV, ...env },
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
    child.stdin.on('error', () => {});
    child.stdin.end(input ?? '');
    const timer = setTimeout(() => child.kill('SIGKILL'), timeout);
    const [code] = await once(child, 'close');
    clearTimeout(timer);
    return { code, stdout, stderr };
}
