// Who is measured, and how each is started: as its own documentation says for production,
// access logs off, on 127.0.0.1, with the same Redis. What each does and does not do beside
// carrying events stands here too, because a figure without it would say nothing.
//
// A peer's `start` answers the program's processes and the options of bench_load: where
// streams are (`live`: from now on, `all`: everything kept) and how events get in.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { claimsOf, Signer } from '../../e2e/lib/jwt.mjs';
import { Child, run } from '../../e2e/lib/process.mjs';
import { freePort, RedisServer } from '../../e2e/lib/servers.mjs';
import { until } from '../../e2e/lib/until.mjs';
import { canSlow, slow } from './slowed.mjs';

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
const BUILD = path.join(ROOT, 'build/bench');
export const LOAD = path.join(BUILD, 'bench/bench_load');
/** packages that were unpacked there and not installed, so that none of their services runs */
const UNPACKED = path.join(ROOT, 'build/bench-peers');
const PROGRAMS = path.join(ROOT, 'tests/bench/peers');
const DESCRIPTORS = 65_536;
const KEPT_EVENTS = 20_000;

/**
 * @typedef {object} Place where a server runs
 * @property {string} dir
 * @property {number} port
 * @property {number} redisPort
 *
 * @typedef {object} Served what `start` answers
 * @property {Child[]} children
 * @property {string[]} live options of bench_load
 * @property {string[]} [all]
 * @property {string[]} [each] as `all`, but without merging
 * @property {string[]} publish
 * @property {string} [ready] a path that answers when it is ready; default: the port does
 *
 * @typedef {object} Peer
 * @property {string} name
 * @property {string} title
 * @property {string} does one line: auth, resume, checks
 * @property {number} most readers that it can be asked to carry here
 * @property {boolean} [resumes] knows Last-Event-ID
 * @property {boolean} [scaling] only the figures about several reactors
 * @property {string[]} [only] the scenarios that it is measured in
 * @property {boolean} [turns] also measured in turns with others
 * @property {boolean} [slowed] its threads have a fifth of a core each
 * @property {() => string | Promise<string>} version or '' when it is not there
 * @property {(place: Place) => Promise<Served> | Served} start
 */

