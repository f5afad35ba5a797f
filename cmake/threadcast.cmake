# What the directories' own CMakeLists.txt call.

# threadcast_embed(<target> <file> <symbol>): compiles a text file into the target as
#   const char <symbol>[]; (with a NUL behind it)   const size_t <symbol>_len;
# declared in "<symbol>.h".
function(threadcast_embed target file symbol)
    get_filename_component(input "${file}" ABSOLUTE)
    set(dir "${CMAKE_CURRENT_BINARY_DIR}/embed")
    set(output "${dir}/${symbol}.c")
    file(CONFIGURE OUTPUT "${dir}/${symbol}.h" @ONLY CONTENT
"/* Made by CMake. */
#include <stddef.h>

extern const char @symbol@[]; /* NUL-terminated */
extern const size_t @symbol@_len;
")
    add_custom_command(
        OUTPUT "${output}"
        COMMAND ${CMAKE_COMMAND} -DINPUT=${input} -DOUTPUT=${output} -DSYMBOL=${symbol}
                -P "${PROJECT_SOURCE_DIR}/cmake/embed.cmake"
        DEPENDS "${input}" "${PROJECT_SOURCE_DIR}/cmake/embed.cmake"
        COMMENT "Embedding ${file}"
        VERBATIM)
    target_sources(${target} PRIVATE "${output}")
    target_include_directories(${target} PUBLIC "${dir}")
endfunction()

# threadcast_unit_test(<noun> <lib>…): tests/unit/test_<noun>.c with cmocka.
function(threadcast_unit_test noun)
    add_executable(test_${noun} test_${noun}.c)
    target_link_libraries(test_${noun} PRIVATE ${ARGN} PkgConfig::CMOCKA threadcast_warnings)
    if(TARGET torture)
        target_link_libraries(test_${noun} PRIVATE torture)
    endif()
    target_compile_definitions(test_${noun} PRIVATE
        THREADCAST_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
    set_target_properties(test_${noun} PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
    add_test(NAME unit.${noun} COMMAND test_${noun})
    set_tests_properties(unit.${noun} PROPERTIES LABELS unit TIMEOUT 120)
endfunction()

# threadcast_valgrind(<noun>…): unit tests that valgrind runs, too: it sees reads of bytes
# that nobody has written, which AddressSanitizer does not.
function(threadcast_valgrind)
    find_program(VALGRIND valgrind)
    if(NOT VALGRIND OR THREADCAST_SANITIZE)
        return()
    endif()
    foreach(noun ${ARGN})
        add_test(NAME valgrind.${noun} COMMAND ${VALGRIND} --quiet --error-exitcode=9
            --leak-check=full --track-fds=no $<TARGET_FILE:test_${noun}>)
        set_tests_properties(valgrind.${noun} PROPERTIES LABELS valgrind TIMEOUT 600)
    endforeach()
endfunction()

# threadcast_torture(<noun>…): the unit tests that are also run with failing allocations
# (tests/unit/torture.c).
function(threadcast_torture)
    if(NOT TARGET torture)
        return()
    endif()
    foreach(noun ${ARGN})
        add_test(NAME torture.${noun} COMMAND test_${noun})
        set_tests_properties(torture.${noun} PROPERTIES LABELS torture TIMEOUT 1200
            ENVIRONMENT "THREADCAST_TORTURE=1;UBSAN_OPTIONS=print_stacktrace=1;LSAN_OPTIONS=print_suppressions=0:suppressions=${PROJECT_SOURCE_DIR}/tests/unit/torture.supp")
    endforeach()
endfunction()

# threadcast_fuzz(<noun> <lib>… [SOURCES <file>…] [LINK <option>…]): tests/fuzz/fuzz_<noun>.c;
# tests/fuzz/max_len/<noun> has the length of its largest inputs, where 4,096 are too few;
# the corpus is tests/fuzz/corpus/<noun>. With the fuzz preset a libFuzzer target, whose new
# inputs go to the build directory; with the tests a program that replays the corpus.
function(threadcast_fuzz noun)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LINK")
    set(corpus "${CMAKE_CURRENT_SOURCE_DIR}/corpus/${noun}")
    if(THREADCAST_FUZZ)
        add_executable(fuzz_${noun} fuzz_${noun}.c ${arg_SOURCES})
        if(NOT TARGET fuzzers)
            add_custom_target(fuzzers)
        endif()
        add_dependencies(fuzzers fuzz_${noun})
        target_link_libraries(fuzz_${noun} PRIVATE ${arg_UNPARSED_ARGUMENTS}
            threadcast_warnings)
        target_link_options(fuzz_${noun} PRIVATE -fsanitize=fuzzer ${arg_LINK})
        set_target_properties(fuzz_${noun} PROPERTIES
            RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/fuzz")
        set(found "${PROJECT_BINARY_DIR}/fuzz/corpus/${noun}")
        file(MAKE_DIRECTORY "${found}")
        set(longest 4096)
        if(EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/max_len/${noun}")
            file(STRINGS "${CMAKE_CURRENT_SOURCE_DIR}/max_len/${noun}" longest)
        endif()
        set(words "${CMAKE_CURRENT_SOURCE_DIR}/dict/${noun}")
        if(EXISTS "${words}")
            set(dictionary "-dict=${words}")
        endif()
        add_test(NAME fuzz-smoke.${noun}
            COMMAND fuzz_${noun} -seed=1 -max_total_time=2 -max_len=${longest} -timeout=20
                    ${dictionary} "${found}" "${corpus}")
        set_tests_properties(fuzz-smoke.${noun} PROPERTIES LABELS fuzz-smoke TIMEOUT 120)
    endif()
    if(THREADCAST_TESTS)
        add_executable(replay_${noun} fuzz_${noun}.c replay.c ${arg_SOURCES})
        target_link_libraries(replay_${noun} PRIVATE ${arg_UNPARSED_ARGUMENTS}
            threadcast_warnings)
        target_link_options(replay_${noun} PRIVATE ${arg_LINK})
        set_target_properties(replay_${noun} PROPERTIES
            RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
        add_test(NAME unit.replay_${noun} COMMAND replay_${noun} "${corpus}")
        set_tests_properties(unit.replay_${noun} PROPERTIES LABELS unit TIMEOUT 120)
    endif()
endfunction()
