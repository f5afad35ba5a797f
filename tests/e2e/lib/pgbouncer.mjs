// Debian's PgBouncer, pooling by transactions, between the daemons and a test's PostgreSQL.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import { Child } from './process.mjs';
import { freePort } from './servers.mjs';
import { until } from './until.mjs';

/** It refuses to run as root. */
function user() {
    if (process.getuid?.() !== 0) return {};
    const id = (/** @type {string} */ flag) => Number(execFileSync('id', [flag, 'postgres']));
    return { uid: id('-u'), gid: id('-g') };
}

export class PgBouncer {
    /** @type {Child | null} */
    child = null;
    #user = user();

    /**
     * @param {string} dir
     * @param {import('./servers.mjs').Postgres} postgres
     * @param {number} port
     * @param {Record<string, string | number>} settings
     */
    constructor(dir, postgres, port, settings) {
        this.dir = dir;
        this.postgres = postgres;
        this.port = port;
        this.settings = settings;
    }

    /**
     * @param {string} dir a directory of its own
     * @param {import('./servers.mjs').Postgres} postgres
     * @param {Record<string, string | number>} [settings]
     */
    static async start(dir, postgres, settings = {}) {
        const bouncer = new PgBouncer(dir, postgres, await freePort(), settings);
        await bouncer.start();
        return bouncer;
    }

    /** @param {string} [role] */
    urlAs(role = 'threadcast') {
        return `postgresql://${role}:${this.postgres.password}@127.0.0.1:${this.port}/threadcast`;
    }

    get url() {
        return this.urlAs();
    }

    #write() {
        const { dir, postgres } = this;
        fs.mkdirSync(dir, { recursive: true });
        const users = ['threadcast', 'stats', 'chat_bridge', 'chat_worker'];
        fs.writeFileSync(path.join(dir, 'users'),
                         users.map((name) => `"${name}" "${postgres.password}"\n`).join(''));
        const settings = {
            listen_addr: '127.0.0.1', listen_port: this.port, unix_socket_dir: '',
            auth_type: 'plain', auth_file: path.join(dir, 'users'), stats_users: 'stats',
            pool_mode: 'transaction', default_pool_size: 3, max_client_conn: 200,
            server_login_retry: 1, ...this.settings,
        };
        fs.writeFileSync(path.join(dir, 'pgbouncer.ini'),
            `[databases]\nthreadcast = host=${postgres.dir}\n[pgbouncer]\n` +
            Object.entries(settings).map(([name, value]) => `${name} = ${value}\n`).join(''));
        if (this.#user.uid !== undefined) fs.chownSync(dir, this.#user.uid, this.#user.gid);
    }

    async start() {
        this.#write();
        const child = new Child('pgbouncer', '/usr/sbin/pgbouncer', [path.join(this.dir, 'pgbouncer.ini')],
                                { ...this.#user, cwd: this.dir });
        this.child = child;
        await until(async () => {
            if (!child.running) return true;
            await (await this.connect()).end();
            return true;
        }, { what: () => `pgbouncer answers\n${child.tail()}` });
        if (!child.running) throw new Error(`pgbouncer did not start\n${child.tail()}`);
    }

    /** A client of its own; the caller ends it. */
    async connect() {
        const client = new pg.Client({ connectionString: this.url });
        client.on('error', () => {});
        await client.connect();
        return client;
    }

    /** @param {NodeJS.Signals} [signal] SIGTERM: at once */
    async stop(signal = 'SIGTERM') {
        if (this.child?.running) await this.child.stop(signal);
    }
}
