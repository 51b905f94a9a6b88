# SPDX-License-Identifier: Apache-2.0
# `cmake --install build/cpu --prefix DIR`: a folder that can be moved and that any account can use.
#   bin/temper and temper_bench, lib/temper (every library that it needs, found beside it), share/temper/configs, share/doc/temper
# What stays the system's: glibc, which must not be older than where it was built, and Open MPI 4 or 5, for a cluster
# has its own; rule `code` asks for python3 and g++.
set_target_properties(temper temper_bench PROPERTIES INSTALL_RPATH "$ORIGIN/../lib/temper")
set(_targets temper temper_bench)
if(TARGET temper_parquet)
  set_target_properties(temper_parquet PROPERTIES INSTALL_RPATH "$ORIGIN")
  list(APPEND _targets temper_parquet)
endif()
install(TARGETS ${_targets}
        RUNTIME_DEPENDENCIES
          PRE_EXCLUDE_REGEXES "^(ld-linux.*|lib(c|m|z|dl|rt|pthread|resolv|util|mvec|anl)\\.so.*|libmpi.*|libcuda\\.so.*)$"
          DIRECTORIES ${CMAKE_BUILD_RPATH}
        RUNTIME DESTINATION bin
        LIBRARY DESTINATION lib/temper)
install(DIRECTORY configs DESTINATION share/temper)
install(FILES README.md LICENSE CHANGELOG.md DESTINATION share/doc/temper)
install(DIRECTORY docs/ DESTINATION share/doc/temper/docs)
