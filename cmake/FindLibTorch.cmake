# SPDX-License-Identifier: Apache-2.0
# LibTorch out of the unpacked PyPI wheel that scripts/install leaves in the cache.
# Defines LibTorch::LibTorch (torch_cpu and c10; with TEMPER_GPU also torch_cuda and c10_cuda).
include(Cache)
temper_cached(TEMPER_LIBTORCH libtorch-2.11.0)
if(NOT EXISTS "${TEMPER_LIBTORCH}/torch/include/ATen/core/Tensor.h")
  message(FATAL_ERROR "LibTorch is not in ${TEMPER_LIBTORCH}: run scripts/install, or set -DTEMPER_LIBTORCH=DIR "
                      "to a folder that holds torch/include and torch/lib")
endif()
set(_torch "${TEMPER_LIBTORCH}/torch")
set(_nvidia "${TEMPER_LIBTORCH}/nvidia/cu13/lib")
add_library(LibTorch::LibTorch INTERFACE IMPORTED)
# The wheel carries an old copy of protobuf's headers: it must come last, hence -idirafter.
target_compile_options(LibTorch::LibTorch INTERFACE -idirafter ${_torch}/include)
target_link_libraries(LibTorch::LibTorch INTERFACE ${_torch}/lib/libtorch_cpu.so ${_torch}/lib/libc10.so)
if(TEMPER_GPU)
  find_package(CUDAToolkit 13 REQUIRED)
  target_link_libraries(LibTorch::LibTorch INTERFACE -Wl,--no-as-needed ${_torch}/lib/libtorch_cuda.so
                        ${_torch}/lib/libc10_cuda.so -Wl,--as-needed CUDA::cudart)
endif()
# torch_cpu's own needs (cudart, cupti) are found at run time, in _nvidia; the linker need not see them.
target_link_options(LibTorch::LibTorch INTERFACE -Wl,--allow-shlib-undefined -Wl,-rpath-link,${_nvidia})
list(APPEND CMAKE_BUILD_RPATH "${_torch}/lib" "${_nvidia}")
set(LibTorch_FOUND TRUE)
