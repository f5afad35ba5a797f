// An issuer of tokens: signs them, and publishes its keys as a JSON Web Key Set, or does
// whatever an issuer should not do.

import { createPublicKey } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import { Signer } from './jwt.mjs';

/**
 * The public key of a signer as issuers publish it.
 * @param {Signer} signer
 * @param {Record<string, unknown>} more
 * @returns {Record<string, unknown>}
 */
export const jwkOf = (signer, more = {}) =>
    ({ ...createPublicKey(signer.publicPem).export({ format: 'jwk' }), ...more });

/** @typedef {(request: http.IncomingMessage, response: http.ServerResponse) => void} Answer */

export class Issuer {
    /** @type {http.Server} */
    #server;
    /** @type {Set<import('node:net').Socket>} */
    #sockets = new Set();
    /** what it publishes @type {Record<string, unknown>[]} */
    keys = [];
    /** answers instead of the keys @type {Answer | null} */
    instead = null;
    /** headers of the good answer @type {Record<string, string>} */
    headers = {};
    /** how often it was asked */
    asked = 0;
    port = 0;

    /** @param {{ key: string, cert: string }} [tls] */
    constructor(tls) {
        this.scheme = tls ? 'https' : 'http';
        const onRequest = (/** @type {http.IncomingMessage} */ request, /** @type {http.ServerResponse} */ response) => {
            this.asked++;
            if (this.instead) this.instead(request, response);
            else response.writeHead(200, { 'Content-Type': 'application/json', ...this.headers })
                .end(JSON.stringify({ keys: this.keys }));
        };
        this.#server = tls ? https.createServer(tls, onRequest) : http.createServer(onRequest);
        this.#server.on('connection', (socket) => {
            this.#sockets.add(socket.unref()); // it must not keep a failed test alive
            socket.on('close', () => this.#sockets.delete(socket));
        });
        this.#server.on('tlsClientError', () => {}); // whom it does not trust, it leaves
    }

    get url() {
        return `${this.scheme}://127.0.0.1:${this.port}/keys`;
    }

    /** The same port again after `stop`. */
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

    /**
     * A new key with this name, published from now on.
     * @param {string} kid
     * @param {import('./jwt.mjs').Algorithm} [algorithm]
     */
    newKey(kid, algorithm = 'RS256') {
        const signer = new Signer(algorithm);
        this.keys.push(jwkOf(signer, { kid, use: 'sig', alg: algorithm }));
        return signer;
    }
}
