/* fuzz_hint: what a worker hears on its control channel, which anybody may write to. A
 * hint is what jansson reads as an object of type "cancel" with a UUID, and nothing else
 * is. */
#include "fuzz.h"

#include "common/names.h"
#include "worker/control.h"

#include <jansson.h>

static bool hint_ok(struct span s, char id[UUID_SIZE])
{
    json_t *root = json_loadb(s.at, s.len, JSON_REJECT_DUPLICATES, NULL);
    const char *type = NULL, *run = NULL;
    bool ok;

    ok = json_is_object(root) &&
         json_unpack(root, "{s:s, s:s}", "type", &type, "runId", &run) == 0 &&
         strcmp(type, "cancel") == 0 && strlen(run) == UUID_SIZE - 1 &&
         strspn(run, "0123456789abcdefABCDEF-") == UUID_SIZE - 1 && uuid_valid(run, 36);
    if (ok)
        memcpy(id, run, UUID_SIZE);
    json_decref(root);
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};
    char *copy = malloc(size ? size : 1), id[UUID_SIZE] = "", want[UUID_SIZE] = "";

    MUST(copy);
    if (size)
        memcpy(copy, in.at, size);
    bool ok = control_parse(copy, size, id);
    if (size <= 1024)
        MUST(ok == hint_ok((struct span){copy, size}, want));
    else
        MUST(!ok);
    MUST(strcmp(id, want) == 0);
    free(copy);
    return 0;
}
