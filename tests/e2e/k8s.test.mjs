// The manifests of k8s/: valid by Kubernetes' own schemas, without a field that they do not
// know, true to each other, to the daemons' options and to how long a daemon takes to leave.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { BIN, ROOT, run as runToEnd } from './harness.mjs';

const DIR = path.join(ROOT, 'k8s');
const read = (/** @type {string} */ name) => parseAllDocuments(fs.readFileSync(path.join(DIR, name), 'utf8'))
    .map((document) => {
        assert.deepEqual([...document.errors, ...document.warnings], [], name);
        return document.toJS();
    });
const [kustomization] = read('kustomization.yaml');
const names = fs.readdirSync(DIR).filter((name) => name !== 'kustomization.yaml');
/** @type {any[]} */
const all = names.flatMap(read);
const find = (/** @type {string} */ kind, /** @type {string} */ name) => {
    const found = all.find((object) => object.kind === kind && object.metadata.name === name);
    assert.ok(found, `${kind} ${name}`);
    return found;
};
const workloads = all.filter(({ kind }) => ['Deployment', 'Job'].includes(kind));

/** An object that remembers which of its fields somebody has looked at. */
function watched(/** @type {any} */ value, at = '') {
    if (typeof value !== 'object' || value === null) return { proxy: value, unread: () => [] };
    const children = new Map(), seen = new Set();
    const proxy = new Proxy(value, {
        get(target, key) {
            if (typeof key !== 'string' || !Object.hasOwn(target, key)) return Reflect.get(target, key);
            seen.add(key);
            if (!children.has(key)) children.set(key, watched(target[key], `${at}/${key}`));
            return children.get(key).proxy;
        },
    });
    return { proxy, unread: () => Object.keys(value).flatMap((key) =>
        seen.has(key) ? children.get(key).unread() : [`${at}/${key}`]) };
}

/** What Kubernetes would not take, or not know: fields that no schema has looked at. */
async function complaints(/** @type {any} */ object) {
    const [group, version] = object.apiVersion.includes('/') ? object.apiVersion.split('/') : ['', object.apiVersion];
    const file = [group, version, object.kind].filter(Boolean).join('/');
    const { [object.kind]: Model } = await import(`kubernetes-models/${file}`);
    const { proxy, unread } = watched(object);
    const model = new Model();
    Object.assign(model, Object.fromEntries(Object.keys(object).map((key) => [key, proxy[key]])));
    try {
        model.validate();
    } catch (error) {
        return [/** @type {Error} */ (error).message];
    }
    return unread().map((field) => `${object.kind} has no ${field}`);
}

for (const object of all) {
    test(`${object.kind} ${object.metadata.name} is what Kubernetes understands`, async () => {
        assert.deepEqual(await complaints(object), []);
    });
}

test('a misspelt field, a wrong type and a missing one are seen', async () => {
    const broken = async (/** @type {(d: any) => void} */ change) => {
        const copy = structuredClone(find('Deployment', 'threadcast-bridge'));
        change(copy);
        return String(await complaints(copy));
    };
    assert.match(await broken((d) => (d.spec.template.spec.containers[0].readinesProbe = {})), /has no .*readinesProbe/);
    assert.match(await broken((d) => (d.spec.template.spec.terminationGraceSeconds = 1)), /has no .*terminationGraceSeconds/);
    assert.match(await broken((d) => (d.spec.replicas = 'two')), /replicas/);
    assert.match(await broken((d) => delete d.spec.selector), /selector/);
    assert.match(await broken((d) => (d.spec.template.spec.containers[0].ports[0].containerPort = '8080')), /containerPort/);
});

test('every file is in the kustomization, or says that it is to be asked for', () => {
    const optional = names.filter((name) => !kustomization.resources.includes(name));
    assert.deepEqual(optional, ['hpa.yaml', 'secret.example.yaml']);
    for (const name of kustomization.resources) assert.ok(names.includes(name), name);
    const head = fs.readFileSync(path.join(DIR, 'kustomization.yaml'), 'utf8');
    for (const name of optional) assert.match(head, new RegExp(`# .*${name.replace('.', '\\.')}`));
});

