// Events: names that are allowed, JSON that can be published, limits that hold.

import { EventTooLarge } from './errors.js';

export const EVENT_MAX_BYTES = 256 * 1024;
/** for the id, which publish.lua puts in */
export const ID_ROOM = 64;
/** of one token: escaped six times over it still fits */
export const TEXT_MAX_BYTES = 32 * 1024;
const DEPTH_MAX = 32;

/** @param {string} thread */
export function checkThread(thread) {
    if (typeof thread !== 'string' || !/^[A-Za-z0-9._-]{1,128}$/.test(thread)) {
        throw new TypeError('a thread\'s id is 1 to 128 of A-Z a-z 0-9 . _ -');
    }
    return thread;
}

/** @param {string} what @param {string} name */
export function checkName(what, name) {
    if (typeof name !== 'string' || !/^[A-Za-z0-9._:-]{1,128}$/.test(name)) {
        throw new TypeError(`${what} is 1 to 128 of A-Z a-z 0-9 . _ : -`);
    }
    return name;
}

/** Printable, no braces: they are the hash tag. @param {string} prefix */
export function checkPrefix(prefix) {
    if (typeof prefix !== 'string' || !/^[!-z|~]{0,64}$/.test(prefix)) {
        throw new TypeError('a prefix is up to 64 printable characters without braces');
    }
    return prefix;
}

/**
 * @param {string} what @param {number} value @param {number} least @param {number} [most]
 */
export function checkWhole(what, value, least, most = Number.MAX_SAFE_INTEGER) {
    if (!Number.isInteger(value) || value < least || value > most) {
        throw new RangeError(`${what} is a whole number from ${least} to ${most}`);
    }
    return value;
}

/** What UTF-8 and Postgres cannot hold becomes U+FFFD. @param {string} text */
export function clean(text) {
    return text.replace(/\p{Surrogate}|\0/gu, '\ufffd');
}

/** @param {any} value @param {string} key @param {number} depth @returns {any} */
function cleaned(value, key, depth) {
    if (typeof value?.toJSON === 'function') value = value.toJSON(key);
    switch (typeof value) {
        case 'string': return clean(value);
        case 'boolean': case 'undefined': return value;
        case 'number':
            if (!Number.isFinite(value)) throw new TypeError('JSON has no NaN and no Infinity');
            return value;
        case 'object': break;
        default: throw new TypeError(`JSON has no ${typeof value}`);
    }
    if (value === null) return null;
    // the event and its content are levels too
    if (depth > DEPTH_MAX - 2) throw new RangeError(`content is nested deeper than ${DEPTH_MAX} levels`);
    if (Array.isArray(value)) return value.map((v, i) => cleaned(v, String(i), depth + 1));
    return Object.fromEntries(Object.entries(value).map(
        ([k, v]) => [clean(k), cleaned(v, k, depth + 1)]));
}

/** Compact JSON; TypeError or RangeError for what JSON cannot say. @param {unknown} value */
export function toJson(value) {
    const json = JSON.stringify(cleaned(value, '', 0));
    if (json === undefined) throw new TypeError('JSON has no undefined');
    return json;
}

/** @param {string} event */
export function checkSize(event) {
    const size = Buffer.byteLength(event);
    if (size + ID_ROOM > EVENT_MAX_BYTES) {
        throw new EventTooLarge(`an event is at most ${EVENT_MAX_BYTES - ID_ROOM} bytes of ` +
            `JSON, this one has ${size}`);
    }
    return size;
}

/**
 * Cuts cleaned text into pieces of at most TEXT_MAX_BYTES, between characters.
 * @param {string} text @returns {string[]}
 */
export function pieces(text) {
    if (text.length * 3 <= TEXT_MAX_BYTES) return text ? [text] : [];
    const found = [];
    let data = Buffer.from(text);
    while (data.length > TEXT_MAX_BYTES) {
        let cut = TEXT_MAX_BYTES;
        while ((data[cut] & 0xc0) === 0x80) cut--;
        found.push(data.toString('utf8', 0, cut));
        data = data.subarray(cut);
    }
    if (data.length) found.push(data.toString());
    return found;
}
