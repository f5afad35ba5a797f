// Every HTTP request of the page but the stream itself (sdk/js). The session is an
// HttpOnly cookie: there is no token in this page for anybody to steal.
//
// This is the only file that knows how the wire spells things; the rest of the page gets
// the types below. Paths are relative to the page, which may live below a path of
// somebody's site (`--base-path`).

/**
 * @typedef {object} Message a row of the record
 * @property {string} id
 * @property {'user' | 'assistant' | string} role
 * @property {string} text
 * @property {string} author
 * @property {string | null} replyTo
 * @property {string | null} runId
 * @property {number} order the record's order; later is larger
 * @property {'' | 'failed' | 'cancelled'} ended an answer that did not end well: how
 * @property {string} error safe to show; '' when there is none
 *
 * @typedef {object} History
 * @property {Message[]} messages oldest first
 * @property {string} cursor open the stream with `?since=` this and nothing is missed
 * @property {string | null} next pass as `before` for the page before this one
 *
 * @typedef {object} Thread
 * @property {string} id
 * @property {string} title
 * @property {string} createdAt
 *
 * @typedef {object} Receipt the answer to a prompt
 * @property {string} messageId
 * @property {string} cursor
 * @property {{ runId: string, agent: string, messageId: string }[]} runs
 *
 * @typedef {object} RunStatus
 * @property {string} runId
 * @property {'queued' | 'running' | 'done' | 'failed' | 'cancelled' | string} status
 * @property {string | null} messageId the answer's
 * @property {string | null} parentId the prompt's
 * @property {string} error safe to show; '' when there is none
 */

export class ApiError extends Error {
    /**
     * @param {number} status the HTTP status; 0: no answer at all
     * @param {string} code stable, for programs
     * @param {string} message for people
     */
    constructor(status, code, message) {
        super(message);
        this.name = 'ApiError';
        this.status = status;
        this.code = code;
    }

    /** Worth trying again with the same request? */
    get transient() {
        return (
            this.status === 0 || this.status === 429 || (this.status >= 500 && this.status !== 501)
        );
    }
}

const TIMEOUT_MS = 15_000;

/**
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body]
 * @param {Record<string, string>} [headers]
 * @returns {Promise<any>}
 */
async function request(method, path, body, headers = {}) {
    /** @type {RequestInit} */
    const init = { method, headers, cache: 'no-store', signal: AbortSignal.timeout(TIMEOUT_MS) };
    if (body !== undefined) {
        init.headers = { ...headers, 'Content-Type': 'application/json' };
        init.body = JSON.stringify(body);
    }
    let response;
    try {
        response = await fetch(path, init);
    } catch {
        throw new ApiError(0, 'unreachable', 'The server cannot be reached.');
    }
    const text = await response.text().catch(() => '');
    let answer = null;
    try {
        answer = text ? JSON.parse(text) : {};
    } catch {
        // a proxy's page in HTML, most likely: the status says enough
    }
    if (!response.ok) {
        const error = answer?.error ?? {};
        throw new ApiError(
            response.status,
            error.code ?? 'http',
            error.message ?? `HTTP ${response.status}`,
        );
    }
    return answer ?? {};
}

/** @typedef {{ name: string, description: string }} Agent somebody who can be asked */

/** @type {Promise<any> | null} the session that is being opened */
let opening = null;
/** when it ends, and when that was said */
let session = { endsAt: 0, saidAt: 0, sub: '' };

/** Who this is, as the server calls them; '' before it has said so. */
export const visitor = () => session.sub;

/** Signs the visitor in as a guest; somebody with a valid session stays who they are. */
export function openSession() {
    opening ??= request('POST', 'v1/demo/session', {})
        .then(({ sub, expiresAt }) => {
            session = {
                endsAt: Number(expiresAt) || 0,
                saidAt: Date.now(),
                sub: String(sub ?? ''),
            };
        })
        .finally(() => (opening = null));
    return opening;
}

/**
 * Before a connection, and when the open one ends soon: a session in the second half of its
 * life is made anew.
 * @param {boolean} now it ends soon, or was no good any more
 */
export async function renewSession(now) {
    const { endsAt, saidAt } = session;
    if (now || Date.now() > (saidAt + endsAt) / 2) await openSession();
}

/**
 * As `request`, but waits for a session that is being opened (somebody may type before it
 * is), and one that has run out is opened again, once.
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body]
 * @param {Record<string, string>} [headers]
 */
async function signedIn(method, path, body, headers) {
    await opening?.catch(() => {}); // the request itself says what is wrong
    try {
        return await request(method, path, body, headers);
    } catch (error) {
        if (!(error instanceof ApiError) || error.status !== 401) throw error;
        await openSession();
        return request(method, path, body, headers);
    }
}

/** @param {string} threadId */
const threadPath = (threadId) => `v1/threads/${encodeURIComponent(threadId)}`;

/** @returns {Promise<Thread[]>} newest first */
export async function listThreads() {
    const answer = await signedIn('GET', 'v1/threads');
    return (answer.threads ?? []).map(threadOf);
}

/**
 * @param {string} title
 * @returns {Promise<Thread>}
 */
