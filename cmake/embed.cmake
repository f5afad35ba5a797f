# Run at build time: turns INPUT into a C array named SYMBOL, with a NUL behind it.
#   cmake -DINPUT=… -DOUTPUT=….c -DSYMBOL=… -P embed.cmake
file(READ "${INPUT}" hex HEX)
string(LENGTH "${hex}" digits)
math(EXPR bytes "${digits} / 2")
string(REGEX REPLACE "(................................)" "\\1\n    " hex "${hex}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," hex "${hex}")
get_filename_component(name "${INPUT}" NAME)
file(WRITE "${OUTPUT}"
    "/* Made from ${name} by CMake. */\n"
    "#include \"${SYMBOL}.h\"\n\n"
    "const char ${SYMBOL}[] = {\n    ${hex}0x00};\n"
    "const size_t ${SYMBOL}_len = ${bytes};\n")