/** The descriptors that a process may have here (no number: unlimited). */
const LIMIT = Math.min(DESCRIPTORS, Number(execFileSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' })) || DESCRIPTORS);
/** readers of one process, with some descriptors for everything else */
export const MOST_READERS = LIMIT - 500;

/** With as many descriptors as allowed. @param {string} name @param {string} command @param {string[]} args */
function launch(name, command, args, options = {}) {
    return new Child(name, 'prlimit', [`--nofile=${LIMIT}`, command, ...args], options);
}

/** Libraries of unpacked packages. */
function unpackedEnv() {
    const lib = path.join(UNPACKED, 'usr/lib');
    const dirs = fs.existsSync(lib) ? fs.readdirSync(lib).filter((name) => name.endsWith('-linux-gnu')) : [];
    return { LD_LIBRARY_PATH: dirs.map((dir) => path.join(lib, dir)).join(':') };
}

/** @param {string} to */
const unpacked = (to) => path.join(UNPACKED, to);

/** The first line that a program prints about itself, or ''. @param {string} command @param {string[]} args */
async function says(command, args) {
    if (command.includes('/') && !fs.existsSync(command)) return '';
    const { stdout, stderr } = await run(command, args, { env: unpackedEnv() }).catch(() => ({ stdout: '', stderr: '' }));
    return (stdout + stderr).trim().split('\n')[0];
}

/** @param {string} name of an unpacked package's file */
const packaged = (name) => fs.existsSync(unpacked('versions'))
    ? fs.readFileSync(unpacked('versions'), 'utf8').match(new RegExp(`^${name} (.*)$`, 'm'))?.[1] ?? '' : '';

// --- ours --------------------------------------------------------------------------------------

const BRIDGE = path.join(BUILD, 'bin/threadcast-bridge');
const byPublish = ['--channel', 'thread:t{}'];
const byScript = ['--script', path.join(ROOT, 'common/publish.lua')];

/** @param {Place} place @param {string[]} publish @param {string[]} more options of the bridge */
function startBridge({ port, redisPort }, publish, more = []) {
    const signer = new Signer('HS256');
    const token = signer.token(claimsOf('bench', { read: ['t*'] }));
    const child = launch('bridge', BRIDGE, [
        '--listen', `127.0.0.1:${port}`, '--max-clients', '100000', '--max-streams-per-user', '0', ...more,
    ], { env: { REDIS_URL: `redis://127.0.0.1:${redisPort}`, JWT_SECRET: signer.secret } });
    /** @param {string} since */
    const stream = (since) => ['--path', `/v1/threads/t{}/events${since}`, '--header', `Authorization: Bearer ${token}`];
    return { children: [child], live: stream('?since=now'), all: stream('?since=0'),
             each: stream('?since=0&merge=0'), publish, ready: '/readyz' };
}

const FLOOR = path.join(BUILD, 'bench/bench_floor');

/** @param {Place} place @param {string[]} publish */
const startFloor = ({ port, redisPort }, publish) => ({
    children: [launch('floor', FLOOR, [String(port), String(redisPort)])], live: ['--path', '/{}'], publish });

const bridgeVersion = () => says(BRIDGE, ['--version']);
const CHECKS = 'JWT, grants, every event checked, slow readers merged then cut, keepalives';

// --- peers that are programs of somebody else --------------------------------------------------

/** @param {Place} place */
function nginxConf({ dir, port, redisPort }) {
    const sub = (/** @type {string} */ where, /** @type {string} */ first) => `
        location ~ ^/${where}/(\\w+)$ {
            nchan_subscriber eventsource;
            nchan_channel_id $1;
            nchan_subscriber_first_message ${first};
            nchan_redis_pass store;
        }`;
    return `
daemon off;
${process.getuid?.() === 0 ? 'user root;' : ''}
worker_processes auto;
worker_rlimit_nofile ${LIMIT};
pid ${dir}/nginx.pid;
error_log stderr error;
load_module ${unpacked('usr/lib/nginx/modules/ngx_nchan_module.so')};
events { worker_connections ${LIMIT - 100}; }
http {
    access_log off;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((of) => `${of}_temp_path ${dir}/${of};`).join('\n    ')}
    nchan_shared_memory_size 512M;
    upstream store { nchan_redis_server redis://127.0.0.1:${redisPort}; }
    server {
        listen 127.0.0.1:${port} backlog=4096;${sub('sub', 'newest')}${sub('all', 'oldest')}
        location ~ ^/pub/(\\w+)$ {
            nchan_publisher;
            nchan_channel_id $1;
            nchan_message_buffer_length ${KEPT_EVENTS};
            nchan_message_timeout 1d;
            nchan_redis_pass store;
        }
    }
}
`;
}

/** @param {Place} place */
function startNchan(place) {
    const file = path.join(place.dir, 'nginx.conf');
    fs.writeFileSync(file, nginxConf(place));
    const child = launch('nginx', unpacked('usr/sbin/nginx'), ['-c', file, '-p', place.dir, '-e', 'stderr'],
                         { env: unpackedEnv() });
    return { children: [child], live: ['--path', '/sub/t{}'], all: ['--path', '/all/t{}'],
             publish: ['--post-port', String(place.port), '--post-path', '/pub/t{}',
                       '--post-header', 'Content-Type: application/json'] };
}

/** @param {Place} place */
function startWebdis({ dir, port, redisPort }) {
    const file = path.join(dir, 'webdis.json');
    fs.writeFileSync(file, JSON.stringify({
        redis_host: '127.0.0.1', redis_port: redisPort, http_host: '127.0.0.1', http_port: port,
        threads: 2, daemonize: false, verbosity: 0, logfile: path.join(dir, 'webdis.log') }));
    return { children: [launch('webdis', unpacked('usr/bin/webdis'), [file], { env: unpackedEnv() })],
             live: ['--path', '/SUBSCRIBE/thread:t{}'], publish: byPublish };
}

/** @param {Place} place */
function startNode({ port, redisPort }) {
    const child = launch('node', process.execPath, [path.join(PROGRAMS, 'node.mjs'), String(port), String(redisPort)],
                         { env: { NODE_ENV: 'production' } });
    return { children: [child], live: ['--path', '/t{}'], publish: byPublish };
}

/** Debian's Python, which sees Debian's modules. */
const PYTHON = '/usr/bin/python3';

/** @param {Place} place */
function startFastApi({ port, redisPort }) {
    const child = launch('uvicorn', PYTHON, [
        '-m', 'uvicorn', '--app-dir', PROGRAMS, '--host', '127.0.0.1', '--port', String(port), '--loop', 'uvloop',
        '--http', 'httptools', '--no-access-log', '--log-level', 'warning', '--backlog', '4096', 'fastapi_sse:app',
    ], { env: { REDIS_PORT: String(redisPort), PYTHONDONTWRITEBYTECODE: '1' } });
    return { children: [child], live: ['--path', '/t{}'], publish: byPublish };
}

/** built from tests/bench/peers/go */
const goProgram = (/** @type {string} */ name) => path.join(ROOT, 'build/bench-peers-go', name);

/** The module's version, where its program was built. @param {string} program @param {string} module */
const goVersion = (program, module) => fs.existsSync(goProgram(program))
    ? fs.readFileSync(goProgram('versions'), 'utf8').match(new RegExp(`^${module} (.*)$`, 'm'))?.[1] ?? '' : '';

/** @param {Place} place @param {string} history a file, or - */
function startMercure({ port }, history) {
    const signer = new Signer('HS256');
    /** @param {Record<string, string[]>} mercure */
    const bearer = (mercure) => `Authorization: Bearer ${signer.token(claimsOf('bench', { mercure }))}`;
    return { children: [launch('mercure', goProgram('mercure'), [String(port), history, signer.secret])],
             live: ['--path', '/.well-known/mercure?topic=t{}', '--header', bearer({ subscribe: ['*'] })],
             publish: ['--post-port', String(port), '--post-path', '/.well-known/mercure', '--post-before', 'topic=t{}&private=on&data=',
                       '--post-header', `Content-Type: application/x-www-form-urlencoded\r\n${bearer({ publish: ['*'] })}`] };
}

/** @param {Place} place */
function startCentrifuge({ port, redisPort }) {
    const signer = new Signer('HS256');
    const token = signer.token(claimsOf('bench', { read: ['t*'] }));
    const connect = encodeURIComponent(JSON.stringify({ id: 1, connect: {} }));
    return { children: [launch('centrifuge', goProgram('centrifuge'), [String(port), String(redisPort), signer.secret])],
             live: ['--path', `/sse?thread=t{}&cf_connect=${connect}`, '--header', `Authorization: Bearer ${token}`],
             publish: ['--post-port', String(port), '--post-path', '/publish?thread=t{}'] };
}

const moduleVersions = `import fastapi, uvicorn, redis, hiredis, uvloop, httptools
print('FastAPI', fastapi.__version__, 'uvicorn', uvicorn.__version__, 'redis-py', redis.__version__)`;

/** In the order in which they stand in the tables. @type {Peer[]} */
export const PEERS = [
    { name: 'floor', title: 'floor', most: MOST_READERS, turns: true,
      does: 'nothing: no auth, no resume, no checks, no limits (our own bench_floor)',
      version: () => fs.existsSync(FLOOR) ? 'this tree' : '', start: (place) => startFloor(place, byPublish) },
    { name: 'floor-script', title: 'floor, events by publish.lua', most: MOST_READERS, turns: true,
      does: 'as the floor, but events go through publish.lua and stand in a log as ours do: the limit behind the script',
      only: ['flat-many', 'latency-200', 'latency-1000', 'latency-5000', 'held-0', 'held-2000'],
      version: () => fs.existsSync(FLOOR) ? 'this tree' : '', start: (place) => startFloor(place, byScript) },
    { name: 'threadcast', title: 'Threadcast', most: MOST_READERS, resumes: true, turns: true,
      does: `${CHECKS}; events through publish.lua, so with ids, a log and resume`,
      version: bridgeVersion, start: (place) => startBridge(place, byScript) },
    { name: 'threadcast-bare', title: 'Threadcast, bare events', most: MOST_READERS, turns: true,
      does: `${CHECKS}; events by PUBLISH as with the others, so without ids and resume`,
      version: bridgeVersion, start: (place) => startBridge(place, byPublish) },
    { name: 'threadcast-one', title: 'Threadcast, one reactor', most: MOST_READERS, scaling: true,
      does: 'as bare events, with --reactors 1',
      version: async () => (await run(BRIDGE, ['--help'])).stdout.includes('--reactors') ? bridgeVersion() : '',
      start: (place) => startBridge(place, byPublish, ['--reactors', '1']) },
    ...[1, 2].map((reactors) => /** @type {Peer} */ ({
        name: `threadcast-slow-${reactors}`, title: `Threadcast, ${reactors} × a fifth of a core`, most: MOST_READERS,
        slowed: true, only: ['flat-one', 'flat-many'],
        does: `as bare events, with --reactors ${reactors}, each of which may use a fifth of a core`,
        version: () => canSlow() ? bridgeVersion() : '',
        start: (place) => startBridge(place, byPublish, ['--reactors', String(reactors)]) })),
    { name: 'nchan', title: 'nchan', most: MOST_READERS, resumes: true,
      does: 'resume by id from Redis; no auth here (nginx would ask another server), no check of events; '
          + 'published over HTTP, which its figures include',
      version: () => [packaged('libnginx-mod-nchan'), 'nginx', packaged('nginx')].filter(Boolean).join(' '),
      start: startNchan },
    { name: 'webdis', title: 'webdis', most: Math.min(10_000, MOST_READERS / 2),
      does: 'a connection to Redis for each reader, JSON without SSE framing; no auth, no resume, no checks',
      version: () => packaged('webdis'), start: startWebdis },
    { name: 'mercure', title: 'Mercure', most: MOST_READERS,
      does: 'the hub as a Go handler, with the history it has by default: a file of its own, synced with each event; JWT, topics checked for '
          + 'each event; published over HTTP, which its figures include; resumes by id, which takes too long to prepare here',
      version: () => goVersion('mercure', 'github.com/dunglas/mercure'),
      start: (place) => startMercure(place, path.join(place.dir, 'mercure.db')) },
    { name: 'mercure-local', title: 'Mercure, no history', most: MOST_READERS,
      does: 'the same with its local transport: no ids to come back with, nothing kept, nobody else may publish',
      version: () => goVersion('mercure', 'github.com/dunglas/mercure'), start: (place) => startMercure(place, '-') },
    { name: 'centrifuge', title: 'Centrifuge', most: MOST_READERS,
      does: "the library that Centrifugo is made of, its SSE handler and its Redis broker with a history, in a server of a hundred lines; JWT, "
          + 'grants checked for each stream; published over HTTP, which its figures include; does not resume by Last-Event-ID',
      version: () => goVersion('centrifuge', 'github.com/centrifugal/centrifuge'), start: startCentrifuge },
    { name: 'node', title: 'Node + ioredis', most: MOST_READERS,
      does: 'no auth, no resume, no checks, no limit for slow readers',
      version: () => `Node ${process.version}`, start: startNode },
    { name: 'fastapi', title: 'FastAPI + redis-py', most: Math.min(5000, MOST_READERS / 2),
      does: 'a connection to Redis for each reader; no auth, no resume, no checks',
      version: () => says(PYTHON, ['-c', moduleVersions]).then((line) => line.startsWith('FastAPI') ? line : ''),
      start: startFastApi },
];

// --- running one -------------------------------------------------------------------------------

/** This process and those that it started. @param {number} root @returns {number[]} */
function family(root) {
    const parents = fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map((name) => {
        try {
            const stat = fs.readFileSync(`/proc/${name}/stat`, 'utf8');
            return [Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])];
        } catch {
            return [0, 0]; // it has gone meanwhile
        }
    });
    const found = [root];
    for (const parent of found) found.push(...parents.filter(([, of]) => of === parent).map(([pid]) => pid));
    return found;
}

