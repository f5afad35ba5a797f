// Proxies in front of somebody: Debian's nginx, HAProxy and Caddy, each with a configuration,
// ports and files of the test's own, in the foreground.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Child } from './process.mjs';
import { freePort } from './servers.mjs';
import { until } from './until.mjs';

const DOCS = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../../docs/proxies');

/** @param {string} name Debian keeps them out of a user's PATH */
export const program = (name) => ['/usr/sbin', '/usr/bin', '/usr/local/sbin'].map((dir) => path.join(dir, name))
    .find((file) => fs.existsSync(file)) ?? name;

/** A file of docs/proxies with a test's addresses. @param {string} name @param {[string, string][]} changes */
export function documented(name, changes) {
    let text = fs.readFileSync(path.join(DOCS, name), 'utf8');
    for (const [from, to] of changes) {
        assert.ok(text.includes(from), `docs/proxies/${name} has no ${from} any more`);
        text = text.replaceAll(from, to);
    }
    return text;
}

/** What nginx has outside of its `http { }`, and the files it writes.
 *  @param {string} dir @param {string} http */
export const nginxConf = (dir, http) => `
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
${http}
}
`;

/** How each is started with a file. @type {Record<string, (file: string) => string[]>} */
const ARGS = {
    nginx: (file) => ['-e', 'stderr', '-c', file],
    haproxy: (file) => ['-db', '-f', file],
    caddy: (file) => ['run', '--adapter', 'caddyfile', '--config', file],
};

export class Front {
    /** @param {string} name @param {Child} child @param {number} port */
    constructor(name, child, port) {
        this.name = name;
        this.child = child;
        this.port = port;
    }

    /**
     * Starts one and waits until it listens.
     * @param {'nginx' | 'haproxy' | 'caddy'} name
     * @param {string} dir
     * @param {(dir: string, port: number) => string} conf for a directory of its own and a port
     * @param {number} [port]
     */
    static async start(name, dir, conf, port) {
        const own = fs.mkdtempSync(path.join(dir, `${name}-`));
        const file = path.join(own, `${name}.conf`);
        const listens = port ?? await freePort();
        fs.writeFileSync(file, conf(own, listens));
        const env = { HOME: own, XDG_DATA_HOME: own, XDG_CONFIG_HOME: own }; // Caddy keeps things
        return Front.of(new Child(name, program(name), ARGS[name](file), { env }), listens);
    }

    /** What was started some other way. @param {Child} child @param {number} port */
    static async of(child, port) {
        await reachable(child, port);
        return new Front(child.name, child, port);
    }

    get origin() {
        return `http://127.0.0.1:${this.port}`;
    }

    /** @param {string} to @param {RequestInit} [init] */
    fetch(to, init) {
        return fetch(`${this.origin}${to}`, init);
    }

    async stop() {
        if (this.child.running) await this.child.stop('SIGKILL');
    }
}

/** Waits until a child takes connections. @param {Child} child @param {number} port */
async function reachable(child, port) {
    await until(async () => {
        if (!child.running) return true;
        const socket = net.connect({ port, host: '127.0.0.1' });
        await once(socket, 'connect');
        socket.destroy();
        return true;
    }, { what: () => `${child.name} listens\n${child.tail()}` });
    if (!child.running) throw new Error(`${child.name} did not start\n${child.tail()}`);
}
