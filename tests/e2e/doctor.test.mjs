// `threadcast doctor` behind Debian's nginx and HAProxy in good and in bad configurations,
// behind somebody who changes what passes, and straight; and the route that it asks,
// /v1/probe: what it says, to whom, and its limits.

import assert from 'node:assert/strict';
import http from 'node:http';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { BIN, claimsOf, freePort, run, Stack, until } from './harness.mjs';
import { documented, Front, nginxConf } from './lib/fronts.mjs';

/** @typedef {import('./harness.mjs').Bridge} Bridge */
/** @typedef {{ code: string, title: string, what: string, change: { at: string, lines: string[] }[] }} Finding */

/** @type {Stack} */
let stack;
/** @type {Bridge} */
let bridge;
/** @type {(() => unknown)[]} */
const endings = [];

before(async () => {
    stack = await Stack.start({ postgres: false, bridges: 0 });
    // all of these at once: the limits are for another test
    bridge = await stack.startBridge({ 'max-probes': 1000, 'probes-per-min': 100_000, 'keepalive-ms': 15_000,
                                       'trusted-proxies': '127.0.0.1', 'drain-ms': 200 });
});
after(() => Promise.all(endings.map((end) => end())));

/** Where text is held back: too quick for a good pace on a machine that is busy. */
const QUICK = ['--events', '8', '--every-ms', '50'];

/** Runs it. @param {string} address @param {string[]} args @param {Record<string, string>} env */
async function doctor(address, args = [], env = {}) {
    const { code, stdout, stderr } = await run(path.join(BIN, 'threadcast'), ['doctor', address, ...args], { env });
    assert.doesNotMatch(stderr, /Sanitizer|runtime error/);
    return { code, stdout, stderr };
}

/** The same for programs. @param {string} address @param {string[]} args @param {Record<string, string>} env */
async function examined(address, args = [], env = {}) {
    const { code, stdout, stderr } = await doctor(address, ['--json', '--idle-s', '0', ...args], env);
    assert.notEqual(stdout, '', stderr);
    const report = JSON.parse(stdout);
    assert.equal(report.status, code);
    /** @type {Finding[]} */
    const findings = report.findings;
    return { ...report, findings, code, text: stdout,
             codes: findings.map((finding) => finding.code),
             /** @param {string} word */
             of: (word) => findings.find((finding) => finding.code === word),
             /** @param {string} word @param {string} at */
             lines: (word, at) => findings.find((finding) => finding.code === word)
                 ?.change.find((change) => change.at === at)?.lines ?? [] };
}

/** @param {'nginx' | 'haproxy'} name @param {(dir: string, port: number) => string} conf */
async function front(name, conf) {
    const started = await Front.start(name, stack.dir, conf);
    endings.push(() => started.stop());
    return started;
}

/** nginx with these lines about its upstream. @param {string} lines @param {string} [outside] */
const nginx = (lines, outside = '') => front('nginx', (dir, port) => nginxConf(dir, `
    ${outside}
    server {
        listen 127.0.0.1:${port};
        location / {
            proxy_pass http://127.0.0.1:${bridge.port};
            proxy_set_header Host $http_host;
            ${lines}
        }
    }`));

/** Somebody in between who changes heads and bodies. @param {http.RequestListener} listener */
async function between(listener) {
    const server = http.createServer(listener).listen(0, '127.0.0.1');
    await once(server, 'listening');
    endings.push(() => { server.closeAllConnections(); server.close(); });
    return `http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (server.address()).port}`;
}

/**
 * Passes a request on.
 * @param {http.IncomingMessage} request @param {http.ServerResponse} response
 * @param {{ to?: string, headers?: (headers: http.IncomingHttpHeaders) => void,
 *           head?: (headers: http.IncomingHttpHeaders) => void, text?: (text: string) => string }} [changes]
 */
function pass(request, response, { to = request.url, headers, head, text = (same) => same } = {}) {
    const sent = { ...request.headers };
    headers?.(sent);
    const onward = http.request({ host: '127.0.0.1', port: bridge.port, path: to, method: request.method,
                                  headers: sent, agent: false }, (answer) => {
        const got = { ...answer.headers };
        head?.(got);
        response.writeHead(answer.statusCode ?? 0, got);
        answer.on('data', (bytes) => response.write(text(String(bytes))));
        answer.on('end', () => response.end());
        answer.on('error', () => response.destroy());
    });
    onward.on('error', () => response.destroy());
    response.on('close', () => onward.destroy());
    request.pipe(onward);
}

