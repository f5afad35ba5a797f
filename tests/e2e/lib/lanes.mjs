// Lanes: several small worlds over one Redis and one PostgreSQL server, each with a
// database, a bridge and workers of its own, so that tests in which workers die can go on
// side by side without taking over each other's runs.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import { BIN, Stack } from '../harness.mjs';
import { balances, Reader } from './ledger.mjs';
import { run as command } from './process.mjs';
import { until } from './until.mjs';

/** @typedef {{ thread: string, run: string, readers: Reader[] }} Asked */

export class Lane {
    /** @type {import('../harness.mjs').Bridge} */
    bridge;
    /** @type {import('../harness.mjs').Worker} the one that stays alive */
    survivor;
    /** @type {number | undefined} for the end of a run */
    timeout;

    /** @param {Stack} stack @param {string} name */
    constructor(stack, name) {
        this.stack = stack;
        this.name = name;
        const url = new URL(stack.pg.url.replace('@/', '@localhost/'));
        url.pathname = `/${name}`;
        this.env = { DATABASE_URL: url.href.replace('@localhost/', '@/') };
        this.pool = new pg.Pool({ host: stack.pg.dir, user: 'threadcast', database: name, max: 4,
                                  options: '-c search_path=threadcast,public', application_name: 'e2e' });
        this.pool.on('error', () => {});
        this.query = async (sql, values = []) => (await this.pool.query(sql, values)).rows;
    }

    /**
     * @param {Stack} stack one with neither workers nor bridges
     * @param {string} name of its database
     * @param {import('../harness.mjs').Options} options of the survivor
     */
    static async open(stack, name, options) {
        await stack.pg.query(`create database ${name}`);
        const lane = new Lane(stack, name);
        const migrated = await command(path.join(BIN, 'threadcast-worker'), ['migrate'],
                                       { env: stack.env(lane.env) });
        assert.equal(migrated.code, 0, migrated.stderr);
        [lane.bridge, lane.survivor] = await Promise.all([
            stack.startBridge({ 'retry-ms': 50 }, lane.env), stack.startWorker(options, lane.env)]);
        return lane;
    }

    async close() {
        await this.pool.end();
    }

    /** The survivor neither claims nor sweeps until `goOn`. */
    async pause() {
        this.survivor.child.kill('SIGSTOP');
        await until(() => stateOf(this.survivor.child.pid) === 'T', { what: 'the survivor is stopped' });
    }

    goOn() {
        this.survivor.child.kill('SIGCONT');
    }

    /** A thread with a reader that is connected all along and one that is cut. */
    async watched(cutAt) {
        const thread = `kill-${crypto.randomUUID()}`;
        await this.query(`insert into threads (id, owner) values ($1, 'ann')`, [thread]);
        const headers = this.stack.authorization();
        const readers = [new Reader(this.bridge, thread, headers), new Reader(this.bridge, thread, headers, cutAt)];
        await Promise.all(readers.map((reader) => reader.ready()));
        return { thread, readers };
    }

    /** @param {{ thread: string, readers: Reader[] }} watched @returns {Promise<Asked>} */
    async ask({ thread, readers }, content, agent) {
        const receipt = await this.stack.post(thread, content, { bridge: this.bridge, agent });
        for (const reader of readers) reader.knows(receipt);
        return { thread, readers, run: receipt.runId };
    }

    /** No statement of a worker but the survivor is under way any more. */
    async settled() {
        const [, survivor] = this.survivor.output.match(/ready instance=(\w+)/) ?? [];
        await until(async () => !(await this.query(
            `select 1 from pg_stat_activity where datname = current_database()
               and application_name like 'threadcast-worker:%' and application_name not like $1`,
            [`threadcast-worker:${survivor}%`])).length, { what: 'the dead worker\'s connections are gone' });
    }

    /** @param {string[]} ids */
    async rows(ids) {
        const found = await this.query('select * from runs where id = any($1)', [ids]);
        return ids.map((id) => found.find((row) => row.id === id));
    }

    /** @param {Asked} asked @param {() => string} [what] */
    balances(asked, what) {
        return balances({ query: this.query, redis: this.stack.redis.client, ...asked, what, timeout: this.timeout });
    }

    /**
     * Does something while a function of the database is not what it should be.
     * @param {string} name @param {RegExp} part @param {string} instead
     * @param {() => Promise<unknown>} body
     */
    async sabotaged(name, part, instead, body) {
        const [{ text }] = await this.query(`select pg_get_functiondef($1::regproc) as text`, [name]);
        assert.match(text, part, `${name} is another one by now`);
        await this.query(text.replace(part, instead));
        this.timeout = 3000;
        try {
            await body();
        } finally {
            this.timeout = undefined;
            await this.query(text);
            await this.query('delete from threads');
        }
    }

    async nothingLeft() {
        const left = await this.query(`select id, status, attempt, worker from runs
            where status in ('queued', 'running') or end_published_at is null`);
        assert.deepEqual(left, [], 'no run is left');
    }
}

/** A connection of one's own, in the schema. @param {Stack} stack */
export async function connect(stack) {
    const client = new pg.Client({ host: stack.pg.dir, user: 'threadcast', database: 'threadcast',
                                   options: '-c search_path=threadcast' });
    await client.connect();
    return client;
}

/** R, S, T (stopped), Z, or '' when it is gone. @param {number} pid */
export function stateOf(pid) {
    try {
        return fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1][0];
    } catch {
        return '';
    }
}
