/* What a model provider is asked: the layers of settings, the address, the messages
 * within their budget. */
#include "common/json.h"
#include "worker/agents/openai_request.h"

#include "unit.h"
#include "worker/agents/openai_settings.h"
#include "worker/conf.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- the operator's members ------------------------------------------------------- */

/* Its settings, or NULL and what is wrong in `why`. */
static struct openai_settings *options(const char *json, struct buf *why)
{
    buf_init(why);
    buf_str(why, "");
    return openai_options_new(json, strlen(json), why);
}

static void the_file_is_read(void **state)
{
    static const char json[] =
        "{\"base_url\":\"http://a/v1\",\"model\":\"m\",\"system\":\"Be kind.\","
        "\"temperature\":0.5,\"max_tokens\":9,\"extra_body\":{\"a\":1},"
        "\"history_messages\":0,\"stall_ms\":5,\"stream\":false,\"pace\":0,"
        "\"allow\":[\"model\",\"extra_body\"]}";
    struct buf why;
    struct openai_settings *s = options(json, &why);

    (void)state;
    assert_non_null(s);
    assert_string_equal(s->base_url, "http://a/v1");
    assert_string_equal(s->model, "m");
    assert_string_equal(s->system, "Be kind.");
    assert_true(s->temperature == 0.5);
    assert_int_equal(s->max_tokens, 9);
    assert_int_equal(s->history_messages, 0);
    assert_int_equal(s->history_tokens, -1);
    assert_int_equal(s->stall_ms, 5);
    assert_int_equal(s->stream, 0);
    assert_int_equal(s->allow, OPENAI_ALLOW_MODEL | OPENAI_ALLOW_EXTRA_BODY);
    openai_options_free(s);
    openai_options_free(NULL);
    buf_fini(&why);
}

static void complaints_name_the_member_and_not_the_value(void **state)
{
    static const struct {
        const char *json, *expected;
    } all[] = {
        {"{\"nonsense\":1}", "nonsense: there is no such member"},
        {"{\"base_url\":\"ftp://SECRET/\"}",
         "base_url: must begin with http:// or https://"},
        {"{\"base_url\":\"http://u:SECRET@a/\"}",
         "base_url: must not hold a user or password"},
        {"{\"model\":\"\"}", "model: must be a text whose length is between 1 and 256"},
        {"{\"model\":1}", "model: must be a text"},
        {"{\"temperature\":2.5}", "temperature: must be a number between 0 and 2"},
        {"{\"temperature\":\"SECRET\"}", "temperature: must be a number between 0 and 2"},
        {"{\"max_tokens\":0}",
         "max_tokens: must be a whole number between 1 and 10000000"},
        {"{\"max_tokens\":1.5}",
         "max_tokens: must be a whole number between 1 and 10000000"},
        {"{\"extra_body\":[]}", "extra_body: must be an object"},
        {"{\"stream\":1}", "stream: must be true or false"},
        {"{\"allow\":\"model\"}",
         "allow: must be a list of members that a message may set"},
        {"{\"allow\":[\"base_url\"]}",
         "allow: may hold model, system, temperature, max_tokens, extra_body"},
        {"{\"api_key_env\":\"THREADCAST_NO_SUCH\"}",
         "api_key_env: there is no such variable"},
        {"{\"api_key_env\":\"THREADCAST_BAD_KEY\"}",
         "api_key_env: must be printable ASCII without spaces"},
        {"{\"api_key_env\":\"THREADCAST_KEY\",\"api_key_file\":\"/dev/null\"}",
         "api_key_file: must have 1 to 4096 characters"},
        {"{\"api_key_file\":\"/nowhere/SECRET\"}",
         "api_key_file: No such file or directory"},
    };

    (void)state;
    setenv("THREADCAST_KEY", "sk-SECRET", 1);
    setenv("THREADCAST_BAD_KEY", "sk SECRET\n", 1);
    for (size_t i = 0; i < COUNT(all); i++) {
        struct buf why;
        assert_null(options(all[i].json, &why));
        if (i != 15) /* whichever of the two is read first */
            assert_string_equal(why.data, all[i].expected);
        assert_null(strstr(why.data, "SECRET"));
        buf_fini(&why);
    }
}

static char key_path[32];

/* In memory: nothing is left behind where a failed allocation ends the test. */
static int make_file(void **state)
{
    (void)state;
    return snprintf(key_path, sizeof(key_path), "/proc/self/fd/%d",
                    memfd_create("key", 0)) < 0;
}

static void keys_come_from_files_and_variables(void **state)
{
    char json[128];
    FILE *f = fopen(key_path, "w");
    struct buf why;
    struct openai_settings *s;

    (void)state;
    assert_non_null(f);
    fputs("sk-file\n", f);
    fclose(f);
    snprintf(json, sizeof(json), "{\"api_key_file\":\"%s\"}", key_path);
    s = options(json, &why);
    assert_non_null(s);
    assert_string_equal(s->api_key, "sk-file");
    openai_options_free(s);
    buf_fini(&why);
    setenv("THREADCAST_KEY", "sk-env", 1);
    s = options("{\"api_key_env\":\"THREADCAST_KEY\"}", &why);
    assert_non_null(s);
    assert_string_equal(s->api_key, "sk-env");
    openai_options_free(s);
    buf_fini(&why);
}