test('pods have no rights, no writable root, no token, and the user of the image', () => {
    const uid = Number(fs.readFileSync(path.join(ROOT, 'Dockerfile'), 'utf8').match(/--uid (\d+)/)?.[1]);
    assert.equal(workloads.length, 3);
    for (const { metadata, spec } of workloads) {
        const pod = spec.template.spec;
        assert.equal(pod.automountServiceAccountToken, false, metadata.name);
        assert.equal(pod.enableServiceLinks, false, metadata.name);
        assert.deepEqual(pod.securityContext, { runAsNonRoot: true, runAsUser: uid, runAsGroup: uid, fsGroup: uid,
                                                seccompProfile: { type: 'RuntimeDefault' } });
        for (const container of pod.containers) {
            assert.deepEqual(container.securityContext, { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true,
                                                          capabilities: { drop: ['ALL'] } });
            assert.ok(container.resources.requests.memory && container.resources.requests.cpu && container.resources.limits.memory);
            assert.equal(container.image, kustomization.images[0].name);
            for (const { name } of container.volumeMounts) assert.ok(pod.volumes.some((/** @type {any} */ v) => v.name === name));
        }
    }
});

test('what selects pods selects those that are there; named ports exist', () => {
    const labels = workloads.map(({ spec }) => spec.template.metadata.labels);
    const chosen = (/** @type {Record<string, string>} */ wanted) => labels.filter((has) =>
        Object.entries(wanted).every(([key, value]) => has[key] === value)).length;
    const ports = new Set(workloads.flatMap(({ spec }) => spec.template.spec.containers)
        .flatMap((container) => container.ports ?? []).map((/** @type {any} */ port) => port.name));
    for (const { kind, metadata, spec } of all) {
        const selector = kind === 'Service' ? spec.selector
            : kind === 'NetworkPolicy' ? spec.podSelector.matchLabels : spec?.selector?.matchLabels;
        if (selector) assert.equal(chosen(selector), 1, `${kind} ${metadata.name}`);
        if (kind === 'Service') for (const port of spec.ports) assert.ok(ports.has(port.targetPort));
        if (kind === 'HorizontalPodAutoscaler') find(spec.scaleTargetRef.kind, spec.scaleTargetRef.name);
        for (const { ports: list = [] } of spec?.ingress ?? []) {
            for (const { port } of list) assert.ok(ports.has(port), `${metadata.name}: ${port}`);
        }
    }
});

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'threadcast-k8s-'));
after(() => fs.rmSync(dir, { recursive: true }));

for (const daemon of ['bridge', 'worker']) {
    const { data } = find('ConfigMap', `threadcast-${daemon}`);
    const { spec: { template: { spec: pod } } } = find('Deployment', `threadcast-${daemon}`);
    const [container] = pod.containers;

    test(`the ${daemon} takes the options and secrets that it is given there`, async () => {
        const secrets = find('Secret', 'threadcast').stringData;
        const mount = container.volumeMounts.find((/** @type {any} */ m) => m.name === 'secrets').mountPath;
        for (const [name, value] of Object.entries(secrets)) fs.writeFileSync(path.join(dir, name), `${value}\n`);
        const env = Object.fromEntries(Object.entries(data).map(([name, value]) => [name, value.replace(mount, dir)]));
        const check = (/** @type {Record<string, string>} */ more) => runToEnd(
            path.join(BIN, `threadcast-${daemon}`), ['--check-config'], { env: { ...env, ...more } });
        const { code, stderr } = await check({});
        assert.equal(code, 0, stderr);
        assert.equal((await check({ [`${daemon.toUpperCase()}_MISSPELT`]: '1' })).code, 2);
        assert.deepEqual(container.envFrom, [{ configMapRef: { name: `threadcast-${daemon}` } }]);
    });

    test(`the ${daemon} may take its time to leave, and its probes ask what it serves`, () => {
        const prefix = daemon.toUpperCase();
        const delay = Number(data[`${prefix}_SHUTDOWN_DELAY_MS`] ?? 0), drain = Number(data[`${prefix}_DRAIN_MS`]);
        assert.ok(pod.terminationGracePeriodSeconds * 1000 > delay + drain + 6000);
        const { livenessProbe, readinessProbe } = container;
        assert.deepEqual(livenessProbe.httpGet, { path: '/healthz', port: 'admin' });
        assert.deepEqual(readinessProbe.httpGet, { path: '/readyz', port: 'admin' });
        if (delay) assert.ok(readinessProbe.periodSeconds * readinessProbe.failureThreshold * 1000 < delay);
        const port = (/** @type {string} */ name) => container.ports.find((/** @type {any} */ p) => p.name === name).containerPort;
        assert.match(data[daemon === 'bridge' ? 'BRIDGE_ADMIN_LISTEN' : 'WORKER_METRICS_LISTEN'], new RegExp(`:${port('admin')}$`));
        if (daemon === 'bridge') assert.match(data.BRIDGE_LISTEN, new RegExp(`:${port('http')}$`));
        const { annotations } = find('Deployment', `threadcast-${daemon}`).spec.template.metadata;
        assert.equal(annotations['prometheus.io/port'], String(port('admin')));
    });
}
