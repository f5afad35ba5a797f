// Between a daemon and the real Redis: knows which reply answers which command, hands on whole
// ones, and puts bytes of its own between them, cuts one short, or hands on single bytes.

import net from 'node:net';
import { once } from 'node:events';
import { until } from '../e2e/lib/until.mjs';

/** What happens to the next reply of a kind: it is cut behind its first bytes, or has bytes
 *  beside it that Redis never sent. `reply`: the one that it happened to.
 *  @typedef {{ of: Kind, cutAt?: number, before?: Buffer, behind?: Buffer, reply?: Buffer }} Trick */

/** Whether it is this reply. @typedef {(command: string, reply: Buffer) => boolean} Kind `command`:
 *  the whole of it, raw; of what a subscriber hears: `message`, `subscribe` or `unsubscribe` */

/**
 * One connection.
 * @typedef {object} Link
 * @property {string} name by CLIENT SETNAME
 * @property {net.Socket} client
 * @property {net.Socket} server
 * @property {string[]} asked commands without an answer
 * @property {Set<string>} answered names of commands that were answered
 * @property {Set<string>} threads whose runs publish here
 * @property {Buffer} first what it has heard, up to where it was set up
 * @property {boolean} setUp
 * @property {number} heard bytes
 * @property {number} cutAt of the bytes of its life
 * @property {boolean} cut
 * @property {Trick | null} trick
 * @property {Promise<void>} queue
 */

const NOTHING = Buffer.alloc(0);
const PUSH = /^\*3\r\n\$\d+\r\n(message|subscribe|unsubscribe)\r\n/;

/** The last command of setting up, by what the connection is for @type {Record<string, string>} */
const LAST = { subscribe: 'subscribe', control: 'subscribe', read: 'PING', alive: 'SET', publish: 'SCRIPT' };

/** @param {Link} link */
const isSetUp = ({ name, answered }) => {
    const job = name.replace(/^.*:|-\d+$/g, '');
    return answered.has('PING') && answered.has(LAST[job]) && (!/worker:\w+:publish/.test(name) || answered.has('PUBLISH'));
};

/** How long the first RESP value is; 0: it is not whole. @param {Buffer} bytes @param {number} [from] @returns {number} */
export function respLength(bytes, from = 0) {
    const line = bytes.indexOf('\r\n', from) + 2 - from;
    if (line < 2) return 0;
    const kind = String.fromCharCode(bytes[from]);
    const count = Number(bytes.toString('latin1', from + 1, from + line - 2));
    if (kind === '$' && count >= 0) return bytes.length - from < line + count + 2 ? 0 : line + count + 2;
    let length = line;
    for (let i = 0; kind === '*' && i < count; i++) {
        const next = respLength(bytes, from + length);
        if (!next) return 0;
        length += next;
    }
    return length;
}

/** Calls `on` with each whole RESP value. @param {(value: Buffer) => void} on @returns {(bytes: Buffer) => void} */
function whole(on) {
    let rest = NOTHING;
    return (bytes) => {
        rest = Buffer.concat([rest, bytes]);
        for (let length = respLength(rest); length; length = respLength(rest)) {
            const value = rest.subarray(0, length);
            rest = rest.subarray(length);
            on(value);
        }
    };
}

export class RespProxy {
    #server;
    #port;
    /** @type {Set<Link>} */
    links = new Set();
    /** where the next connections of these names are cut @type {Map<string, number>} */
    #births = new Map();
    /** names whose connections are cut before they hear anything @type {Set<string>} */
    refused = new Set();
    /** names of connections that were cut, one for each cut @type {string[]} */
    cuts = [];
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
        const link = { name: '', client, server, asked: [], answered: new Set(), threads: new Set(), first: NOTHING,
                       setUp: false, heard: 0, cutAt: Infinity, cut: false, trick: null, queue: Promise.resolve() };
        this.links.add(link);
        client.setNoDelay(true);
        const commands = whole((command) => this.#onCommand(link, command.toString('latin1')));
        const replies = whole((reply) => this.#onReply(link, reply));
        client.on('data', (bytes) => {
            commands(bytes);
            server.write(bytes);
        });
        server.on('data', replies);
        for (const [socket, other] of [[client, server], [server, client]]) {
            socket.on('error', () => other.destroy());
            socket.on('close', () => {
                this.links.delete(link);
                other.destroy();
            });
        }
    }

    /** @param {Link} link @param {string} command */
    #onCommand(link, command) {
        // what the connection is for: `CLIENT SETNAME threadcast-bridge:<instance>:<job>`
        const [, name] = /SETNAME\r\n\$\d+\r\n(\S+)/.exec(command) ?? [];
        if (name && !link.name) {
            link.name = name;
            link.cutAt = this.refused.has(name) ? 0 : this.#births.get(name) ?? Infinity;
            this.#births.delete(name);
        }
        const [, thread] = /\r\n(?:begin|publish)\r\n\$\d+\r\nthread:(\S+)\r\n/.exec(command) ?? [];
        if (thread) link.threads.add(thread);
        if (!/^\*\d+\r\n\$\d+\r\n(UN)?SUBSCRIBE\r\n/.test(command)) link.asked.push(command);
    }

    /** @param {Link} link @param {Buffer} reply */
    #onReply(link, reply) {
        if (link.cut) return;
        const [, push] = PUSH.exec(reply.toString('latin1', 0, 40)) ?? [];
        const command = push ?? link.asked.shift() ?? '';
        link.answered.add(push ?? command.split('\r\n')[2]);
        if (link.heard + reply.length > link.cutAt) {
            this.#cut(link, reply.subarray(0, link.cutAt - link.heard));
            return;
        }
        link.heard += reply.length;
        if (!link.setUp) link.first = Buffer.concat([link.first, reply]);
        link.setUp ||= isSetUp(link);
        const { trick } = link;
        if (!trick || trick.reply || !trick.of(command, reply)) {
            this.#write(link, reply);
            return;
        }
        trick.reply = reply;
        if (trick.cutAt !== undefined) this.#cut(link, reply.subarray(0, trick.cutAt));
        else this.#write(link, Buffer.concat([trick.before ?? NOTHING, reply, trick.behind ?? NOTHING]));
    }

    /** @param {Link} link @param {Buffer} bytes */
    #write(link, bytes) {
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

    /** @param {Link} link @param {Buffer} bytes the last that it hears */
    #cut(link, bytes) {
        link.cut = true;
        this.cuts.push(link.name);
        link.client.end(bytes);
        link.server.destroy();
    }

    /** Connections of a job (`subscribe`, `read`, `publish`, …) of the bridge or the worker.
     *  @param {RegExp} what */
    of(what) {
        return [...this.links].filter((link) => what.test(link.name));
    }

    /** The connection of this name, once it is set up. @param {string} name @returns {Promise<Link>} */
    async ready(name) {
        return until(() => this.of(/./).find((link) => link.name === name && link.setUp && !link.cut), {
            what: () => `${name} is set up: ${this.of(/./).map((link) => `${link.name} ${[...link.answered].join('+')}`)}` });
    }

    /** Bytes that Redis never sent. @param {Link} link @param {Buffer} bytes */
    inject(link, bytes) {
        link.client.write(bytes);
    }

    /** The next connection of this name is cut behind the first bytes that it hears.
     *  @param {string} name @param {number} at */
    cutNext(name, at) {
        this.#births.set(name, at);
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