/** A server that runs, with a Redis of its own. */
export class Server {
    /** @param {Peer} peer @param {string} dir */
    static async start(peer, dir) {
        fs.rmSync(dir, { recursive: true, force: true });
        fs.mkdirSync(dir, { recursive: true });
        const server = new Server(peer, dir);
        try {
            await server.#start();
        } catch (error) {
            await server.stop();
            throw error;
        }
        return server;
    }

    /** @param {Peer} peer @param {string} dir */
    constructor(peer, dir) {
        this.peer = peer;
        this.dir = dir;
        /** @type {Served} */
        this.served = { children: [], live: [], publish: [] };
        /** @type {RedisServer | undefined} */
        this.redis = undefined;
        this.port = 0;
        /** @type {() => void} */
        this.unslow = () => {};
    }

    async #start() {
        this.redis = new RedisServer(path.join(this.dir, 'redis'), await freePort(), [
            '--appendfsync', 'everysec', '--maxclients', '30000', '--tcp-backlog', '4096']);
        await this.redis.start();
        this.port = await freePort();
        this.served = await this.peer.start({ dir: this.dir, port: this.port, redisPort: this.redis.port });
        const child = this.served.children[0];
        await until(async () => !child.running || await this.#answers(), {
            what: () => `${this.peer.title} answers\n${child.tail()}` });
        if (!child.running) throw new Error(`${this.peer.title} did not start\n${child.tail()}`);
        if (this.peer.slowed) this.unslow = slow(child.pid);
    }

    async #answers() {
        const { ready } = this.served;
        if (ready) return (await fetch(`http://127.0.0.1:${this.port}${ready}`)).ok;
        const table = fs.readFileSync('/proc/net/tcp', 'utf8');
        return new RegExp(`:${this.port.toString(16).toUpperCase().padStart(4, '0')} \\S+ 0A `).test(table);
    }

    /** What bench_load found. @param {string[]} args @param {'live' | 'all' | 'each'} path */
    async load(args, path = 'live') {
        const { code, stdout, stderr } = await run(LOAD, [
            ...args, '--port', String(this.port), '--redis-port', String(this.redis?.port), ...this.served.publish,
            ...(this.served[path] ?? []), '--pids', this.served.children.flatMap((c) => family(c.pid)).join(','),
            '--beside', String(this.redis?.child?.pid)], { timeout: 180_000 });
        if (code !== 0 && code !== 1) throw new Error(`bench_load ${args.join(' ')}: ${code}\n${stderr}`);
        return { ...JSON.parse(stdout), said: stderr.trim() };
    }

    async stop() {
        for (const child of this.served.children) {
            await child.stop('SIGTERM', 5000).catch(() => {}); // then it was killed
        }
        this.unslow();
        await this.redis?.stop('SIGKILL');
        fs.rmSync(this.dir, { recursive: true, force: true });
    }
}
