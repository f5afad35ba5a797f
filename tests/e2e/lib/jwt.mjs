// Tokens of every algorithm the bridge takes, and of those it must not take.

import { createHmac, generateKeyPairSync, randomBytes, sign } from 'node:crypto';

/** @param {string | Buffer} bytes */
export const base64url = (bytes) => Buffer.from(bytes).toString('base64url');

/** @typedef {'HS256' | 'RS256' | 'ES256' | 'EdDSA'} Algorithm */

/** A key that signs tokens; `publicPem` is what the bridge gets ('' for HS256). */
export class Signer {
    /** @type {import('node:crypto').KeyObject | null} */
    #privateKey = null;

    /**
     * @param {Algorithm} algorithm
     * @param {string} [secret] HS256 only
     */
    constructor(algorithm = 'HS256', secret = randomBytes(32).toString('hex')) {
        this.algorithm = algorithm;
        this.secret = algorithm === 'HS256' ? secret : '';
        this.publicPem = '';
        if (algorithm === 'HS256') return;
        const pair = algorithm === 'RS256' ? generateKeyPairSync('rsa', { modulusLength: 2048 })
            : algorithm === 'ES256' ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
                : generateKeyPairSync('ed25519');
        this.#privateKey = pair.privateKey;
        this.publicPem = String(pair.publicKey.export({ type: 'spki', format: 'pem' }));
    }

    /** @param {string} input */
    signature(input) {
        if (!this.#privateKey) return createHmac('sha256', this.secret).update(input).digest('base64url');
        const hash = this.algorithm === 'EdDSA' ? null : 'sha256';
        const key = { key: this.#privateKey, dsaEncoding: /** @type {const} */ ('ieee-p1363') };
        return sign(hash, Buffer.from(input), key).toString('base64url');
    }

    /**
     * @param {Record<string, unknown>} claims
     * @param {Record<string, unknown>} [header]
     */
    token(claims, header = {}) {
        return this.tokenOf(JSON.stringify({ alg: this.algorithm, typ: 'JWT', ...header }),
                            JSON.stringify(claims));
    }

    /**
     * From the texts themselves, for tokens that JSON.stringify cannot make.
     * @param {string} header
     * @param {string} claims
     */
    tokenOf(header, claims) {
        const input = `${base64url(header)}.${base64url(claims)}`;
        return `${input}.${this.signature(input)}`;
    }
}

/**
 * The usual claims.
 * @param {string} sub
 * @param {{ read?: string[], write?: string[], seconds?: number,
 *           [claim: string]: unknown }} [options] `seconds`: how long it is good
 */
export function claimsOf(sub, { read, write, seconds = 3600, ...others } = {}) {
    const now = Math.floor(Date.now() / 1000);
    /** @type {Record<string, unknown>} */
    const claims = { sub, iat: now, exp: now + seconds, ...others };
    if (read || write) claims.threadcast = { ...(read && { read }), ...(write && { write }) };
    return claims;
}
