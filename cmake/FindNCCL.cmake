# SPDX-License-Identifier: Apache-2.0
# Defines NCCL::NCCL from the CUDA toolkit's or the system's nccl.h and libnccl.so.
find_package(CUDAToolkit REQUIRED)
find_path(NCCL_INCLUDE_DIR nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
find_library(NCCL_LIBRARY NAMES nccl HINTS ${CUDAToolkit_LIBRARY_DIR})
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(NCCL REQUIRED_VARS NCCL_LIBRARY NCCL_INCLUDE_DIR)
if(NCCL_FOUND AND NOT TARGET NCCL::NCCL)
  add_library(NCCL::NCCL INTERFACE IMPORTED)
  target_include_directories(NCCL::NCCL INTERFACE ${NCCL_INCLUDE_DIR})
  target_link_libraries(NCCL::NCCL INTERFACE ${NCCL_LIBRARY} CUDA::cudart)
endif()
