# SPDX-License-Identifier: Apache-2.0
# FLINT with Arb and Calcium: four libraries in FLINT 2 (Debian 12), one in FLINT 3 (Ubuntu 24.04).
find_path(FLINT_INCLUDE_DIR flint/flint.h)
find_library(FLINT_LIBRARY flint)
find_library(GMP_LIBRARY gmp)
find_path(CALCIUM_INCLUDE_DIR ca.h PATH_SUFFIXES flint calcium)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Flint DEFAULT_MSG FLINT_LIBRARY FLINT_INCLUDE_DIR GMP_LIBRARY CALCIUM_INCLUDE_DIR)
if(Flint_FOUND AND NOT TARGET Flint::Flint)
  set(libraries "${FLINT_LIBRARY}" "${GMP_LIBRARY}")
  foreach(name antic flint-arb calcium)  # FLINT 2 only; dependents first
    find_library(FLINT_${name} ${name})
    if(FLINT_${name})
      list(PREPEND libraries "${FLINT_${name}}")
    endif()
  endforeach()
  add_library(Flint::Flint INTERFACE IMPORTED)
  set_target_properties(Flint::Flint PROPERTIES INTERFACE_LINK_LIBRARIES "${libraries}"
    INTERFACE_INCLUDE_DIRECTORIES "${FLINT_INCLUDE_DIR};${FLINT_INCLUDE_DIR}/flint;${CALCIUM_INCLUDE_DIR}")
endif()
