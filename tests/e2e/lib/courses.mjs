// Random legal courses of a thread, for the laws of state.test.mjs: several runs side by
// side, each with attempts, rewinds, late words of an attempt that was overtaken, pieces of
// text, reasoning and tools, and an end or none; between them what belongs to no run. And
// what may happen to such a course on its way: merging, repetition.

/** Numbers from a seed (mulberry32). @param {number} seed */
export function randomFrom(seed) {
    let a = seed >>> 0;
    const next = () => {
        a = (a + 0x6d2b79f5) >>> 0;
        let t = Math.imul(a ^ (a >>> 15), a | 1);
        t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
        return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
    return {
        next,
        /** 0 … n - 1 @param {number} n */
        below: (n) => Math.floor(next() * n),
        /** @param {number} chance */
        chance: (chance) => next() < chance,
        /** @template T @param {readonly T[]} list @returns {T} */
        pick: (list) => list[Math.floor(next() * list.length)],
    };
}

/** @typedef {ReturnType<typeof randomFrom>} Random */

const PIECES = ['a', ' b', '', 'ß', '🇦', '🇹', '\n\n', '👩‍🚀', '<b>', '日本', 'x'.repeat(40)];

/** One thing that an agent says. @param {Random} random @param {number} attempt */
function word(random, attempt) {
    const callId = `c${attempt}-${random.below(3)}`;
    return random.pick([
        ...Array(6).fill({ type: 'token', content: random.pick(PIECES) }),
        { type: 'status', content: { status: random.pick(['thinking', 'working', 'typing']) } },
        { type: 'delta', content: { kind: 'reasoning', text: random.pick(PIECES) } },
        { type: 'delta', content: { kind: 'tool_call', toolCallId: callId, name: 'search', arguments: { q: 1 } } },
        { type: 'delta', content: { kind: 'tool_result', toolCallId: callId, result: 'found', isError: random.chance(0.2) } },
        { type: 'delta', content: { kind: 'progress', completed: random.below(9), total: 9 } },
        { type: 'delta', content: { kind: 'milestone', title: 'Half' } },
        { type: 'delta', content: { kind: 'usage', inputTokens: 1, outputTokens: random.below(50), totalTokens: 51 } },
        { type: 'delta', content: { kind: 'confetti', colour: 'red' } },
    ]);
}

/** How a run ends. @param {Random} random @param {string} messageId @returns {object[]} */
function end(random, messageId) {
    return random.pick([
        [{ type: 'done', content: { messageId, finishReason: 'stop', usage: { totalTokens: 7 } } }],
        [{ type: 'done', content: { messageId, finishReason: 'length' } }],
        [{ type: 'status', content: { status: 'cancelled' } },
         { type: 'done', content: { messageId, finishReason: 'cancelled' } }],
        [{ type: 'error', content: { code: 'timeout', message: 'Too slow.', retryable: true } }],
        [],
    ]);
}

/** All that one run publishes, in order. @param {Random} random @param {number} number */
function runCourse(random, number) {
    const messageId = `a${number}`;
    const run = { threadId: 't', runId: `r${number}`, agentId: random.pick(['writer', 'critic']), messageId };
    /** @type {object[]} */
    const events = [];
    const say = (/** @type {number} */ attempt, /** @type {object} */ what) => events.push({ ...run, attempt, ...what });
    if (random.chance(0.4)) say(1, { type: 'status', content: { status: 'queued', reason: 'workers' } });
    const attempts = 1 + random.below(3);
    for (let attempt = 1; attempt <= attempts; attempt++) {
        say(attempt, { type: 'status', content: { status: attempt === 1 ? 'started' : 'rewind' } });
        const words = random.below(14);
        for (let i = 0; i < words; i++) {
            if (random.chance(0.05)) say(attempt, { type: 'status', content: { status: 'rewind' } });
            // of a worker that was thought dead and has not noticed
            const late = attempt > 1 && random.chance(0.1);
            say(late ? attempt - 1 : attempt, word(random, attempt));
        }
        if (attempt < attempts && random.chance(0.5))
            say(attempt, { type: 'status', content: { status: 'queued', reason: 'retry', retryInMs: 10 } });
    }
    for (const what of end(random, messageId)) say(attempts, what);
    return events;
}

/** What belongs to no run. @param {Random} random */
const outside = (random) => random.pick([
    { type: 'token', threadId: 't', content: random.pick(PIECES) },
    { type: 'test', threadId: 't', content: 'a note' },
]);

/**
 * A thread's events in the order of its log, with ids; a new epoch may begin anywhere.
 * @param {Random} random
 */
export function course(random) {
    const runs = Array.from({ length: 1 + random.below(4) }, (_, i) => runCourse(random, i + 1));
    const events = [];
    let epoch = 1_763_637_712_345_678;
    let n = 0;
    let ts = 1_000;
    while (runs.some((rest) => rest.length)) {
        const next = random.chance(0.06) ? outside(random)
            : random.pick(runs.filter((rest) => rest.length)).shift();
        if (random.chance(0.02)) {
            epoch += 1 + random.below(1_000);
            n = 0;
        }
        events.push({ id: `${epoch}-${++n}`, ts: (ts += random.below(50)), ...next });
    }
    return events;
}

/** May two neighbours become one? (PROTOCOL.md, "Merging") @param {any} a @param {any} b */
function mergeable(a, b) {
    const fields = ['type', 'threadId', 'runId', 'agentId', 'messageId', 'attempt'];
    return a?.type === 'token' && fields.every((field) => a[field] === b[field]) &&
        a.id.split('-')[0] === b.id.split('-')[0];
}

/**
 * Some neighbouring tokens merged, as bridges do.
 * @param {Random} random
 * @param {any[]} events
 */
export function merged(random, events) {
    /** @type {any[]} */
    const out = [];
    for (const event of events) {
        const last = out.at(-1);
        if (last && mergeable(last, event) && random.chance(0.7))
            out[out.length - 1] = { ...event, content: last.content + event.content };
        else out.push(event);
    }
    return out;
}

/**
 * The course as somebody gets it who is cut off and comes back: pieces, each of which may
 * begin with what was there already.
 * @param {Random} random
 * @param {any[]} events
 */
export function interrupted(random, events) {
    const pieces = [];
    for (let at = 0; at < events.length; ) {
        const to = at + 1 + random.below(events.length - at);
        pieces.push(events.slice(Math.max(0, at - random.below(6)), to));
        at = to;
    }
    return pieces;
}
