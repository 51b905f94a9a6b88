# SPDX-License-Identifier: Apache-2.0
# Apache Arrow's Parquet reader out of the unpacked pyarrow wheel that scripts/install leaves in the cache:
# Arrow::Parquet. Not found is no error: then Parquet files are refused.
if(NOT TEMPER_ARROW)
  if(DEFINED ENV{TEMPER_CACHE})
    set(TEMPER_ARROW "$ENV{TEMPER_CACHE}/arrow-26.0.1/pyarrow")
  else()
    set(TEMPER_ARROW "$ENV{HOME}/.cache/temper/arrow-26.0.1/pyarrow")
  endif()
endif()
set(Arrow_FOUND FALSE)
if(EXISTS "${TEMPER_ARROW}/include/parquet/arrow/reader.h")
  set(Arrow_FOUND TRUE)
  add_library(Arrow::Parquet INTERFACE IMPORTED)
  target_include_directories(Arrow::Parquet INTERFACE "${TEMPER_ARROW}/include")
  target_link_libraries(Arrow::Parquet INTERFACE "${TEMPER_ARROW}/libparquet.so.2600"
                        "${TEMPER_ARROW}/libarrow.so.2600")
  target_link_options(Arrow::Parquet INTERFACE "-Wl,-rpath,${TEMPER_ARROW}")
endif()