/* --- the layers ------------------------------------------------------------------- */

static struct worker_conf conf = {.openai_base_url = (char *)"https://p/v1",
                                  .openai_api_key = (char *)"sk-worker",
                                  .openai_model = (char *)"of-the-worker"};

static void make(struct openai_settings *s, const char *json)
{
    struct buf why;
    struct openai_settings *over = options(json, &why);

    assert_non_null(over);
    openai_settings_init(s);
    assert_true(openai_settings_standard(s, &conf));
    assert_true(openai_settings_over(s, over));
    openai_options_free(over);
    buf_fini(&why);
}

static void a_key_is_for_the_address_it_was_given_for(void **state)
{
    struct openai_settings s;

    (void)state;
    make(&s, "{}");
    assert_string_equal(s.api_key, "sk-worker");
    assert_string_equal(s.model, "of-the-worker");
    assert_int_equal(s.stall_ms, 60000);
    openai_settings_fini(&s);
    make(&s, "{\"base_url\":\"http://else/\"}");
    assert_null(s.api_key);
    openai_settings_fini(&s);
    setenv("THREADCAST_KEY", "sk-env", 1);
    make(&s, "{\"base_url\":\"http://else/\",\"api_key_env\":\"THREADCAST_KEY\"}");
    assert_string_equal(s.api_key, "sk-env");
    openai_settings_fini(&s);
}

static void check_message(const char *agent, const char *metadata, const char *code)
{
    struct openai_settings s;
    struct buf why;
    const char *got;

    make(&s, agent);
    buf_init(&why);
    got = openai_settings_message(&s, metadata, &why);
    if (code)
        assert_string_equal(got ? got : "taken", code);
    else
        assert_null(got);
    assert_int_equal(why.len > 0, code != NULL);
    buf_fini(&why);
    openai_settings_fini(&s);
}

static void a_message_may_what_the_operator_allows(void **state)
{
    static const char all[] = "{\"allow\":[\"model\",\"system\",\"temperature\","
                              "\"max_tokens\",\"extra_body\"]}";

    (void)state;
    check_message("{}", "{}", NULL);
    check_message("{}", "{\"openai\":{}}", NULL);
    check_message("{}", "{\"openai\":{\"temperature\":0,\"max_tokens\":1}}", NULL);
    check_message("{}", "{\"openai\":{\"model\":\"x\"}}", "option_refused");
    check_message("{}", "{\"openai\":{\"system\":\"x\"}}", "option_refused");
    check_message("{}", "{\"openai\":{\"extra_body\":{}}}", "option_refused");
    check_message("{\"allow\":[]}", "{\"openai\":{\"temperature\":0}}", "option_refused");
    check_message(all, "{\"openai\":{\"model\":\"x\",\"system\":\"\",\"extra_body\":{}}}",
                  NULL);
    check_message(all, "{\"openai\":{\"api_key_env\":\"PATH\"}}", "option_refused");
    check_message(all, "{\"openai\":{\"allow\":[]}}", "option_refused");
    check_message(all, "{\"openai\":{\"x\":1}}", "option_refused");
    check_message(all, "{\"openai\":{\"extra_body\":{\"stream\":false}}}",
                  "option_refused");
    check_message(all, "{\"openai\":{\"extra_body\":{\"model\":null}}}",
                  "option_refused");
    check_message(all, "{\"openai\":{\"extra_body\":7}}", "option_invalid");
    check_message(all, "{\"openai\":{\"model\":\"\"}}", "option_invalid");
    check_message(all, "{\"openai\":[]}", "option_invalid");
}

static void the_operators_maximum_is_the_most(void **state)
{
    struct openai_settings s;
    struct buf why;

    (void)state;
    buf_init(&why);
    make(&s, "{\"max_tokens\":50}");
    assert_null(openai_settings_message(&s, "{\"openai\":{\"max_tokens\":90}}", &why));
    assert_int_equal(s.max_tokens, 50);
    assert_null(openai_settings_message(&s, "{\"openai\":{\"max_tokens\":9}}", &why));
    assert_int_equal(s.max_tokens, 9);
    openai_settings_fini(&s);
    buf_fini(&why);
}

/* --- the question ----------------------------------------------------------------- */

