# SPDX-License-Identifier: Apache-2.0
# What scripts/install unpacks lies in $TEMPER_CACHE, else in ~/.cache/temper.
# temper_cached(VARIABLE NAME): sets VARIABLE, unless it is set, to the folder NAME there.
function(temper_cached variable name)
  if(NOT ${variable})
    if(DEFINED ENV{TEMPER_CACHE})
      set(${variable} "$ENV{TEMPER_CACHE}/${name}" PARENT_SCOPE)
    else()
      set(${variable} "$ENV{HOME}/.cache/temper/${name}" PARENT_SCOPE)
    endif()
  endif()
endfunction()
