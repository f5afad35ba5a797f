// Reactors on slower cores. Where client, Redis and server share two cores, a second reactor
// has no core of its own, and nothing can be seen of what it would do. So each reactor gets a
// fifth of a core, and no more: then the server is what limits, cores are free, and twice the
// reactors should carry twice the events. By the CPU controller of cgroups (version 1).

import fs from 'node:fs';
import path from 'node:path';

const CONTROLLER = '/sys/fs/cgroup/cpu';
const PERIOD_US = 10_000;
const QUOTA_US = 2000;

/** May we do that here? */
export function canSlow() {
    try {
        fs.accessSync(path.join(CONTROLLER, 'tasks'), fs.constants.W_OK);
        return true;
    } catch {
        return false;
    }
}

/** Each thread of that process gets its fifth of a core. @param {number} pid @returns {() => void} to be called when it has ended */
export function slow(pid) {
    const groups = fs.readdirSync(`/proc/${pid}/task`).map((thread) => {
        const group = path.join(CONTROLLER, `threadcast-bench-${pid}-${thread}`);
        fs.mkdirSync(group);
        fs.writeFileSync(path.join(group, 'cpu.cfs_period_us'), String(PERIOD_US));
        fs.writeFileSync(path.join(group, 'cpu.cfs_quota_us'), String(QUOTA_US));
        fs.writeFileSync(path.join(group, 'tasks'), thread);
        return group;
    });
    return () => groups.forEach((group) => fs.rmdirSync(group));
}
