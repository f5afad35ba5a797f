// Outside events: of no run, or of one that nobody publishes.

import { createHash } from 'node:crypto';
import { Conflict, Refused, Taken } from './errors.js';
import { checkName, checkPrefix, checkSize, checkThread, checkWhole, toJson } from './event.js';
import { checkClient, Link } from './link.js';
import { Place } from './script.js';

const TYPES = ['token', 'status', 'delta', 'done', 'error'];

/** @param {string} text */
const sha256 = (text) => createHash('sha256').update(text).digest('hex');

/**
 * Publishes an event, or several in one call, outside of any run.
 * @param {import('ioredis').Redis} client
 * @param {string} thread
 * @param {import('../index.js').OutsideEvent | readonly import('../index.js').OutsideEvent[]} event
 * @param {import('../index.js').PublishOptions} [options]
 * @returns {Promise<import('../index.js').Published>}
 */
export async function publish(client, thread, event, options = {}) {
    const { idempotencyKey, prefix = '', limits, giveUpMs = 10_000 } = options;
    const place = new Place(checkThread(thread), checkPrefix(prefix), limits);
    const listed = /** @type {any[]} */ (Array.isArray(event) ? event : [event]);
    if (!listed.length) throw new TypeError('there is no event');
    const events = listed.map((one) => eventOf(place.thread, one));
    const once = idempotencyKey === undefined ? undefined : sha256(`sdk-node\n${idempotencyKey}`);
    const link = new Link(checkClient(client), 'outside');
    try {
        return published(await link.deliver({
            place, mode: 'outside', run: [...new Set(listed.map((e) => e.runId))].filter(Boolean).join(' '),
            attempt: 0, number: 0, events, once, tries: 0,
            worker: once ? sha256(toJson(listed.map(({ id, ts, ...rest }) => rest))) : '',
        }, checkWhole('giveUpMs', giveUpMs, 0), once !== undefined));
    } finally {
        link.close();
    }
}

/** @param {string} thread @param {any} event */
function eventOf(thread, event) {
    if (typeof event !== 'object' || event === null) throw new TypeError('an event is an object');
    const { type, threadId = thread, content, ts = Date.now(), id, ...rest } = event;
    if (!TYPES.includes(type)) throw new TypeError(`an event's type is one of ${TYPES.join(' ')}`);
    if (typeof content !== 'string' && (typeof content !== 'object' || !content || Array.isArray(content))) {
        throw new TypeError('an event\'s content is a string or an object');
    }
    if (threadId !== thread) throw new TypeError(`this event belongs to thread ${threadId}`);
    for (const name of ['runId', 'agentId', 'messageId']) {
        if (rest[name] !== undefined) checkName(name, rest[name]);
    }
    if (rest.attempt !== undefined) checkWhole('attempt', rest.attempt, 1);
    const json = toJson({ type, threadId, content, ts: checkWhole('ts', ts, 1), ...rest });
    checkSize(json);
    return json;
}

/** @param {string[]} reply @returns {import('../index.js').Published} */
function published([word, first, last]) {
    switch (word) {
        case 'OK': return { first, last, repeated: false };
        case 'ONCE': return { first, last, repeated: true };
        case 'TAKEN': throw new Taken(first);
        case 'CONFLICT': throw new Conflict('this idempotency key was used for other events');
        default: throw new Refused(`publish.lua answers ${word}`);
    }
}
