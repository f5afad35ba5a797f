/* The fuzzer's seeds, each cut in every way the target knows. */
#include "../fuzz/fuzz_redis.c" // NOLINT(bugprone-suspicious-include)

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void replay(const char *path)
{
    uint8_t bytes[8192];
    FILE *f = fopen(path, "rb");
    size_t size;

    assert_non_null(f);
    size = fread(bytes, 1, sizeof(bytes), f);
    fclose(f);
    for (int cut = 0; cut < 64; cut++) {
        bytes[0] = (uint8_t)cut;
        LLVMFuzzerTestOneInput(bytes, size);
    }
}

static void test_corpus(void **state)
{
    const char dir[] = THREADCAST_SOURCE_DIR "/tests/fuzz/corpus/redis";
    char path[1024];
    struct dirent *entry;
    DIR *d = opendir(dir);
    int files = 0;

    (void)state;
    assert_non_null(d);
    while ((entry = readdir(d))) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
        replay(path);
        files++;
    }
    closedir(d);
    assert_true(files >= 11);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_corpus)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
