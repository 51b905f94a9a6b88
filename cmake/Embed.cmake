# SPDX-License-Identifier: Apache-2.0
# temper_embed(TARGET NAME FILE [DEPENDS targets...]): the bytes of FILE as `temper::NAME`, a constexpr std::string_view,
# for those of TARGET who include "FILE.h". FILE is named from the root of the tree, or from that of the build folder if it
# is built. A change of the file builds what includes it anew.
if(NOT CMAKE_SCRIPT_MODE_FILE)
  add_custom_target(embedded)  # all of them
  function(temper_embed target name file)
    cmake_parse_arguments(ARG "" "" "DEPENDS" ${ARGN})
    set(from "${CMAKE_SOURCE_DIR}/${file}")
    if(ARG_DEPENDS)
      set(from "${CMAKE_BINARY_DIR}/${file}")
    endif()
    set(header "${CMAKE_BINARY_DIR}/embed/${file}.h")
    set(script "${CMAKE_SOURCE_DIR}/cmake/Embed.cmake")
    add_custom_command(OUTPUT "${header}" DEPENDS "${from}" "${script}" ${ARG_DEPENDS} VERBATIM
                       COMMAND ${CMAKE_COMMAND} -DFILE=${from} -DHEADER=${header} -DNAME=${name} -P "${script}")
    add_custom_target(embed_${name} DEPENDS "${header}")
    add_dependencies(${target} embed_${name})
    add_dependencies(embedded embed_${name})
    target_include_directories(${target} PRIVATE "${CMAKE_BINARY_DIR}/embed")
  endfunction()
  return()
endif()
file(READ "${FILE}" bytes HEX)
string(LENGTH "${bytes}" digits)
math(EXPR size "${digits} / 2")
string(REGEX REPLACE "(..)" "\\\\x\\1" bytes "${bytes}")
file(WRITE "${HEADER}" "#pragma once\n#include <string_view>\nnamespace temper {
inline constexpr std::string_view ${NAME}(\"${bytes}\", ${size});\n}  // namespace temper\n")
