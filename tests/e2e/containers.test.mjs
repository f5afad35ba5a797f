// docker-compose.yml and the Dockerfile: our containers run as somebody without rights, on a
// root that cannot be written, and no secret stands in either file. The same of systemd's
// units, line by line: `systemd-analyze`, where it is installed, weighs them in scripts/check.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { parseDocument } from 'yaml';
import { ROOT } from './harness.mjs';

const text = (/** @type {string} */ name) => fs.readFileSync(path.join(ROOT, name), 'utf8');
const document = parseDocument(text('docker-compose.yml'), { merge: true });
/** @type {{ services: Record<string, any>, volumes: Record<string, any> }} */
const compose = document.toJS();
const OURS = ['migrate', 'worker', 'bridge'];

test('docker-compose.yml is read as compose reads it', () => {
    assert.deepEqual([...document.errors, ...document.warnings], []);
    assert.deepEqual(Object.keys(compose.services).sort(), [...OURS, 'postgres', 'redis'].sort());
});

test('the image runs as a user who owns nothing but its own directory', () => {
    const last = text('Dockerfile').split(/^FROM /m).at(-1) ?? '';
    const [, uid, user] = last.match(/useradd --system --uid (\d+) [^&]*?--shell \/usr\/sbin\/nologin (\w+)/) ?? [];
    assert.ok(Number(uid) >= 1000, `uid ${uid}`);
    assert.deepEqual(last.match(/^USER .*$/gm), [`USER ${user}`], 'and nothing changes that behind it');
    assert.ok(last.indexOf(`USER ${user}`) > last.lastIndexOf('\nCOPY'), 'what is copied belongs to root');
});

for (const name of OURS) {
    test(`container ${name}: no rights, a root that is read only, no secret`, () => {
        const service = compose.services[name];
        assert.equal(service.image, 'threadcast', 'the image of the Dockerfile');
        assert.equal(service.read_only, true);
        assert.deepEqual(service.cap_drop, ['ALL']);
        assert.deepEqual(service.security_opt, ['no-new-privileges:true']);
        for (const right of ['user', 'privileged', 'cap_add', 'devices', 'pid', 'ipc', 'network_mode', 'secrets']) {
            assert.equal(service[right], undefined, right);
        }
        for (const volume of service.volumes ?? []) {
            assert.ok(volume.split(':')[0] in compose.volumes, `${volume} is a volume, not a directory of the host`);
        }
        assert.ok((service.ports ?? []).every((/** @type {string} */ port) => port.startsWith('127.0.0.1:')));
    });
}

test('the servers beside them: nothing gained by a program that changes its user, a root that is read only', () => {
    for (const name of ['redis', 'postgres']) {
        const service = compose.services[name];
        assert.equal(service.read_only, true, name);
        assert.deepEqual(service.security_opt, ['no-new-privileges:true'], name);
        assert.equal(service.ports, undefined, `${name} has no door outside`);
        assert.equal(service.privileged, undefined, name);
    }
    assert.deepEqual(compose.services.postgres.tmpfs, ['/tmp']);
});

test('no secret stands in the file: a variable of the caller, a file, or nothing', () => {
    for (const [name, { environment = {}, command = [] }] of Object.entries(compose.services)) {
        for (const [variable, value] of Object.entries(environment)) {
            if (/KEY|SECRET|PASSWORD|TOKEN/.test(variable)) {
                assert.ok(value === null || /_FILE$/.test(variable) || value === '${POSTGRES_PASSWORD:-not-used-no-network}',
                          `${name}: ${variable}=${value}`);
            }
            assert.doesNotMatch(String(value ?? ''), /:\/\/[^/@]*:[^/@]+@/, `${name}: ${variable} has a password`);
        }
        assert.doesNotMatch(command.join(' '), /(secret|password|key|token)[= ]/i, name);
    }
    // the exception above is one only while nobody reaches that server
    assert.equal(compose.services.postgres.network_mode, 'none');
    assert.doesNotMatch(text('Dockerfile'), /^(ENV|ARG) .*(KEY|SECRET|PASSWORD|TOKEN)/mi);
});

/** What all units have, and what systemd would do without it. */
const SANDBOX = `DynamicUser=yes UMask=0077 NoNewPrivileges=yes CapabilityBoundingSet= AmbientCapabilities=
    ProtectSystem=strict ProtectHome=yes PrivateTmp=yes PrivateDevices=yes PrivateUsers=yes ProtectProc=invisible
    ProcSubset=pid ProtectClock=yes ProtectHostname=yes ProtectControlGroups=yes ProtectKernelLogs=yes
    ProtectKernelModules=yes ProtectKernelTunables=yes LockPersonality=yes MemoryDenyWriteExecute=yes RemoveIPC=yes
    RestrictNamespaces=yes RestrictRealtime=yes RestrictSUIDSGID=yes SystemCallArchitectures=native`.split(/\s+/);

for (const name of ['bridge', 'migrate', 'worker']) {
    test(`unit threadcast-${name}: its sandbox is whole, its secrets are in a file`, () => {
        const lines = text(`systemd/threadcast-${name}.service.in`).split('\n');
        assert.deepEqual(SANDBOX.filter((line) => !lines.includes(line)), []);
        const of = (/** @type {string} */ key) => lines.filter((line) => line.startsWith(`${key}=`)).map((line) => line.slice(key.length + 1));
        for (const line of SANDBOX) assert.equal(of(line.split('=')[0]).length, 1, `${line}, and nothing that takes it back`);
        assert.deepEqual(of('RestrictAddressFamilies'), ['AF_INET AF_INET6 AF_UNIX']);
        // a worker runs agents: they may ask for priorities and limits of their own
        assert.deepEqual(of('SystemCallFilter'), ['@system-service', name === 'worker' ? '~@privileged' : '~@privileged @resources']);
        assert.deepEqual([of('NoExecPaths').length, of('ExecPaths').length], name === 'worker' ? [0, 0] : [1, 1]);
        for (const never of ['User', 'Environment', 'ReadWritePaths', 'BindPaths', 'SupplementaryGroups']) assert.deepEqual(of(never), [], never);
    });
}
