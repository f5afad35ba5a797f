// One reader of each package: JavaScript's, and both kinds of Python's, told the same way.

import { spawn } from 'node:child_process';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';
import { connect } from '../../../sdk/js/src/index.js';
import { until } from './until.mjs';

const HERE = path.dirname(fileURLToPath(import.meta.url));

/**
 * @typedef {object} Options
 * @property {string | string[]} [thread]
 * @property {string} [run]
 * @property {string} [since]
 * @property {string[]} tokens one for each connection; the last one stays
 * @property {boolean} [merge]
 * @property {number} [silenceMs]
 * @property {number} [giveUpMs]
 */

export class Reader {
    /** @type {any[]} */
    events = [];
    /** @type {{ name: string, data: any, position: string }[]} */
    notices = [];
    position = '';
    ended = false;
    /** @type {{ name: string, message: string, status: number, code: string } | null} */
    error = null;

    /** @param {string} kind @param {() => void} close */
    constructor(kind, close) {
        this.kind = kind;
        this.close = close;
    }

    get text() {
        return this.events.filter((e) => e.type === 'token').map((e) => e.content).join('');
    }

    /** @param {string} name */
    noticed(name) {
        return this.notices.filter((notice) => notice.name === name);
    }

    /** For a complaint. */
    get story() {
        return `${this.kind}: ${JSON.stringify({ ...this, events: this.events.slice(-5) })}`;
    }
}

/** @param {string} base @param {Options} options */
function jsReader(base, { tokens, thread, run, ...options }) {
    const left = [...tokens];
    const stream = connect(run === undefined ? thread : { run }, {
        ...options, url: base, getToken: async () => (left.length > 1 ? left.shift() : left[0]) });
    const reader = new Reader('js', () => stream.close());
    const note = (name, data) => reader.notices.push({ name, data, position: stream.lastEventId });
    stream.on('notice', note);
    stream.on('event', (event, { id, replayed }) => {
        reader.events.push({ ...event, id, again: replayed });
        reader.position = stream.lastEventId;
    });
    stream.on('state', (state, detail) => {
        if (state === 'live') note('open', {});
        if (state === 'reconnecting') note('lost', detail);
        if (state === 'ended') reader.ended = true;
        if (state === 'failed') reader.error = { name: stream.error.name, ...detail, status: detail.status ?? 0, code: detail.reason };
    });
    return reader;
}

/** The process that has the Python ones. */
export class Readers {
    #child;
    #output = '';
    #ready = false;
    /** in this process, which they would keep alive @type {Reader[]} */
    #ours = [];
    /** @type {Map<number, Reader>} */
    #readers = new Map();
    #next = 1;

    constructor() {
        this.#child = spawn('/usr/bin/python3', ['-u', path.join(HERE, 'reader.py')], {
            stdio: ['pipe', 'pipe', 'pipe'],
            env: { PATH: process.env.PATH, PYTHONPATH: path.join(HERE, '../../../sdk/python'),
                   PYTHONDONTWRITEBYTECODE: '1' } });
        this.#child.stderr.setEncoding('utf8').on('data', (text) => (this.#output += text));
        readline.createInterface(this.#child.stdout).on('line', (line) => this.#told(JSON.parse(line)));
    }

    /** Answers when it is there. */
    static async start() {
        const readers = new Readers();
        await until(() => readers.#ready, { what: () => `Python reads\n${readers.#output}` });
        return readers;
    }

    /** @param {any} said */
    #told({ ready, id, event, position, notice, ended, error }) {
        if (ready) this.#ready = true;
        const reader = /** @type {Reader} */ (this.#readers.get(id));
        if (event) {
            reader.events.push(event);
            reader.position = position;
        }
        if (notice) reader.notices.push(notice);
        if (ended) reader.ended = true;
        if (error) reader.error = error;
    }

    /** One of each, each from its own address. @param {string | string[]} bases @param {Options} options */
    open(bases, options) {
        const base = (/** @type {number} */ i) => (Array.isArray(bases) ? bases[i] : bases);
        const js = jsReader(base(0), options);
        this.#ours.push(js);
        return [js, this.#python('sync', base(1), options),
                this.#python('asyncio', base(2), options)];
    }

    /** @param {string} kind @param {string} base @param {Options} options */
    #python(kind, base, { silenceMs, giveUpMs, ...options }) {
        const id = this.#next++;
        const reader = new Reader(kind, () => this.#command({ close: id }));
        this.#readers.set(id, reader);
        this.#command({ id, kind, base, ...options,
                        ...(silenceMs && { silence_s: silenceMs / 1000 }),
                        ...(giveUpMs && { give_up_s: giveUpMs / 1000 }) });
        return reader;
    }

    /** @param {object} command */
    #command(command) {
        this.#child.stdin.write(`${JSON.stringify(command)}\n`);
    }

    /** What Python complained of. */
    stop() {
        for (const reader of this.#ours) reader.close();
        this.#child.stdin.end();
        this.#child.kill('SIGKILL');
        return this.#output;
    }
}
