// monitoring/: what the alert rules and the dashboard ask for, and a Prometheus that asks.

import fs from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';
import { Child, run } from './process.mjs';
import { freePort } from './servers.mjs';
import { until } from './until.mjs';

/** Every expression, by where it stands. @param {string} dir @returns {{ at: string, expr: string }[]} */
export function expressions(dir) {
    const rules = parse(fs.readFileSync(path.join(dir, 'alerts.yml'), 'utf8')).groups
        .flatMap((/** @type {any} */ group) => group.rules)
        .map((/** @type {any} */ rule) => ({ at: `alert ${rule.alert}`, expr: rule.expr }));
    const dashboard = JSON.parse(fs.readFileSync(path.join(dir, 'grafana-dashboard.json'), 'utf8'));
    const variables = dashboard.templating.list.filter((/** @type {any} */ v) => v.type === 'query')
        .map((/** @type {any} */ v) => ({ at: `variable ${v.name}`, expr: v.definition }));
    const panels = dashboard.panels.flatMap((/** @type {any} */ panel) => (panel.targets ?? [])
        .map((/** @type {any} */ target) => ({ at: `panel ${panel.title}`, expr: target.expr })));
    return [...rules, ...variables, ...panels];
}

/** The series of a page of metrics: `{ name, labels }`. @param {string} text */
export function seriesOf(text) {
    return text.split('\n').filter((line) => line && !line.startsWith('#')).map((line) => {
        const [, name, list = ''] = line.match(/^([a-z_A-Z0-9]+)(?:\{(.*)\})? /) ?? [];
        return { name, labels: Object.fromEntries([...list.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, value]) => [key, value])) };
    });
}

/** What an expression names that no series has. @param {string} expr @param {ReturnType<typeof seriesOf>} series */
export function missing(expr, series) {
    /** @type {string[]} */
    const found = [];
    for (const [, name, list = ''] of expr.matchAll(/\b(threadcast_\w+)(?:\{([^}]*)\})?/g)) {
        const those = series.filter((one) => one.name === name);
        if (!those.length) found.push(name);
        for (const [, label, , values] of list.matchAll(/(\w+)(=~|!=|=)"([^"]*)"/g)) {
            if (label === 'instance') continue; // Prometheus' own
            for (const value of values.split('|')) {
                if (!those.some(({ labels }) => labels[label] === value)) found.push(`${name}{${label}="${value}"}`);
            }
        }
    }
    return found;
}

/** Debian's Prometheus over our daemons. */
export class Prometheus {
    /** @type {Child | null} */
    child = null;

    /** @param {string} dir of its own @param {string} rules a file @param {Record<string, string>} targets job: address */
    constructor(dir, rules, targets) {
        this.dir = dir;
        this.rules = rules;
        this.targets = targets;
        this.port = 0;
    }

    async start() {
        fs.mkdirSync(this.dir, { recursive: true });
        const file = path.join(this.dir, 'prometheus.yml');
        fs.writeFileSync(file, JSON.stringify({ // which is YAML, too
            global: { scrape_interval: '200ms', scrape_timeout: '200ms', evaluation_interval: '200ms' },
            rule_files: [this.rules],
            scrape_configs: Object.entries(this.targets).map(([job_name, target]) => ({ job_name, static_configs: [{ targets: [target] }] })),
        }));
        this.port = await freePort();
        this.child = new Child('prometheus', 'prometheus', [`--config.file=${file}`, `--web.listen-address=127.0.0.1:${this.port}`,
                                                            `--storage.tsdb.path=${path.join(this.dir, 'data')}`]);
        await until(async () => (await this.ask('/-/ready', false)).ok, { what: () => `it is ready\n${this.child?.tail()}` });
    }

    /** @param {string} to */
    async ask(to, json = true) {
        const response = await fetch(`http://127.0.0.1:${this.port}${to}`);
        return json ? response.json() : response;
    }

    /** @param {string} expr */
    async query(expr) {
        return this.ask(`/api/v1/query?query=${encodeURIComponent(expr)}`);
    }

    /** What promtool has to say about the rules. */
    async check() {
        return run('promtool', ['check', 'rules', this.rules]);
    }

    async stop() {
        await this.child?.stop('SIGKILL');
    }
}
