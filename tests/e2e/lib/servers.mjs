// Redis and PostgreSQL of a test's own, in directories of its own.

import { Redis } from 'ioredis';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import pg from 'pg';
import { Child, run } from './process.mjs';
import { Proxy } from './proxy.mjs';
import { PATIENCE_MS, until } from './until.mjs';

/** A port that was free a moment ago. */
export async function freePort() {
    const server = net.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = /** @type {net.AddressInfo} */ (server.address());
    server.close();
    await once(server, 'close');
    return port;
}

export class RedisServer {
    /** @type {Child | null} */
    child = null;
    /** @type {Redis | null} */
    #client = null;

    /**
     * @param {string} dir
     * @param {number} port
     * @param {string[]} args more of `redis-server`'s own
     */
    constructor(dir, port, args = []) {
        this.dir = dir;
        this.port = port;
        this.args = args;
    }

    get url() {
        return `redis://127.0.0.1:${this.port}`;
    }

    get socket() {
        return path.join(this.dir, 'redis.sock');
    }

    /** @param {string[]} [more] */
    async start(more = []) {
        fs.mkdirSync(this.dir, { recursive: true });
        const child = new Child('redis', 'redis-server', [
            '--port', String(this.port), '--bind', '127.0.0.1', '--dir', this.dir,
            '--unixsocket', this.socket, '--appendonly', 'yes', '--appendfsync', 'always',
            '--save', '', '--maxmemory-policy', 'noeviction', '--loglevel', 'notice',
            ...this.args, ...more]);
        this.child = child;
        await until(() => !child.running || this.#answers(), {
            what: () => `redis answers\n${child.tail()}` });
        if (!child.running) throw new Error(`redis did not start\n${child.tail()}`);
    }

    async #answers() {
        const probe = this.connect();
        try {
            return await probe.ping() === 'PONG';
        } finally {
            probe.disconnect();
        }
    }

    /** A connection that does not reconnect; the caller disconnects it. */
    connect() {
        const client = new Redis({ port: this.port, host: '127.0.0.1', lazyConnect: false,
                                   retryStrategy: () => null, maxRetriesPerRequest: 0 });
        client.on('error', () => {});
        return client;
    }

    /** The test's own connection, made when first needed and after each restart. */
    get client() {
        if (!this.#client || this.#client.status === 'end' || this.#client.status === 'close') {
            this.#client = this.connect();
        }
        return this.#client;
    }

    /** What `redis-cli` prints. @param {string[]} args */
    async cli(...args) {
        const { stdout, stderr } = await run('redis-cli', ['-p', String(this.port), ...args]);
        return (stdout + stderr).trim();
    }

    /** @param {NodeJS.Signals} [signal] */
    async stop(signal = 'SIGTERM') {
        this.#client?.disconnect();
        this.#client = null;
        if (this.child?.running) await this.child.stop(signal);
    }

    async kill() {
        await this.stop('SIGKILL');
    }

    /**
     * A server that follows this one through a proxy: held, it lags, and what it has not
     * got when this one dies is lost. Answers both; the caller promotes it and stops the
     * proxy.
     * @param {string} dir
     */
    async replica(dir) {
        const wire = await Proxy.start({ port: this.port });
        const server = new RedisServer(dir, await freePort(), this.args);
        await server.start(['--replicaof', `127.0.0.1 ${wire.port}`]);
        await until(async () => /master_link_status:up/.test(await server.client.info('replication')),
                    { what: () => `the replica follows\n${server.child?.tail()}` });
        return { server, wire };
    }

    async promote() {
        await until(async () => await this.client.call('REPLICAOF', 'NO', 'ONE') === 'OK', { what: 'it is a master' });
    }

    /** Forgets everything it stored; only while it is stopped. */
    wipe() {
        for (const name of fs.readdirSync(this.dir)) {
            fs.rmSync(path.join(this.dir, name), { recursive: true, force: true });
        }
    }

    /** Its files as they are now, to be put back later by `restore`; only while stopped. */
    copy() {
        const copy = `${this.dir}-copy-${Date.now()}`;
        fs.cpSync(this.dir, copy, { recursive: true, filter: (name) => !name.endsWith('.sock') });
        return copy;
    }

    /** @param {string} copy */
    restore(copy) {
        this.wipe();
        fs.cpSync(copy, this.dir, { recursive: true });
    }
}

/** Debian keeps PostgreSQL's programs out of PATH. @param {string} name */
function postgresProgram(name) {
    const base = '/usr/lib/postgresql';
    const versions = fs.existsSync(base) ? fs.readdirSync(base).sort((a, b) => Number(b) - Number(a)) : [];
    for (const version of versions) {
        const program = path.join(base, version, 'bin', name);
        if (fs.existsSync(program)) return program;
    }
    return name;
}