export async function createThread(title) {
    const answer = await signedIn('POST', 'v1/threads', { metadata: { title } });
    return threadOf({ metadata: { title }, ...(answer.thread ?? answer) });
}

/** @param {string} threadId */
export async function deleteThread(threadId) {
    await signedIn('DELETE', threadPath(threadId));
}

/**
 * @param {string} threadId
 * @param {{ limit?: number, before?: string }} [options]
 * @returns {Promise<History>}
 */
export async function readMessages(threadId, { limit = 50, before } = {}) {
    const query = new URLSearchParams({ limit: String(limit) });
    if (before) query.set('before', before);
    const answer = await signedIn('GET', `${threadPath(threadId)}/messages?${query}`);
    return {
        messages: (answer.messages ?? []).map(messageOf),
        cursor: String(answer.cursor ?? '0'),
        next: answer.next == null ? null : String(answer.next),
    };
}

/**
 * Posts a prompt. `key` makes it safe to send twice: the same key answers the same, so a
 * request whose answer got lost on the way is simply repeated.
 * @param {string} threadId
 * @param {string} content
 * @param {string} key
 * @param {string[]} agents who is asked; none: whoever answers usually
 * @returns {Promise<Receipt>}
 */
export async function postMessage(threadId, content, key, agents) {
    const who = agents.length > 1 ? { agents } : agents.length ? { agent: agents[0] } : {};
    const path = `${threadPath(threadId)}/messages`;
    return patiently(4, () =>
        signedIn('POST', path, { content, ...who }, { 'Idempotency-Key': key }),
    );
}

/**
 * Another answer to the prompt of a run that has ended.
 * @param {string} runId
 * @param {string} key
 * @returns {Promise<Receipt>}
 */
export async function retryRun(runId, key) {
    const path = `v1/runs/${encodeURIComponent(runId)}/retry`;
    return patiently(4, () => signedIn('POST', path, {}, { 'Idempotency-Key': key }));
}

/**
 * Who can be asked.
 * @returns {Promise<{ usual: string, agents: Agent[] }>}
 */
export async function listAgents() {
    const answer = await signedIn('GET', 'v1/agents');
    return {
        usual: String(answer.default ?? ''),
        agents: (answer.agents ?? []).map((/** @type {any} */ agent) => ({
            name: String(agent.name),
            description: String(agent.description ?? ''),
        })),
    };
}

/**
 * @param {string} runId
 * @returns {Promise<RunStatus>}
 */
export async function readRun(runId) {
    const answer = await signedIn('GET', `v1/runs/${encodeURIComponent(runId)}`);
    return {
        runId,
        status: String(answer.status ?? ''),
        messageId: answer.replyId ?? null,
        parentId: answer.messageId ?? null,
        error: String(answer.error?.message ?? ''),
    };
}

/** @param {string} runId */
export async function cancelRun(runId) {
    return signedIn('POST', `v1/runs/${encodeURIComponent(runId)}/cancel`, {});
}

/** Everything that runs in a conversation, or waits to. @param {string} threadId */
export async function cancelThread(threadId) {
    return signedIn('POST', `${threadPath(threadId)}/cancel`, {});
}

/**
 * Demo only: the server drops this visitor's own streams of the thread without a word.
 * @param {string} threadId
 */
export async function cutConnection(threadId) {
    return signedIn('POST', 'v1/demo/cut', { threadId });
}

/**
 * @param {string} threadId
 * @param {string} since
 */
export function eventsUrl(threadId, since) {
    return `${threadPath(threadId)}/events?${new URLSearchParams({ since, merge: '0' })}`;
}

/** A key for `postMessage`. (`crypto.randomUUID` is missing on plain http outside localhost.) */
export function newKey() {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * Tries again what may pass, later and later, and never in step with everybody else.
 * @template T
 * @param {number} times
 * @param {() => Promise<T>} action
 * @param {() => void} [onFailure] called before each pause
 * @returns {Promise<T>}
 */
export async function patiently(times, action, onFailure) {
    for (let attempt = 1; ; attempt++) {
        try {
            return await action();
        } catch (error) {
            if (!(error instanceof ApiError) || !error.transient || attempt >= times) throw error;
            onFailure?.();
            const longest = Math.min(15_000, 500 * 2 ** attempt);
            await new Promise((resolve) =>
                setTimeout(resolve, longest * (0.5 + Math.random() / 2)),
            );
        }
    }
}

/** @param {any} row @returns {Thread} */
function threadOf(row) {
    return {
        id: String(row.id ?? row.threadId),
        title: String(row.metadata?.title ?? ''),
        createdAt: String(row.createdAt ?? ''),
    };
}

/** @param {any} row @returns {Message} */
function messageOf(row) {
    return {
        id: String(row.id),
        role: String(row.role),
        text:
            typeof row.content === 'string'
                ? row.content
                : JSON.stringify(row.content ?? '', null, 2),
        author: String(row.author ?? ''),
        replyTo: row.replyTo ?? null,
        runId: row.runId ?? null,
        order: Number(row.seq) || 0,
        ended: row.status ?? '',
        error: String(row.error?.message ?? ''),
    };
}
