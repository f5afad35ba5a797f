/* keyfile: reading keys, and making the demo's exactly once. */
#include "bridge/keyfile.h"
#include "bridge/keys.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64], path[96];

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/threadcast-keyfile-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/key", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

static void write_file(const void *data, size_t len)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    fclose(f);
}

static void assert_reads(const void *data, size_t len, const char *wanted)
{
    struct buf out, err;
    buf_init(&out);
    buf_init(&err);
    write_file(data, len);
    assert_int_equal(keyfile_read(path, &out, &err), wanted != NULL);
    if (wanted)
        assert_string_equal(out.data, wanted);
    else
        assert_non_null(strstr(err.data, path));
    buf_fini(&out);
    buf_fini(&err);
}

static void reads_text_without_line_ends(void **state)
{
    static char large[KEY_FILE_MAX + 1];
    (void)state;
    assert_reads("abc", 3, "abc");
    assert_reads("abc\n", 4, "abc");
    assert_reads("abc\r\n\n", 6, "abc");
    assert_reads("a\nb\n", 4, "a\nb");
    assert_reads(" abc ", 5, " abc ");
    assert_reads("", 0, NULL);
    assert_reads("\n\n", 2, NULL);
    assert_reads("a\0b", 3, NULL);
    memset(large, 'x', sizeof(large));
    assert_reads(large, sizeof(large), NULL);
}

static void says_why_it_cannot(void **state)
{
    struct buf out, err;
    (void)state;
    buf_init(&out);
    buf_init(&err);
    assert_false(keyfile_read("/nonexistent/key", &out, &err));
    assert_string_equal(err.data, "/nonexistent/key: No such file or directory");
    buf_clear(&err);
    assert_false(keyfile_read(dir, &out, &err));
    assert_non_null(strstr(err.data, "directory"));
    buf_clear(&err);
    assert_false(keyfile_make("/nonexistent/key", &err));
    assert_non_null(strstr(err.data, "/nonexistent/key: cannot make the key: No such"));
    buf_fini(&out);
    buf_fini(&err);
}

static int files_in_dir(void)
{
    int count = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e = readdir(d); e; e = readdir(d))
        count += e->d_name[0] != '.';
    closedir(d);
    return count;
}

static void makes_a_key_once(void **state)
{
    struct buf first, again, err;
    struct stat st;
    (void)state;
    unlink(path);
    buf_init(&first);
    buf_init(&again);
    buf_init(&err);
    mode_t mask = umask(0);
    assert_true(keyfile_make(path, &err));
    umask(mask);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, 44); /* 43 of base64url and a line end */
    assert_true(keyfile_read(path, &first, &err));
    assert_true(keyfile_make(path, &err));
    assert_true(keyfile_read(path, &again, &err));
    assert_string_equal(first.data, again.data);
    assert_int_equal(files_in_dir(), 1);
    buf_fini(&first);
    buf_fini(&again);
    buf_fini(&err);
}

/* What is there is used, or refused, but never written over. */
static void keeps_what_is_there(void **state)
{
    struct buf out, err;
    (void)state;
    buf_init(&out);
    buf_init(&err);
    write_file("mine\n", 5);
    assert_true(keyfile_make(path, &err));
    assert_true(keyfile_read(path, &out, &err));
    assert_string_equal(out.data, "mine");
    buf_fini(&out);
    buf_fini(&err);
}

/* Of many at once all read the same key, whole. */
static void many_at_once_agree(void **state)
{
    int pipes[8];
    char keys[8][64] = {{0}};
    (void)state;
    unlink(path);
    for (int i = 0; i < 8; i++) {
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            struct buf out, err;
            buf_init(&out);
            buf_init(&err);
            bool ok = keyfile_make(path, &err) && keyfile_read(path, &out, &err) &&
                      write(ends[1], out.data, out.len) == (ssize_t)out.len;
            _exit(ok ? 0 : 1);
        }
        close(ends[1]);
        pipes[i] = ends[0];
    }
    for (int i = 0; i < 8; i++) {
        int status;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    for (int i = 0; i < 8; i++) {
        assert_int_equal(read(pipes[i], keys[i], 63), 43);
        close(pipes[i]);
        assert_string_equal(keys[i], keys[0]);
    }
    assert_int_equal(files_in_dir(), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_text_without_line_ends),
        cmocka_unit_test(says_why_it_cannot),
        cmocka_unit_test(makes_a_key_once),
        cmocka_unit_test(keeps_what_is_there),
        cmocka_unit_test(many_at_once_agree),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
