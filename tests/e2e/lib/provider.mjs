// A stand-in for a model provider: speaks the protocol of chat completions over HTTP/1.1, plain
// or over TLS, or HTTP/2 over TLS, and says what a test wants it to say, cut where it wants.

import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import path from 'node:path';
import { run } from './process.mjs';

/**
 * What a provider was asked.
 * @typedef {object} Question
 * @property {any} body the request's JSON
 * @property {string} prompt its last message
 * @property {http.IncomingHttpHeaders} headers
 * @property {string} path
 * @property {string} version of HTTP
 * @property {number} at performance.now()
 * @property {boolean} closed the other end has hung up, or all was said
 */

/** @typedef {(response: http.ServerResponse, question: Question, nth: number) => void | Promise<void>} Answer
 *            `nth`: how often this prompt was asked before */

/** A certificate for 127.0.0.1, signed by a CA of its own; answers the files' names. */
export async function certify(dir) {
    const at = (name) => path.join(dir, name);
    const made = [
        ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
         '-subj', '/CN=Test CA', '-keyout', at('ca.key'), '-out', at('ca.pem')],
        ['req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=provider',
         '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', at('provider.key'), '-out', at('provider.csr')],
        ['x509', '-req', '-in', at('provider.csr'), '-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-CAcreateserial',
         '-days', '2', '-copy_extensions', 'copy', '-out', at('provider.pem')],
    ];
    for (const args of made) {
        const result = await run('openssl', args);
        if (result.code !== 0) throw new Error(`openssl ${args[0]}: ${result.stderr}`);
    }
    return { ca: at('ca.pem'), key: fs.readFileSync(at('provider.key')), cert: fs.readFileSync(at('provider.pem')) };
}

/** One piece of a stream. @param {any} delta @param {string | null} [finish] @param {any} [more] */
export const chunk = (delta, finish = null, more = {}) =>
    `data: ${JSON.stringify({ id: 'chatcmpl-1', object: 'chat.completion.chunk', model: 'stand-in',
                              choices: [{ index: 0, delta, finish_reason: finish }], ...more })}\n\n`;

/** The end of a good one. */
export const END = chunk({}, 'stop') +
    'data: {"object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}\n\n' +
    'data: [DONE]\n\n';

export class Provider {
    #server;
    /** @type {Set<import('node:net').Socket>} */
    #sockets = new Set();
    /** @type {Map<string, number>} */
    #asked = new Map();
    /** every question, in order @type {Question[]} */
    questions = [];
    /** by prompt; `*` is for all others @type {Map<string, Answer>} */
    answers = new Map([['*', (response) => this.stream(response, [chunk({ content: 'Hello' }), END])]]);
    /** connections until now */
    connections = 0;
    port = 0;

    /** @param {{ key: Buffer, cert: Buffer } | null} [tls] @param {1 | 2} [version] with TLS */
    constructor(tls = null, version = 2) {
        this.scheme = tls ? 'https' : 'http';
        const onRequest = (request, response) => this.#onRequest(request, response).catch(() => response.destroy());
        this.#server = !tls ? http.createServer(onRequest)
            : version === 2 ? http2.createSecureServer({ ...tls, allowHTTP1: true }, onRequest)
            : https.createServer(tls, onRequest);
        this.#server.on(tls ? 'secureConnection' : 'connection', () => this.connections++);
        this.#server.on('connection', (socket) => {
            this.#sockets.add(socket.unref()); // it must not keep a failed test alive
            socket.on('close', () => this.#sockets.delete(socket));
        });
        for (const name of ['tlsClientError', 'clientError', 'sessionError'])
            this.#server.on(name, (_error, socket) => socket?.destroy?.());
    }

    get url() {
        return `${this.scheme}://127.0.0.1:${this.port}/v1`;
    }

    async start() {
        this.#server.listen(this.port, '127.0.0.1');
        await once(this.#server, 'listening');
        this.#server.unref();
        this.port = /** @type {import('node:net').AddressInfo} */ (this.#server.address()).port;
        return this;
    }

    async stop() {
        for (const socket of this.#sockets) socket.destroy();
        this.#server.close();
        await once(this.#server, 'close');
    }

    /** The questions with this prompt. @param {string} prompt */
    asked(prompt) {
        return this.questions.filter((question) => question.prompt === prompt);
    }

    async #onRequest(request, response) {
        const parts = [];
        for await (const part of request) parts.push(part);
        const body = JSON.parse(Buffer.concat(parts).toString());
        const question = { body, prompt: body.messages.at(-1).content, headers: request.headers, path: request.url,
                           version: request.httpVersion, at: performance.now(), closed: false };
        const nth = this.#asked.get(question.prompt) ?? 0;
        this.#asked.set(question.prompt, nth + 1);
        this.questions.push(question);
        response.on('error', () => {});
        response.on('close', () => (question.closed = true));
        await (this.answers.get(question.prompt) ?? this.answers.get('*'))(response, question, nth);
    }

    /**
     * Says the pieces, each by itself, and ends well.
     * @param {http.ServerResponse} response
     * @param {(string | Buffer)[]} pieces
     * @param {{ status?: number, headers?: Record<string, string>, end?: 'well' | 'cut' | 'never' }} [options]
     */
    async stream(response, pieces, { status = 200, headers = { 'Content-Type': 'text/event-stream' }, end = 'well' } = {}) {
        response.writeHead(status, headers);
        if (pieces.length === 0) response.flushHeaders?.();
        for (const piece of pieces) {
            if (response.destroyed || response.writableEnded) return;
            await new Promise((resolve) => response.write(piece, resolve));
        }
        if (end === 'well') response.end();
        if (end === 'cut') this.cut(response);
    }

    /** As if its cable were pulled, behind what was said. @param {any} response */
    cut(response) {
        if (response.stream?.close) response.stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
        else response.destroy();
    }
}
