# SPDX-License-Identifier: Apache-2.0
# Defines NCCL::NCCL from nccl.h and libnccl.so of the CUDA toolkit, of the system, or of `scripts/install --gpu`.
include(Cache)
temper_cached(TEMPER_LIBTORCH libtorch-2.11.0)
find_package(CUDAToolkit 13 REQUIRED)
set(_nccl "${TEMPER_LIBTORCH}/nvidia/nccl")
find_path(NCCL_INCLUDE_DIR nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS} PATHS "${_nccl}/include")
find_library(NCCL_LIBRARY NAMES nccl libnccl.so.2 HINTS ${CUDAToolkit_LIBRARY_DIR} PATHS "${_nccl}/lib")
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(NCCL REQUIRED_VARS NCCL_LIBRARY NCCL_INCLUDE_DIR
                                  REASON_FAILURE_MESSAGE "run scripts/install --gpu, or install NCCL with its header")
if(NCCL_FOUND AND NOT TARGET NCCL::NCCL)
  add_library(NCCL::NCCL INTERFACE IMPORTED)
  target_include_directories(NCCL::NCCL INTERFACE ${NCCL_INCLUDE_DIR})
  target_link_libraries(NCCL::NCCL INTERFACE ${NCCL_LIBRARY} CUDA::cudart)
endif()