/** PostgreSQL refuses to run as root: then it runs as its own user. */
function postgresUser() {
    if (process.getuid?.() !== 0) return {};
    const id = (/** @type {string} */ flag) => Number(execFileSync('id', [flag, 'postgres']));
    return { uid: id('-u'), gid: id('-g') };
}

export class Postgres {
    /** @type {Child | null} */
    child = null;
    /** @type {pg.Pool | null} */
    #pool = null;
    #user = postgresUser();

    /** @param {string} dir a directory of its own */
    constructor(dir) {
        this.dir = dir;
        this.data = path.join(dir, 'data');
        this.password = 'threadcast-e2e-password';
    }

    /** by its socket, which lies in its directory */
    get url() {
        return this.urlAs('threadcast');
    }

    /** @param {string} user */
    urlAs(user) {
        return `postgresql://${user}:${this.password}@/threadcast?host=${encodeURIComponent(this.dir)}`;
    }

    /** A fresh cluster, copied from one that is made once per machine and version. */
    async create() {
        fs.mkdirSync(this.dir, { recursive: true });
        if (this.#user.uid !== undefined) fs.chownSync(this.dir, this.#user.uid, this.#user.gid);
        const template = await this.#template();
        const copied = await run('cp', ['-a', template, this.data], this.#user);
        if (copied.code) throw new Error(`cp: ${copied.stderr}`);
    }

    async #template() {
        const initdb = postgresProgram('initdb');
        const { stdout } = await run(initdb, ['--version']);
        const tag = stdout.replace(/[^0-9.]+/g, '').slice(0, 12);
        const final = `/var/tmp/threadcast-e2e-${process.getuid?.()}-pg${tag}`; // for the next time, too
        if (fs.existsSync(final)) return final;
        const fresh = fs.mkdtempSync('/var/tmp/threadcast-initdb-');
        fs.chmodSync(fresh, 0o755);
        if (this.#user.uid !== undefined) fs.chownSync(fresh, this.#user.uid, this.#user.gid);
        const made = path.join(fresh, 'data');
        const result = await run(initdb, ['-D', made, '-U', 'threadcast', '-A', 'trust', '-E', 'UTF8',
            '--locale=C.UTF-8', '--no-sync'], { ...this.#user, cwd: fresh });
        if (result.code) throw new Error(`initdb: ${result.stdout}${result.stderr}`);
        try {
            fs.renameSync(made, final);
        } catch (error) {
            if (!fs.existsSync(final)) throw error; // else another test was faster
        }
        fs.rmSync(fresh, { recursive: true, force: true });
        return final;
    }

    /** @param {string[]} [settings] like `max_connections=20` */
    async start(settings = []) {
        const child = new Child('postgres', postgresProgram('postgres'), ['-D', this.data,
            '-c', `unix_socket_directories=${this.dir}`, '-c', 'listen_addresses=',
            '-c', 'fsync=off', '-c', 'full_page_writes=off',
            '-c', 'shared_buffers=16MB', '-c', 'max_connections=200', '-c', 'log_min_messages=warning',
            ...settings.flatMap((setting) => ['-c', setting])], { ...this.#user, cwd: this.dir });
        this.child = child;
        await until(() => !child.running || this.#answers(), {
            timeout: 3 * PATIENCE_MS, what: () => `postgres answers\n${child.tail()}` });
        if (!child.running) throw new Error(`postgres did not start\n${child.tail()}`);
        await this.#createDatabase();
    }

    #config(database = 'postgres') {
        return { host: this.dir, user: 'threadcast', database };
    }

    async #answers() {
        const client = new pg.Client(this.#config());
        client.on('error', () => {});
        await client.connect();
        await client.query('select 1');
        await client.end();
        return true;
    }

    async #createDatabase() {
        const client = new pg.Client(this.#config());
        await client.connect();
        const found = await client.query(`select 1 from pg_database where datname = 'threadcast'`);
        if (!found.rowCount) await client.query('create database threadcast');
        await client.end();
    }

    /**
     * One statement in the schema `threadcast`; answers its rows.
     * @param {string} sql
     * @param {unknown[]} [values]
     * @returns {Promise<any[]>}
     */
    async query(sql, values = []) {
        if (!this.#pool) {
            this.#pool = new pg.Pool({ ...this.#config('threadcast'), max: 4,
                                       options: '-c search_path=threadcast,public',
                                       application_name: 'e2e' });
            this.#pool.on('error', () => {});
        }
        return (await this.#pool.query(sql, values)).rows;
    }

    /** @param {NodeJS.Signals} [signal] SIGINT: fast, SIGQUIT: as in a crash */
    async stop(signal = 'SIGINT') {
        await this.#pool?.end().catch(() => {});
        this.#pool = null;
        if (this.child?.running) await this.child.stop(signal);
    }

    /** @param {NodeJS.Signals} [signal] */
    async restart(signal = 'SIGINT') {
        await this.stop(signal);
        await this.start();
    }
}
