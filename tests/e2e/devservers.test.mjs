// THREADCAST_FULL=1: behind the development servers that a page's author has: Vite's
// `server.proxy` and Next.js' `rewrites`, with the settings of docs/OPERATIONS.md. They come
// from npm into build/devservers, which is kept.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Child, freePort, ROOT, run, Stack, until } from './harness.mjs';
import { crosses, crossesCompressed } from './lib/crossing.mjs';
import { documented, Front } from './lib/fronts.mjs';

const FULL = Boolean(process.env.THREADCAST_FULL);
const [MAJOR, MINOR] = process.versions.node.split('.').map(Number);
const SKIP = !FULL ? 'THREADCAST_FULL=1'
    : MAJOR < 20 || (MAJOR === 20 && MINOR < 19) ? 'the development servers need Node.js 20.19' : false;

const PACKAGES = ['vite@8.3.8', 'next@16.4.6', 'react@19', 'react-dom@19'];
const DIR = path.join(ROOT, 'build/devservers');
const QUIET = { NEXT_TELEMETRY_DISABLED: '1', CI: '1' };

/** @type {Stack} */
let stack;
/** @type {Front[]} */
const fronts = [];

/** @param {Record<string, string>} files */
function project(files) {
    const dir = fs.mkdtempSync(path.join(DIR, 'page-'));
    for (const [name, text] of Object.entries(files)) {
        fs.mkdirSync(path.dirname(path.join(dir, name)), { recursive: true });
        fs.writeFileSync(path.join(dir, name), text);
    }
    return dir;
}

/** @param {string} name @param {Record<string, string>} files @param {string[]} args @param {number} port */
async function devServer(name, files, args, port) {
    const cwd = project(files);
    after(() => fs.rmSync(cwd, { recursive: true, force: true }));
    const front = await Front.of(new Child(name, process.execPath, args, { cwd, env: QUIET }), port);
    fronts.push(front);
    // Vite listens for a moment to see whether a port is free
    await until(async () => (await front.fetch('/')).ok, { what: () => `${name} serves its page\n${front.child.tail()}` });
    return front;
}

/** @param {number} port @param {number} upstream */
const vite = (port, upstream) => devServer('vite', {
    'index.html': '<!doctype html><title>a page</title>',
    'vite.config.mjs': documented('vite.config.mjs', [['127.0.0.1:8080', `127.0.0.1:${upstream}`]]),
}, [path.join(DIR, 'node_modules/vite/bin/vite.js'), '--host', '127.0.0.1', '--port', String(port), '--strictPort'], port);

/** @param {number} port @param {number} upstream */
const next = (port, upstream) => devServer('next', {
    'app/page.js': 'export default function Page() { return <p>a page</p>; }',
    'app/layout.js': 'export default function Layout({ children }) { return <html><body>{children}</body></html>; }',
    'next.config.mjs': documented('next.config.mjs', [['127.0.0.1:8080', `127.0.0.1:${upstream}`]]),
    'package.json': '{ "private": true, "type": "module" }',
}, [path.join(DIR, 'node_modules/next/dist/bin/next'), 'dev', '-H', '127.0.0.1', '-p', String(port)], port);

describe('behind a development server', { skip: SKIP }, () => {
    before(async () => {
        fs.mkdirSync(DIR, { recursive: true });
        if (!fs.existsSync(path.join(DIR, 'node_modules/next'))) {
            const { code, stderr } = await run('npm', ['install', '--prefix', DIR, '--no-audit', '--no-fund', ...PACKAGES],
                                               { timeout: 600_000, env: process.env }); // its registry, a proxy
            assert.equal(code, 0, stderr);
        }
        stack = await Stack.start({ bridges: 0, worker: { agent: 'demo', 'demo-rate': 100 } });
    });
    after(() => Promise.all(fronts.map((front) => front.stop())));

    for (const [name, start] of Object.entries({ Vite: vite, 'Next.js': next })) {
        it(name, async () => {
            const port = await freePort();
            const bridge = await stack.startBridge({
                'keepalive-ms': 300, 'drain-ms': 200, 'retry-ms': 50, 'public-origin': `http://127.0.0.1:${port}` });
            const at = { stack, bridge, front: await start(port, bridge.port) };
            await crosses(at);
            assert.equal(await crossesCompressed(at), undefined, '`no-transform` is read');
        });
    }
});
