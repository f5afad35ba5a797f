// Over HTTP/1.1 a browser opens six connections to one place, for all its tabs together: the
// seventh tab with a stream would wait for ever, and so would every request. So the first
// two tabs have a stream of their own, whose every word the inspector shows, and all further
// ones share one (sdk/js, `shared`).

const OWN = ['threadcast-page-1', 'threadcast-page-2'];

/** Takes one of the places for as long as this tab lives. @returns {Promise<boolean>} */
export async function hasOwnConnection() {
    if (!navigator.locks) return true; // plain http: there is nothing to share with, either
    for (const name of OWN) {
        const got = await new Promise((resolve) => {
            navigator.locks
                .request(name, { ifAvailable: true }, (lock) => {
                    resolve(Boolean(lock));
                    return lock ? new Promise(() => {}) : undefined;
                })
                .catch(() => resolve(true));
        });
        if (got) return true;
    }
    return false;
}
