// Bytes of an event stream, cut anywhere, into blocks. As the HTML standard says, with one
// addition: comments are told too, because one of them is the bridge's sign of life.

import { ThreadcastError } from './errors.js';

/**
 * @typedef {object} Block what stood before one blank line, or one comment
 * @property {string} event '' when it has no name
 * @property {string} data
 * @property {string} id the last id that was given, by this block or one before
 * @property {string | null} comment null: this is no comment
 */

/** An event has 256 KiB at most; a stream that brings more is not one of ours. */
const BLOCK_MAX_CHARS = 1 << 20;

export class SseParser {
    /** the last `retry:`, or null @type {number | null} */
    retryMs = null;
    #rest = '';
    #afterCr = false;
    #id = '';
    #event = '';
    /** @type {string[]} */
    #data = [];
    #size = 0;

    /** Throws when a block does not end. @param {string} chunk @returns {Block[]} */
    push(chunk) {
        /** @type {Block[]} */
        const blocks = [];
        if (this.#afterCr && chunk.startsWith('\n')) chunk = chunk.slice(1);
        if (chunk) this.#afterCr = chunk.endsWith('\r');
        const lines = (this.#rest + chunk).split(/\r\n|\n|\r/);
        this.#rest = lines.pop() ?? '';
        for (const line of lines) this.#line(line, blocks);
        if (this.#size + this.#rest.length > BLOCK_MAX_CHARS) {
            throw new ThreadcastError(`more than ${BLOCK_MAX_CHARS} characters and no end: this is no event`);
        }
        return blocks;
    }

    /** @param {string} line @param {Block[]} blocks */
    #line(line, blocks) {
        if (line === '') {
            if (this.#data.length) {
                blocks.push({ event: this.#event, data: this.#data.join('\n'), id: this.#id, comment: null });
            }
            this.#event = '';
            this.#data = [];
            this.#size = 0;
            return;
        }
        const colon = line.indexOf(':');
        if (colon === 0) {
            blocks.push({ event: '', data: '', id: '', comment: line.slice(1) });
            return;
        }
        const name = colon < 0 ? line : line.slice(0, colon);
        const value = colon < 0 ? '' : line.slice(colon + (line[colon + 1] === ' ' ? 2 : 1));
        this.#size += line.length;
        if (name === 'data') this.#data.push(value);
        else if (name === 'event') this.#event = value;
        else if (name === 'id' && !value.includes('\0')) this.#id = value;
        else if (name === 'retry' && /^\d{1,9}$/.test(value)) this.retryMs = Number(value);
    }
}