describe('threadcast doctor', { concurrency: true }, () => {
    it('finds nothing where there is nothing', async () => {
        const { code, stdout } = await doctor(bridge.url('/'), ['--idle-s', '1']);
        assert.equal(code, 0, stdout);
        assert.match(stdout, /Nothing to change/);
        assert.match(stdout, / pieces, one every 100 ms, came in \d+;/);
        assert.match(stdout, /1 s without a byte: held; .*: held, 4 of 4 came\n/);
        assert.match(stdout, /at once +7 of 7 streams\n/);
        await until(async () => (await bridge.metrics()).threadcast_bridge_probes_total >= 10);
    });

    it('finds nothing behind nginx and HAProxy as documented', async () => {
        const to = `127.0.0.1:${bridge.port}`;
        const good = await Promise.all([
            front('nginx', (dir, port) => nginxConf(dir, documented('nginx.conf', [
                ['127.0.0.1:8080', to], ['listen 80;', `listen 127.0.0.1:${port};`]]))),
            front('haproxy', (_dir, port) => documented('haproxy.cfg', [
                ['127.0.0.1:8080 check', to], ['bind :80', `bind 127.0.0.1:${port}`],
                ['option httpchk HEAD /readyz', '']]))]);
        await Promise.all(good.map(async ({ name, origin }) => {
            const report = await examined(origin, ['--idle-s', '1']);
            assert.deepEqual(report.codes, [], report.text);
            assert.equal(report.code, 0);
            assert.equal(report.measured.front.includes('nginx'), name === 'nginx');
        }));
    });

    it("nginx that buffers, over its HTTP/1.0: whole answers, in its blocks, and the lines that change it", async () => {
        const { origin } = await nginx('proxy_ignore_headers X-Accel-Buffering; proxy_buffer_size 4k; proxy_buffers 8 4k;');
        const [report, { stdout }, all] = await Promise.all([
            examined(origin, QUICK), doctor(origin, ['--idle-s', '0', ...QUICK]),
            doctor(origin, ['--idle-s', '0', '--all', ...QUICK])]);
        assert.deepEqual(report.codes, ['buffering', 'http10'], report.text);
        assert.equal(report.code, 1);
        assert.match(report.of('buffering')?.what ?? '', /came in 1 heap, .*until there is a block of some \d+ bytes/);
        assert.equal(report.lines('buffering', 'nginx')[0], 'proxy_buffering off;');
        assert.ok(report.lines('http10', 'nginx').includes('proxy_http_version 1.1;'));
        assert.match(stdout, /2 things to change\./);
        assert.match(stdout, /\n1\. Text is held back on the way {2}\[buffering\]\n/);
        assert.match(stdout, /\n {5}nginx {6}proxy_buffering off;\n/);
        assert.doesNotMatch(stdout, /HAProxy/, 'it is known who stands in front');
        assert.match(all.stdout, /\n {5}HAProxy /);
    });

    it('nginx that compresses: harmless while it flushes, and seen where it does not', async () => {
        const gzip = 'gzip on; gzip_types *; gzip_proxied any;';
        const newer = 'proxy_http_version 1.1; proxy_set_header Connection "";';
        const deaf = 'proxy_ignore_headers X-Accel-Buffering;';
        const [flushes, packs, holds] = await Promise.all([nginx(newer, gzip), nginx(newer + deaf, gzip), nginx(deaf, gzip)]);
        const [good, bad, worse] = await Promise.all([
            examined(flushes.origin), examined(packs.origin, QUICK), examined(holds.origin, QUICK)]);
        assert.deepEqual(good.codes, [], good.text);
        assert.match(good.notes.join('\n'), /comes as gzip\. Nothing is held back/);
        assert.deepEqual(bad.codes, ['compression'], bad.text);
        assert.match(bad.of('compression')?.what ?? '', /come as gzip, .*; without compression they come in time/);
        assert.match(bad.lines('compression', 'nginx')[0], /^gzip off;/);
        assert.deepEqual(worse.codes, ['buffering', 'http10'], worse.text);
        assert.match(worse.of('buffering')?.what ?? '', /compressed, too: gzip/);
    });

    it('compression alone that holds text back', async () => {
        const zlib = await import('node:zlib');
        const origin = await between((request, response) => {
            const packed = String(request.headers['accept-encoding']).includes('gzip');
            if (!packed || request.method !== 'GET') return pass(request, response);
            http.get({ host: '127.0.0.1', port: bridge.port, path: request.url, agent: false,
                       headers: { ...request.headers, 'accept-encoding': 'identity' } }, (answer) => {
                const { 'transfer-encoding': _, ...headers } = answer.headers;
                response.writeHead(answer.statusCode ?? 0, { ...headers, 'content-encoding': 'gzip' });
                answer.pipe(zlib.createGzip()).pipe(response);
            });
        });
        const report = await examined(origin, QUICK);
        assert.deepEqual(report.codes, ['compression'], report.text);
        assert.match(report.lines('compression', 'nginx')[0], /^gzip off;/);
    });

    it('short limits of silence: which second, and that keepalives hold', async () => {
        const [byNginx, byHaproxy] = await Promise.all([
            nginx('proxy_http_version 1.1; proxy_set_header Connection ""; proxy_read_timeout 1s;'),
            front('haproxy', (_dir, port) => `
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 1s
frontend web
    bind 127.0.0.1:${port}
    default_backend bridges
backend bridges
    server one 127.0.0.1:${bridge.port}
`)]);
        await Promise.all([byNginx, byHaproxy].map(async ({ origin, name }) => {
            // a machine that stands still for half a second lets the limit meet what is not silent, too
            const [report, finding] = await until(async () => {
                const one = await examined(origin, ['--idle-s', '2.4', '--streams', '2']);
                assert.equal(one.findings[0]?.code, 'idle_limit', `${name} ${one.text}`);
                return /** @type {const} */ ([one, one.findings[0]]);
            }, { timeout: 60_000, what: `${name} is found` });
            assert.match(finding.what, /cut after [12]\.\d s, and the bridge's keepalives come every 15 s/);
            assert.equal(report.measured.idleHeld, false);
            assert.equal(report.measured.keptHeld, true);
            assert.match(report.lines('idle_limit', 'bridge')[0], /^--keepalive-ms [4-9]\d\d\b/);
            assert.deepEqual([report.lines('idle_limit', 'nginx')[0], report.lines('idle_limit', 'HAProxy')[1]],
                             ['proxy_read_timeout 1h;', 'timeout server 60s']);
        }));
    });

    it('a limit of streams', async () => {
        const { origin } = await nginx(`proxy_http_version 1.1; proxy_set_header Connection ""; limit_conn all 3;
            limit_conn_status 503;`, 'limit_conn_zone $server_addr zone=all:1m;');
        const report = await examined(origin, ['--idle-s', '1']);
        assert.deepEqual(report.codes, ['streams'], report.text);
        assert.match(report.of('streams')?.what ?? '', /^3 of 7 streams could be opened; the others got 503\.$/);
    });

    it('headers that are taken away or changed on the way', async () => {
        const origin = await between((request, response) => pass(request, response, {
            headers: (headers) => {
                delete headers.authorization;
                if (headers['last-event-id']) headers['last-event-id'] = 'another';
            },
            head: (headers) => {
                headers['content-type'] = 'text/plain';
                headers['cache-control'] = 'public, max-age=60';
            } }));
        const report = await examined(origin);
        assert.deepEqual(report.codes, ['request_headers', 'content_type', 'cache'], report.text);
        assert.match(report.of('request_headers')?.what ?? '', /: Last-Event-ID, Authorization\./);
        assert.match(report.of('content_type')?.what ?? '', /text\/plain/);
        assert.match(report.of('cache')?.what ?? '', /public, max-age=60/);
    });

    it('keepalives that get lost, a clock that is wrong', async () => {
        const origin = await between((request, response) => pass(request, response, {
            text: (text) => text.replaceAll(':keepalive\n', '')
                .replace(/"at":(\d+)/, (_, at) => `"at":${Number(at) + 40_000}`) }));
        const report = await examined(origin, ['--idle-s', '0.6', '--streams', '2']);
        assert.deepEqual(report.codes, ['keepalives', 'clock'], report.text);
        assert.match(report.of('clock')?.what ?? '', /^The bridge's is (3\d|40)\.\d s ahead/);
    });

    it('a POST that the bridge takes for another site\'s', async () => {
        const origin = await between((request, response) => pass(request, response, {
            headers: (headers) => (headers.host = 'elsewhere.example') }));
        const report = await examined(origin);
        assert.deepEqual(report.codes, ['origin'], report.text);
        assert.deepEqual(report.lines('origin', 'bridge'), [`--public-origin ${origin}`]);
    });

    it('what answers in place of a stream', async () => {
        /** @type {[string, http.RequestListener, string, RegExp][]} */
        const cases = [
            ['another address', (_, to) => to.writeHead(301, { Location: 'https://chat.example/v1/probe' }).end(),
             'redirect', /on to https:\/\/chat\.example/],
            ['a sign-in elsewhere', (_, to) => to.writeHead(302, { Location: 'https://sso.example/login?to=' }).end(),
             'sign_in', /sso\.example/],
            ['a sign-in page', (_, to) => to.writeHead(200, { 'Content-Type': 'text/html' })
                .end('<!doctype html><form>Sign in <input type="password"></form>'), 'sign_in', /a page that asks/],
            ['basic auth', (_, to) => to.writeHead(401, { 'WWW-Authenticate': 'Basic realm="staging"' }).end(),
             'sign_in', /Basic realm="staging"/],
            ['a page', (_, to) => to.writeHead(200, { 'Content-Type': 'text/html' }).end('<!doctype html><h1>Hi</h1>'),
             'page', /HTML page/],
            ['no bridge behind it', (_, to) => to.writeHead(502).end('Bad Gateway'), 'no_bridge', /^502/],
            ['too many requests', (_, to) => to.writeHead(429).end(), 'rate_limit', /429/],
            ['a path that is not passed on', (_, to) => to.writeHead(404).end('nothing'), 'wrong_path', /not from a bridge/],
            ['something else', (_, to) => to.writeHead(200, { 'Content-Type': 'image/png' }).end('\x1b]0;x\x07'),
             'no_stream', /image\/png/],
            ['an older bridge', (request, to) => pass(request, to, {
                to: request.url?.replace('/v1/probe', '/v1/unknown') }), 'too_old', /no \/v1\/probe/],
            ['a bridge below another path', (request, to) => pass(request, to, {
                to: request.url?.startsWith('/live') ? '/v1/unknown' : request.url }), 'wrong_path', /answers below \//],
        ];
        for (const [name, listener, code, what] of cases) {
            const origin = await between(listener);
            const address = name === 'a bridge below another path' ? `${origin}/live` : origin;
            const report = await examined(address);
            assert.deepEqual(report.codes, [code], `${name}: ${report.text}`);
            assert.match(report.findings[0].what, what, name);
            assert.equal(report.code, 1, name);
            const { stdout } = await doctor(address, ['--idle-s', '0']);
            // eslint-disable-next-line no-control-regex
            assert.doesNotMatch(stdout, /[\x00-\x09\x0b-\x1f\x7f]/, 'nothing of theirs reaches the terminal');
        }
    });

    it('a base path that is missing in the address, and one that is there', async () => {
        const below = await stack.startBridge({ 'base-path': '/live', 'drain-ms': 200 });
        const without = await examined(below.url('/'));
        assert.deepEqual(without.codes, ['wrong_path'], without.text);
        assert.match(without.of('wrong_path')?.what ?? '', /--base-path/);
        for (const to of ['/live', '/live/', '/live/v1/threads/t1/events?since=0']) {
            const report = await examined(below.url(to), ['--events', '4', '--every-ms', '20']);
            assert.deepEqual(report.codes, [], report.text);
            assert.equal(report.url, below.url('/live'));
        }
    });

    it('TLS: a certificate that nobody knows, one that ends soon, HTTP/2 in front', async () => {
        const [key, certificate] = ['key.pem', 'certificate.pem'].map((name) => path.join(stack.dir, name));
        const made = await run('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
                                           '-days', '2', '-subj', '/CN=x', '-addext', 'subjectAltName=IP:127.0.0.1',
                                           '-keyout', key, '-out', certificate]);
        assert.equal(made.code, 0, made.stderr);
        const { port } = await front('nginx', (dir, listens) => nginxConf(dir, documented('nginx.conf', [
            ['127.0.0.1:8080', `127.0.0.1:${bridge.port}`],
            ['listen 80;', `listen 127.0.0.1:${listens} ssl http2; ssl_certificate ${certificate}; ssl_certificate_key ${key};`]])));
        const origin = `https://127.0.0.1:${port}`;
        const [unknown, known, any] = await Promise.all([
            examined(origin), examined(origin, ['--ca-file', certificate]),
            examined(origin, ['--insecure'])]);
        assert.deepEqual(unknown.codes, ['tls'], unknown.text);
        assert.match(unknown.of('tls')?.what ?? '', /certificate/);
        for (const report of [known, any]) {
            assert.deepEqual(report.codes, ['certificate'], report.text);
            assert.equal(report.measured.http, 'HTTP/2');
        }
        const plain = await examined(`http://127.0.0.1:${port}`);
        assert.equal(plain.code, 1, plain.text);
    });

    it('says 2 when it cannot be found out, and why', async () => {
        const closed = await freePort();
        const nobody = await examined(`http://127.0.0.1:${closed}`);
        assert.equal(nobody.code, 2);
        assert.match(nobody.whyNot, /connect/);
        const full = await stack.startBridge({ 'max-probes': 1, 'probes-per-min': 1, 'drain-ms': 200 });
        await full.fetch('/v1/probe?events=0').then((answer) => answer.text());
        const busy = await examined(full.url('/'));
        assert.equal(busy.code, 2);
        assert.match(busy.whyNot, /too many probes from this address; try again/);
        for (const args of [[], ['ftp://x'], ['http://ann:secret@x/'], ['not an address'], [bridge.url('/'), '--streams', '1'],
                            [bridge.url('/'), '--nonsense'], [bridge.url('/'), '--header', 'no colon'], ['a', 'b']]) {
            const { code, stderr } = await run(path.join(BIN, 'threadcast'), ['doctor', ...args]);
            assert.equal(code, 2, args.join(' '));
            assert.notEqual(stderr, '');
            assert.doesNotMatch(stderr, /secret/);
        }
        const help = await run(path.join(BIN, 'threadcast'), ['doctor', '--help']);
        assert.equal(help.code, 0);
        for (const word of ['--idle-s', '--token-file', 'Exit status']) assert.ok(help.stdout.includes(word), word);
        assert.match((await run(path.join(BIN, 'threadcast'), ['--version'])).stdout, /^threadcast \d+\.\d+\.\d+/);
    });

    it('with a token: by which name, from where; and never the token', async () => {
        const file = path.join(stack.dir, 'probe-token');
        const claims = claimsOf('ops');
        const token = stack.secret(stack.signer.token({ ...claims, threadcast: { probe: true } }));
        fs.writeFileSync(file, `${token}\n`, { mode: 0o600 });
        const { origin } = await nginx('proxy_http_version 1.1; proxy_set_header X-Forwarded-For 203.0.113.9;');
        const report = await examined(origin, ['--token-file', file]);
        assert.deepEqual(report.codes, [], report.text);
        assert.equal(report.measured.seen.address, '203.0.113.9');
        assert.equal(`${report.measured.seen.scheme}://${report.measured.seen.host}:${report.measured.seen.port}`, origin);
        assert.deepEqual(report.measured.seen.forwarded, ['x-forwarded-for']);
        assert.ok(!report.text.includes(token));
        // no trust in the proxy: everybody is one
        const strict = await stack.startBridge({ 'drain-ms': 200 });
        const { origin: other } = await front('nginx', (dir, port) => nginxConf(dir, documented('nginx.conf', [
            ['127.0.0.1:8080', `127.0.0.1:${strict.port}`], ['listen 80;', `listen 127.0.0.1:${port};`]])));
        const distrusted = await examined(other, [], { THREADCAST_TOKEN: token });
        assert.deepEqual(distrusted.codes, ['address'], distrusted.text);
        assert.deepEqual(distrusted.lines('address', 'bridge'), ['--trusted-proxies 127.0.0.1']);
        const without = await examined(origin, [], { THREADCAST_TOKEN: stack.token() });
        assert.match(without.notes.join('\n'), /no right `probe`/);
        const foreign = await examined(origin, [], { THREADCAST_TOKEN: 'x.y.z' });
        assert.deepEqual(foreign.codes, ['token'], foreign.text);
    });
});

describe('GET /v1/probe', { concurrency: true }, () => {
    it('says what it was asked for, in that order', async () => {
        const answer = await bridge.fetch('/v1/probe?events=2&every-ms=10&bytes=5&keepalives=2&keepalive-ms=10&quiet-ms=10', {
            headers: { 'Last-Event-ID': 'doctor-1', Authorization: 'Bearer nobody', Cookie: 'a=secret-b' } });
        assert.equal(answer.headers.get('content-type'), 'text/event-stream');
        assert.equal(answer.headers.get('cache-control'), 'no-cache, no-transform');
        assert.equal(answer.headers.get('x-accel-buffering'), 'no');
        const text = await answer.text();
        assert.match(text, new RegExp([
            '^retry: \\d+\\n:threadcast\\nevent: hello\\ndata: (\\{.*\\})\\n',
            'data: \\{"n":1,"ms":\\d+,"pad":"[\\w-]{5}"\\}\\nid: 1\\n', 'data: \\{"n":2,.*\\}\\nid: 2\\n',
            ':keepalive\\n:keepalive\\nevent: end\\ndata: \\{"ms":\\d+\\}\\n\\n$'].join('\\n')));
        const hello = JSON.parse(/data: (\{.*\})/.exec(text)?.[1] ?? '');
        assert.equal(hello.lastEventId, 'doctor-1');
        for (const name of ['authorization', 'cookie', 'last-event-id']) assert.ok(hello.headers.includes(name), name);
        assert.equal(hello.seen, undefined);
        assert.doesNotMatch(text, /nobody|secret-b|127\.0\.0\.1|0\.1\.0/, 'no value, no address, no version');
        assert.ok(Math.abs(hello.at - Date.now()) < 60_000);
    });

    it('says that no other request fits behind it: nginx would answer that with 502', async () => {
        const stream = stack.events('/v1/probe?events=0', { bridge, token: null });
        assert.equal(await stream.end(), 'last-chunk');
    });

    it('tells what it makes of a request to holders of the right alone', async () => {
        const ask = async (/** @type {Record<string, string>} */ headers) => {
            const answer = await bridge.fetch('/v1/probe?events=0&seen=1', { headers });
            return { status: answer.status, text: await answer.text() };
        };
        const bearer = (/** @type {object} */ grants) => ({ Authorization:
            `Bearer ${stack.secret(stack.signer.token({ ...claimsOf('ops'), threadcast: grants }))}` });
        assert.equal((await ask({})).status, 401);
        assert.equal((await ask(bearer({ read: ['*'], write: ['*'] }))).status, 403);
        assert.equal((await ask(bearer({ probe: false }))).status, 403);
        assert.equal((await ask(bearer({ probe: 1 }))).status, 401, 'a malformed claim refuses the token');
        const { status, text } = await ask(bearer({ probe: true }));
        assert.equal(status, 200);
        assert.match(text, /"seen":\{"version":"\d/);
    });

    it('has limits: in all, from an address, and how long; and gives places back', async () => {
        const small = await stack.startBridge({ 'max-probes': 2, 'probes-per-min': 6, 'probe-max-ms': 30_000, 'drain-ms': 200,
                                                reactors: 1 });
        const limits = async () => {
            const metrics = await small.metrics();
            return ['max-probes', 'probes-per-min'].map((name) => metrics[`threadcast_bridge_limits_total{limit="${name}"}`]);
        };
        const open = () => stack.events('/v1/probe?events=0&quiet-ms=29000', { bridge: small, token: null });
        const refused = async () => (await open().named('busy')).json;
        const held = [open(), open()];
        for (const stream of held) await stream.named('hello');
        assert.deepEqual(await refused(), { reason: 'too many probes' });
        assert.deepEqual(await limits(), [1, 0]);
        assert.equal((await small.metrics()).threadcast_bridge_probes, 2);
        for (const stream of held) stream.close();
        await until(async () => (await small.metrics()).threadcast_bridge_probes === 0, { what: 'places are free again' });
        for (let n = 0; n < 4; n++) assert.match(await (await small.fetch('/v1/probe?events=0')).text(), /event: end/);
        assert.deepEqual(await refused(), { reason: 'too many probes from this address' });
        assert.deepEqual(await limits(), [1, 1]);
        assert.equal((await small.fetch('/v1/probe?quiet-ms=30001')).status, 400);
        const off = await stack.startBridge({ 'max-probes': 0, 'drain-ms': 200 });
        assert.equal((await off.fetch('/v1/probe')).status, 404);
    });

    it('is told when the bridge leaves, and does not keep it', async () => {
        const leaving = await stack.startBridge({ 'drain-ms': 200 });
        const stream = stack.events('/v1/probe?events=0&quiet-ms=60000', { bridge: leaving, token: null });
        await stream.named('hello');
        const ended = leaving.stop();
        await stream.named('bye');
        assert.ok(await ended < 5000);
    });
});
