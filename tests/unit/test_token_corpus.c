/* Every seed of the token fuzzer, whole and cut at every byte, with the verdict that its
 * name says: accept-… or refuse-…. */
#include "../fuzz/fuzz_token.c"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static size_t read_file(const char *path, char *out, size_t size)
{
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t len = fread(out, 1, size, f);
    fclose(f);
    return len;
}

static void every_seed_has_its_verdict(void **state)
{
    const char *dir = THREADCAST_SOURCE_DIR "/tests/fuzz/corpus/token";
    int accepted = 0, refused = 0;
    struct dirent *entry;
    DIR *d = opendir(dir);
    (void)state;
    assert_non_null(d);
    while ((entry = readdir(d))) {
        static char data[65536];
        char path[1024];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
        size_t len = read_file(path, data, sizeof(data));
        bool wanted = !strncmp(entry->d_name, "accept-", 7);
        if (!wanted && strncmp(entry->d_name, "refuse-", 7) != 0)
            continue;
        if (token_input(data, len) != wanted || mixed_differ)
            fail_msg("%s", entry->d_name);
        wanted ? accepted++ : refused++;
        for (size_t n = 0; n < len && len < 8192; n++) {
            char *cut = malloc(n + 1); /* its own end, for the sanitizer */
            assert_non_null(cut);
            memcpy(cut, data, n);
            bool ok = token_input(cut, n);
            free(cut);
            if (mixed_differ || (ok && wanted && strchr("HREDT", data[0])))
                fail_msg("%s cut at %zu", entry->d_name, n);
        }
    }
    closedir(d);
    assert_true(accepted >= 10);
    assert_true(refused >= 50);
    for (int i = 0; i < 4; i++) {
        keyset_unref(sets[i]);
        key_free(keys[i]);
    }
    keyset_unref(mixed);
    key_free(ticket_key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_seed_has_its_verdict)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
