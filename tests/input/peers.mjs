// nginx and HAProxy, as reverse proxies in front of somebody: Debian's programs with a
// configuration, ports and files of the test's own, in the foreground.

import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { Child } from '../e2e/lib/process.mjs';
import { freePort } from '../e2e/lib/servers.mjs';
import { until } from '../e2e/lib/until.mjs';

/** @param {string} name Debian keeps them out of a user's PATH */
const program = (name) => ['/usr/sbin', '/usr/bin', '/usr/local/sbin'].map((dir) => path.join(dir, name))
    .find((file) => fs.existsSync(file)) ?? name;

/** @param {string} dir @param {number} port @param {number} upstream */
const nginxConf = (dir, port, upstream) => `
daemon off;
master_process off;
pid ${dir}/nginx.pid;
error_log stderr crit;
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path ${dir}/body;
    proxy_temp_path ${dir}/proxy;
    fastcgi_temp_path ${dir}/fastcgi;
    uwsgi_temp_path ${dir}/uwsgi;
    scgi_temp_path ${dir}/scgi;
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
    }
}
`;

/** @param {string} _dir @param {number} port @param {number} upstream */
const haproxyConf = (_dir, port, upstream) => `
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
`;

const KINDS = {
    nginx: { conf: nginxConf, args: (/** @type {string} */ file) => ['-e', 'stderr', '-c', file] },
    haproxy: { conf: haproxyConf, args: (/** @type {string} */ file) => ['-db', '-f', file] },
};

export class Peer {
    /** @param {string} name @param {Child} child @param {number} port */
    constructor(name, child, port) {
        this.name = name;
        this.child = child;
        this.port = port;
    }

    /** @param {'nginx' | 'haproxy'} name @param {string} dir @param {number} upstream */
    static async start(name, dir, upstream) {
        const port = await freePort();
        const own = fs.mkdtempSync(path.join(dir, `${name}-`));
        const file = path.join(own, `${name}.conf`);
        fs.writeFileSync(file, KINDS[name].conf(own, port, upstream));
        const child = new Child(name, program(name), KINDS[name].args(file));
        await until(async () => {
            if (!child.running) return true;
            const socket = net.connect({ port, host: '127.0.0.1' });
            await once(socket, 'connect');
            socket.destroy();
            return true;
        }, { what: () => `${name} listens\n${child.tail()}` });
        if (!child.running) throw new Error(`${name} did not start\n${child.tail()}`);
        return new Peer(name, child, port);
    }

    async stop() {
        if (this.child.running) await this.child.stop('SIGKILL');
    }
}

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
