// Redis under Sentinel: a master, a replica and a few sentinels, with timers short enough
// for a test.

import fs from 'node:fs';
import path from 'node:path';
import { Child } from './process.mjs';
import { freePort, RedisServer } from './servers.mjs';
import { until } from './until.mjs';
import { Redis } from 'ioredis';

export const MASTER = 'main';

export class Sentinels {
    /** @type {RedisServer[]} */
    servers = [];
    /** @type {{ port: number, child: Child | null, file: string }[]} */
    sentinels = [];

    /**
     * @param {string} dir a directory of its own
     * @param {{ count?: number, password?: string }} [options] password: of the sentinels
     */
    constructor(dir, { count = 3, password = '' } = {}) {
        this.dir = dir;
        this.count = count;
        this.password = password;
    }

    /** @param {string} [query] */
    url(query = '') {
        return `redis+sentinel://${this.sentinels.map((s) => `127.0.0.1:${s.port}`).join(',')}/${MASTER}${query}`;
    }

    /** The two servers; the sentinels are not there yet, but it is known where they will be. */
    async start() {
        fs.mkdirSync(this.dir, { recursive: true });
        const server = async (/** @type {string} */ name) => new RedisServer(path.join(this.dir, name), await freePort(),
            ['--replica-read-only', 'yes', '--repl-diskless-sync-delay', '0', '--repl-ping-replica-period', '1']);
        this.servers = [await server('a'), await server('b')];
        await this.servers[0].start();
        await this.servers[1].start(['--replicaof', `127.0.0.1 ${this.servers[0].port}`]);
        for (let i = 0; i < this.count; i++) {
            this.sentinels.push({ port: await freePort(), child: null, file: path.join(this.dir, `sentinel-${i}.conf`) });
        }
        await until(async () => /master_link_status:up/.test(await this.servers[1].client.info('replication')),
                    { what: () => `the replica follows\n${this.servers[1].child?.tail()}` });
    }

    #configure() {
        for (const { port, file } of this.sentinels) {
            fs.writeFileSync(file, [
                `port ${port}`, 'bind 127.0.0.1', `dir ${this.dir}`,
                ...(this.password ? [`requirepass ${this.password}`] : []),
                `sentinel monitor ${MASTER} 127.0.0.1 ${this.servers[0].port} ${Math.floor(this.count / 2) + 1}`,
                `sentinel down-after-milliseconds ${MASTER} 1000`, `sentinel failover-timeout ${MASTER} 3000`, ''].join('\n'));
        }
    }

    async startSentinels() {
        this.#configure();
        for (const sentinel of this.sentinels) {
            sentinel.child = new Child(`sentinel:${sentinel.port}`, 'redis-server', [sentinel.file, '--sentinel']);
        }
        for (let i = 0; i < this.count; i++) {
            // so that they meet early; and one that got no CPU for 2 s is not to rest for 30
            await until(() => this.ask(i, 'DEBUG', 'info-period', '1000', 'publish-period', '200',
                                       'ask-period', '100', 'tilt-trigger', '20000'), { what: 'a sentinel answers' });
        }
        await until(async () => {
            for (let i = 0; i < this.count; i++) {
                const [state] = /** @type {any[]} */ (await this.ask(i, 'MASTERS'));
                const field = (/** @type {string} */ name) => Number(state[state.indexOf(name) + 1]);
                if (field('num-slaves') < 1 || field('num-other-sentinels') < this.count - 1) return false;
            }
            return true;
        }, { what: () => `the sentinels know each other\n${this.sentinels[0].child?.tail()}` });
    }

    /** `SENTINEL …` of one of them. @param {number} i @param {string[]} words */
    async ask(i, ...words) {
        const client = new Redis({ port: this.sentinels[i].port, host: '127.0.0.1', retryStrategy: () => null,
                                   maxRetriesPerRequest: 0, enableReadyCheck: false,
                                   ...(this.password && { password: this.password }) });
        client.on('error', () => {});
        try {
            return await client.call('SENTINEL', ...words);
        } finally {
            client.disconnect();
        }
    }

    /** The port that a majority names. */
    async masterPort() {
        /** @type {Map<number, number>} */
        const votes = new Map();
        for (let i = 0; i < this.count; i++) {
            if (!this.sentinels[i].child?.running) continue;
            const [, port] = /** @type {string[]} */ (await this.ask(i, 'GET-MASTER-ADDR-BY-NAME', MASTER));
            votes.set(Number(port), (votes.get(Number(port)) ?? 0) + 1);
        }
        return [...votes].find(([, n]) => n > this.count / 2)?.[0];
    }

    /**
     * One more, of an opinion of its own: it takes this server for the master, and the others
     * do not know it.
     * @param {RedisServer} server
     */
    async strange(server) {
        const port = await freePort(), file = path.join(this.dir, `strange-${port}.conf`);
        fs.writeFileSync(file, [`port ${port}`, 'bind 127.0.0.1', `dir ${this.dir}`,
            ...(this.password ? [`requirepass ${this.password}`] : []),
            `sentinel monitor ${MASTER} 127.0.0.1 ${server.port} 100`,
            // by these the others would tell it the truth
            ...['SUBSCRIBE', 'PUBLISH'].map((name) => `sentinel rename-command ${MASTER} ${name} NOT-${name}`),
            ''].join('\n'));
        const sentinel = { port, file, child: new Child(`sentinel:${port}`, 'redis-server', [file, '--sentinel']) };
        this.sentinels.push(sentinel);
        await until(() => this.ask(this.sentinels.length - 1, 'MASTERS'), { what: 'it answers' });
        return sentinel;
    }

    async stop() {
        await Promise.all(this.sentinels.map((sentinel) => sentinel.child?.stop('SIGKILL')));
        await Promise.all(this.servers.map((server) => server.kill()));
    }
}
