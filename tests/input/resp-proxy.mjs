// Between a daemon and the real Redis: puts bytes of its own between replies, cuts replies
// short, and hands them on one byte at a time.

import net from 'node:net';
import { once } from 'node:events';

/** @typedef {{ name: string, client: net.Socket, server: net.Socket, cutAt: number, queue: Promise<void> }} Link */

export class RespProxy {
    #server;
    #port;
    /** @type {Set<Link>} */
    links = new Set();
    /** every reply in single bytes */
    bytewise = false;

    /** @param {number} port of Redis */
    constructor(port) {
        this.#port = port;
        this.#server = net.createServer((client) => this.#onClient(client));
    }

    /** @param {number} port */
    static async start(port) {
        const proxy = new RespProxy(port);
        proxy.#server.listen(0, '127.0.0.1');
        await once(proxy.#server, 'listening');
        return proxy;
    }

    get url() {
        return `redis://127.0.0.1:${/** @type {net.AddressInfo} */ (this.#server.address()).port}`;
    }

    /** @param {net.Socket} client */
    #onClient(client) {
        const server = net.connect({ port: this.#port, host: '127.0.0.1' });
        /** @type {Link} */
        const link = { name: '', client, server, cutAt: Infinity, queue: Promise.resolve() };
        this.links.add(link);
        client.setNoDelay(true);
        client.on('data', (bytes) => {
            // what the connection is for: `CLIENT SETNAME threadcast-bridge:<instance>:<job>`
            link.name ||= /SETNAME\r\n\$\d+\r\n(\S+)/.exec(bytes.toString('latin1'))?.[1] ?? '';
            server.write(bytes);
        });
        server.on('data', (bytes) => this.#onReply(link, bytes));
        for (const [socket, other] of [[client, server], [server, client]]) {
            socket.on('error', () => other.destroy());
            socket.on('close', () => {
                this.links.delete(link);
                other.destroy();
            });
        }
    }

    /** @param {Link} link @param {Buffer} bytes */
    #onReply(link, bytes) {
        if (bytes.length >= link.cutAt) {
            link.client.end(bytes.subarray(0, link.cutAt));
            link.server.destroy();
            return;
        }
        if (!this.bytewise) {
            link.client.write(bytes);
            return;
        }
        link.queue = link.queue.then(async () => {
            for (const byte of bytes) {
                if (link.client.destroyed) return;
                await new Promise((resolve) => link.client.write(Buffer.of(byte), resolve));
            }
        });
    }

    /** Connections of a job (`subscribe`, `read`, `publish`, …) of the bridge or the worker.
     *  @param {RegExp} what */
    of(what) {
        return [...this.links].filter((link) => what.test(link.name));
    }

    /** Bytes that Redis never sent. @param {Link} link @param {Buffer} bytes */
    inject(link, bytes) {
        link.client.write(bytes);
    }

    /** Cuts the connection behind the first bytes of the next reply. @param {Link} link @param {number} at */
    cutNext(link, at) {
        link.cutAt = at;
    }

    async stop() {
        for (const { client, server } of this.links) {
            client.destroy();
            server.destroy();
        }
        this.#server.close();
        await once(this.#server, 'close');
    }
}
