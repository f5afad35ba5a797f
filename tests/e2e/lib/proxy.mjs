// A TCP proxy that cuts, holds, delays, dribbles and counts: the network's bad days, on demand.

import net from 'node:net';
import { once } from 'node:events';

/**
 * @typedef {object} Link one connection through the proxy
 * @property {number} index from 0
 * @property {net.Socket} client
 * @property {net.Socket} server
 * @property {number} down bytes that went to the client
 */

export class Proxy {
    #server;
    #target;
    #held = false;
    #refusing = false;
    #delayMs = 0;
    #dribble = Infinity;
    #dribbleMs = 0;
    /** @type {RegExp | null} */
    #unanswered = null;
    /** @type {Set<Link>} */
    #links = new Set();

    /** how many connections there were */
    count = 0;
    /** links cut by the plan */
    cuts = 0;
    /** links that wait for the answer to something, see muteAnswer */
    muted = 0;

    /**
     * After how many bytes towards the client connection `index` is cut; Infinity: never.
     * @type {(index: number) => number}
     */
    plan;

    /**
     * @param {{ port: number, host?: string } | { path: string }} target
     * @param {{ plan?: (index: number) => number }} [options]
     */
    constructor(target, { plan = () => Infinity } = {}) {
        this.#target = target;
        this.plan = plan;
        this.#server = net.createServer((client) => this.#onClient(client));
    }

    /**
     * @param {{ port: number, host?: string } | { path: string }} target
     * @param {{ plan?: (index: number) => number }} [options]
     */
    static async start(target, options) {
        const proxy = new Proxy(target, options);
        proxy.#server.listen(0, '127.0.0.1');
        await once(proxy.#server, 'listening');
        return proxy;
    }

    get port() {
        return /** @type {net.AddressInfo} */ (this.#server.address()).port;
    }

    get open() {
        return this.#links.size;
    }

    /** @param {net.Socket} client */
    #onClient(client) {
        if (this.#refusing) {
            client.destroy();
            return;
        }
        const index = this.count++;
        const server = net.connect(/** @type {any} */ (this.#target));
        const link = { index, client, server, down: 0 };
        const limit = this.plan(index);
        this.#links.add(link);
        client.setNoDelay(true);
        server.setNoDelay(true);
        client.on('data', (bytes) => {
            if (this.#unanswered?.test(bytes.toString('latin1'))) {
                this.#unanswered = null;
                this.muted++;
                server.pause();
            }
            this.#pass(bytes, client, server);
        });
        server.on('data', (bytes) => this.#onDown(link, bytes, limit));
        if (this.#held) {
            client.pause();
            server.pause();
        }
        client.on('end', () => server.end());
        server.on('end', () => client.end());
        for (const [socket, other] of [[client, server], [server, client]]) {
            socket.on('error', () => other.destroy());
            socket.on('close', () => {
                this.#links.delete(link);
                other.destroySoon();
            });
        }
    }

    /**
     * @param {Link} link
     * @param {Buffer} bytes
     * @param {number} limit
     */
    #onDown(link, bytes, limit) {
        const room = limit - link.down;
        if (bytes.length < room) {
            link.down += bytes.length;
            this.#pass(bytes, link.server, link.client);
            return;
        }
        link.down = limit;
        this.cuts++;
        this.#links.delete(link);
        link.server.destroy();
        // the bytes before the cut do arrive; what follows is a FIN in the middle
        link.client.end(bytes.subarray(0, room));
    }

    /**
     * Bytes go on as the weather is: at once, later, or a few at a time. Later ones of the
     * same direction wait (`from` is not read meanwhile), so their order stays.
     * @param {Buffer} bytes
     * @param {net.Socket} from
     * @param {net.Socket} to
     */
    #pass(bytes, from, to) {
        const step = Math.min(this.#dribble, bytes.length);
        if (!this.#delayMs && !this.#dribbleMs && step === bytes.length) {
            to.write(bytes);
            return;
        }
        from.pause();
        let at = 0;
        const next = () => {
            if (to.destroyed) return;
            to.write(bytes.subarray(at, at + step));
            at += step;
            const more = at < bytes.length ? next : () => this.#held || from.resume();
            if (this.#dribbleMs) setTimeout(more, this.#dribbleMs);
            else if (at < bytes.length) setImmediate(next);
            else more();
        };
        if (this.#delayMs) setTimeout(next, this.#delayMs);
        else next();
    }

    /** Every piece arrives that much later. @param {number} ms 0: at once again */
    delay(ms) {
        this.#delayMs = ms;
    }

    /** At most so many bytes at a time. @param {number} bytes Infinity: as they come @param {number} everyMs */
    dribble(bytes, everyMs = 0) {
        this.#dribble = bytes;
        this.#dribbleMs = everyMs;
    }

    /** No byte passes, no connection closes: a peer that has gone without a word. */
    hold() {
        this.#held = true;
        for (const { client, server } of this.#links) {
            client.pause();
            server.pause();
        }
    }

    /**
     * Holds one connection: the one that reaches the server from this port.
     * @param {number} port
     */
    holdOne(port) {
        for (const { client, server } of this.#links) {
            if (server.localPort !== port) continue;
            client.pause();
            server.pause();
            return true;
        }
        return false;
    }

    /** What the servers say to the connections of now does not arrive; what they hear does. */
    muteServers() {
        for (const { server } of this.#links) server.pause();
    }

    /** What says this next hears nothing more, until `release`; the server hears it.
     *  @param {RegExp} asked */
    muteAnswer(asked) {
        this.#unanswered = asked;
    }

    release() {
        this.#held = false;
        for (const { client, server } of this.#links) {
            client.resume();
            server.resume();
        }
    }

    /** @param {boolean} refusing close new connections at once */
    refuse(refusing) {
        this.#refusing = refusing;
    }

    /** Resets all that is open now: what was under way is gone (RST). */
    resetAll() {
        for (const { client, server } of this.#links) {
            client.resetAndDestroy();
            server.destroy(); // it may be a Unix socket: they know no RST
        }
        this.#links.clear();
    }

    /** Cuts all that is open now. */
    cutAll() {
        for (const { client, server } of this.#links) {
            client.destroy();
            server.destroy();
        }
        this.#links.clear();
    }

    async stop() {
        this.cutAll();
        this.#server.close();
        await once(this.#server, 'close');
    }
}
