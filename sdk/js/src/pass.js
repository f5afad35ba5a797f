// What lets a connection in: the session's cookie, a bearer token, or a ticket made from one for
// EventSource, which can send no header. Lengthens the open stream when its right ends soon.

import { cookieInit } from './links.js';

const TICKET_MARGIN_MS = 10_000;
const EXTEND_TRIES = 6;

/** @param {string} message @param {object} more */
const failure = (message, more) => Object.assign(new Error(message), more);

export class Pass {
    #base;
    #options;
    #token = '';
    #ticket;
    /** what the ticket is for, and until when */
    #threads = '';
    #ticketEndsAt = Infinity;
    /** when the right of the open stream ends, as last said */
    #endsAt = 0;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    #timer;
    #turn = 0;
    /** this bridge makes no tickets */
    ticketless = false;

    /** @param {string} base @param {import('./stream.js').Options} options */
    constructor(base, options) {
        this.#base = base;
        this.#options = options;
        this.#ticket = options.ticket ?? '';
    }

    get renewable() { return Boolean(this.#options.getToken); }

    /**
     * For the next connection; null: it cannot be had by ticket.
     * @param {boolean} byTicket @param {string[]} threads @param {boolean} refused the last one was no good
     * @returns {Promise<{ ticket: string, init: RequestInit } | null>}
     */
    async get(byTicket, threads, refused) {
        const covers = this.#threads === threads.join() && this.#ticketEndsAt - TICKET_MARGIN_MS > Date.now();
        let ticket = this.renewable && !(byTicket && covers) ? '' : this.#ticket;
        const token = this.#token = ticket ? '' : await this.#ask(refused);
        if (byTicket && token) {
            const answer = await this.#post('v1/tickets', { threads }, token);
            if (answer.status === 404 || answer.status === 501) {
                this.ticketless = true;
                return null;
            }
            if (answer.status !== 200) throw failure('no ticket', { status: answer.status, body: await answer.text() });
            ({ ticket, expiresAt: this.#ticketEndsAt } = await answer.json());
            this.#ticket = ticket;
            this.#threads = threads.join();
        }
        const init = cookieInit(this.#options);
        if (token || ticket) init.credentials = 'same-origin';
        if (token && !ticket) init.headers.Authorization = `Bearer ${token}`;
        return { ticket, init };
    }

    /** A ticket that was refused is not shown again. */
    forget() { this.#ticketEndsAt = 0; }

    /** The connection is gone. */
    drop() {
        this.#turn++;
        this.#endsAt = 0;
        clearTimeout(this.#timer);
    }

    /** `auth` of the open stream. @param {any} data */
    told({ reason, ticket, connection, expiresAt }) {
        const confirmed = this.#endsAt && expiresAt > this.#endsAt;
        this.#endsAt = expiresAt;
        clearTimeout(this.#timer);
        if (ticket) {
            this.#ticket = ticket;
            this.#ticketEndsAt = expiresAt;
        } else if (!reason && connection && !confirmed && this.renewable) {
            this.#extend(connection, 1);
        }
    }

    /**
     * By the next token; without one by the cookie, which its own site has renewed. When that
     * does not work the stream ends, and the next connection asks again.
     * @param {string} connection @param {number} attempt
     */
    async #extend(connection, attempt) {
        const turn = this.#turn;
        try {
            const token = await this.#ask(false);
            if (!token || token !== this.#token) {
                const answer = await this.#post('v1/session/extend', { connection }, token);
                this.#token = token;
                if (answer.ok) return;
            }
        } catch {
            // later
        }
        if (turn !== this.#turn || attempt >= EXTEND_TRIES) return;
        const left = this.#endsAt - Date.now();
        this.#timer = setTimeout(() => this.#extend(connection, attempt + 1), Math.min(30_000, Math.max(500, left / 2)));
    }

    /** @param {boolean} refused */
    async #ask(refused) { return (await this.#options.getToken?.({ refused })) ?? ''; }

    /** @param {string} path @param {object} body @param {string} token */
    #post(path, body, token) {
        return fetch(new URL(path, this.#base), {
            method: 'POST', body: JSON.stringify(body), credentials: token ? 'same-origin' : 'include',
            headers: { ...this.#options.headers, 'Content-Type': 'application/json', ...(token && { Authorization: `Bearer ${token}` }) },
        });
    }
}