static void addresses(void **state)
{
    static const char *const all[][2] = {
        {"https://api.openai.com/v1", "https://api.openai.com/v1/chat/completions"},
        {"https://api.openai.com/v1/", "https://api.openai.com/v1/chat/completions"},
        {"http://127.0.0.1:8080", "http://127.0.0.1:8080/v1/chat/completions"},
        {"http://127.0.0.1:8080/", "http://127.0.0.1:8080/v1/chat/completions"},
        {"http://a?k=v", "http://a/v1/chat/completions?k=v"},
        {"https://a/openai/x?api-version=2",
         "https://a/openai/x/chat/completions?api-version=2"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(all); i++) {
        struct buf url;
        buf_init(&url);
        openai_request_url(all[i][0], &url);
        assert_string_equal(url.data, all[i][1]);
        buf_fini(&url);
    }
}

/* The contents that are sent, with a bar behind each. */
static void check_messages(const char *agent, const char *history, const char *prompt,
                           const char *expected)
{
    struct openai_settings s;
    struct buf body, got;
    json_t *root, *message;
    size_t i;

    make(&s, agent);
    buf_init(&body);
    buf_init(&got);
    assert_true(openai_request_body(&s, history, prompt, &body));
    root = json_read(body.data, body.len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    json_array_foreach(json_object_get(root, "messages"), i, message)
    {
        buf_add(&got, json_string_value(json_object_get(message, "role")), 1);
        buf_str(&got, json_string_value(json_object_get(message, "content")));
        buf_char(&got, '|');
    }
    assert_string_equal(got.data, expected);
    json_decref(root);
    buf_fini(&body);
    buf_fini(&got);
    openai_settings_fini(&s);
}

static void the_newest_messages_are_kept(void **state)
{
    static const char history[] =
        "[{\"role\":\"user\",\"content\":\"one\"},{\"role\":\"assistant\",\"content\":"
        "\"two\"},{\"role\":\"tool\",\"content\":\"x\"},{\"role\":\"assistant\","
        "\"content\":\"\"},{\"role\":\"user\",\"content\":\"three\"},{\"role\":"
        "\"assistant\",\"content\":\"four\"}]";

    (void)state;
    check_messages("{}", history, "now", "uone|atwo|uthree|afour|unow|");
    check_messages("{}", NULL, "now", "unow|");
    check_messages("{\"system\":\"Be\"}", history, "now",
                   "sBe|uone|atwo|uthree|afour|unow|");
    check_messages("{\"history_messages\":0}", history, "now", "unow|");
    check_messages("{\"history_messages\":1}", history, "now", "unow|");
    check_messages("{\"history_messages\":2}", history, "now", "uthree|afour|unow|");
    check_messages("{\"history_messages\":3}", history, "now", "uthree|afour|unow|");
    check_messages("{\"history_messages\":4}", history, "now",
                   "uone|atwo|uthree|afour|unow|");
    /* 5 for `now`, 5 for `four`, 6 for `three`, 5 each for the others */
    check_messages("{\"history_tokens\":1}", history, "now", "unow|");
    check_messages("{\"history_tokens\":15}", history, "now", "unow|");
    check_messages("{\"history_tokens\":16}", history, "now", "uthree|afour|unow|");
    check_messages("{\"history_tokens\":26}", history, "now",
                   "uone|atwo|uthree|afour|unow|");
    check_messages("{\"history_tokens\":26,\"system\":\"Be\"}", history, "now",
                   "sBe|uthree|afour|unow|");
}

static void tokens_are_estimated(void **state)
{
    (void)state;
    assert_int_equal(openai_tokens("", 0), 4);
    assert_int_equal(openai_tokens("four", 4), 5);
    assert_int_equal(openai_tokens("fives", 5), 6);
    assert_int_equal(openai_tokens("日本", 6), 6);
}

static void a_question_is_complete(void **state)
{
    struct openai_settings s;
    struct openai_question q;

    (void)state;
    make(&s, "{\"temperature\":0.2,\"max_tokens\":7,\"extra_body\":{\"seed\":1,"
             "\"stream_options\":null}}");
    openai_question_init(&q);
    assert_true(openai_question_make(&q, &s, "[]", "say \"hi\"\n"));
    assert_string_equal(q.url.data, "https://p/v1/chat/completions");
    assert_string_equal(q.bearer.data, "Bearer sk-worker");
    assert_string_equal(
        q.body.data,
        "{\"model\":\"of-the-worker\",\"messages\":[{\"role\":\"user\",\"content\":\"say "
        "\\\"hi\\\"\\n\"}],\"stream\":true,\"temperature\":0.2,\"max_tokens\":7,"
        "\"seed\":1}");
    openai_question_fini(&q);
    openai_settings_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_file_is_read),
        cmocka_unit_test(complaints_name_the_member_and_not_the_value),
        cmocka_unit_test_setup(keys_come_from_files_and_variables, make_file),
        cmocka_unit_test(a_key_is_for_the_address_it_was_given_for),
        cmocka_unit_test(a_message_may_what_the_operator_allows),
        cmocka_unit_test(the_operators_maximum_is_the_most),
        cmocka_unit_test(addresses),
        cmocka_unit_test(the_newest_messages_are_kept),
        cmocka_unit_test(tokens_are_estimated),
        cmocka_unit_test(a_question_is_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
