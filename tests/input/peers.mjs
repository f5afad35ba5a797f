// nginx and HAProxy, as reverse proxies in front of somebody, and what they write.

import { once } from 'node:events';
import net from 'node:net';
import { Front, nginxConf } from '../e2e/lib/fronts.mjs';

/** @type {Record<string, (upstream: number) => (dir: string, port: number) => string>} */
const CONF = {
    nginx: (upstream) => (dir, port) => nginxConf(dir, `
    upstream behind { server 127.0.0.1:${upstream}; keepalive 4; }
    server {
        listen 127.0.0.1:${port};
        location / {
            proxy_pass http://behind;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Connection "";
            proxy_ignore_client_abort on;
            proxy_buffering off;
        }
    }`),
    haproxy: (upstream) => (_dir, port) => `
global
    maxconn 256
defaults
    mode http
    timeout connect 5s
    timeout client 20s
    timeout server 20s
    http-reuse always
listen all
    bind 127.0.0.1:${port}
    server behind 127.0.0.1:${upstream}
`,
};

/** @param {'nginx' | 'haproxy'} name @param {string} dir @param {number} upstream */
export const startPeer = (name, dir, upstream) => Front.start(name, dir, CONF[name](upstream));

/** What a proxy has written, taken apart into requests: their framing is beyond doubt, because
 *  a proxy writes it anew. */
class Requests {
    #bytes = Buffer.alloc(0);
    #known = false; // the request at the front is among the heads

    /** @param {Buffer} more @param {(head: string) => void} onHead @param {(head: string) => void} onWhole */
    feed(more, onHead, onWhole) {
        this.#bytes = Buffer.concat([this.#bytes, more]);
        for (;;) {
            const end = this.#bytes.indexOf('\r\n\r\n');
            if (end < 0) return;
            const head = this.#bytes.subarray(0, end).toString('latin1');
            if (!this.#known) onHead(head);
            const length = requestLength(this.#bytes, head);
            this.#known = length === 0;
            if (this.#known) return;
            this.#bytes = this.#bytes.subarray(length);
            onWhole(head);
        }
    }
}

/** How long the first request is; 0: it is not whole. @param {Buffer} bytes @param {string} head */
function requestLength(bytes, head) {
    if (/\r\ntransfer-encoding:/i.test(head)) {
        const last = bytes.indexOf('0\r\n\r\n', head.length);
        return last < 0 ? 0 : last + 5;
    }
    const length = head.length + 4 + Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
    return bytes.length < length ? 0 : length;
}

/** Behind a proxy: counts the requests that it writes. */
export class Behind {
    #server;
    #upstream;
    /** @type {string[]} heads since `begin` */
    heads = [];
    /** how many of them came whole */
    whole = 0;

    /** @param {number} upstream where they go; 0: answered here, with 200 */
    constructor(upstream) {
        this.#upstream = upstream;
        this.#server = net.createServer((socket) => this.#onSocket(socket));
    }

    /** @param {number} [upstream] */
    static async start(upstream = 0) {
        const behind = new Behind(upstream);
        behind.#server.listen(0, '127.0.0.1');
        await once(behind.#server, 'listening');
        return behind;
    }

    get port() {
        return /** @type {net.AddressInfo} */ (this.#server.address()).port;
    }

    begin() {
        this.heads = [];
        this.whole = 0;
    }

    /** @param {net.Socket} socket */
    #onSocket(socket) {
        const requests = new Requests();
        const server = this.#upstream ? net.connect({ port: this.#upstream, host: '127.0.0.1' }) : null;
        socket.on('error', () => socket.destroy());
        socket.on('close', () => server?.destroy());
        server?.on('error', () => socket.destroy());
        server?.pipe(socket);
        socket.on('data', (more) => {
            requests.feed(more, (head) => this.heads.push(head), (head) => {
                this.whole++;
                if (!server) socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n${head.startsWith('HEAD ') ? '' : 'ok\n'}`);
            });
            server?.write(more);
        });
    }

    stop() {
        this.#server.close();
    }
}
