# SPDX-License-Identifier: Apache-2.0
# Apache Arrow's Parquet reader out of the unpacked pyarrow wheel that scripts/install leaves in the cache:
# Arrow::Parquet. Not found is no error: then Parquet files are refused.
include(Cache)
temper_cached(TEMPER_ARROW arrow-26.0.1/pyarrow)
set(Arrow_FOUND FALSE)
if(EXISTS "${TEMPER_ARROW}/include/parquet/arrow/reader.h")
  set(Arrow_FOUND TRUE)
  add_library(Arrow::Parquet INTERFACE IMPORTED)
  target_include_directories(Arrow::Parquet INTERFACE "${TEMPER_ARROW}/include")
  target_link_libraries(Arrow::Parquet INTERFACE "${TEMPER_ARROW}/libparquet.so.2600"
                        "${TEMPER_ARROW}/libarrow.so.2600")
  list(APPEND CMAKE_BUILD_RPATH "${TEMPER_ARROW}")
endif()
