# SPDX-License-Identifier: Apache-2.0
# What every room shares: compiler flags, the packages, and the functions that make a room (temper_library),
# the multi-ISA kernels (temper_kernels) and a room's tests (temper_tests).

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1")
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # The compiler collects no garbage below 1 GiB: a tenth of its time, for a tenth more memory.
  add_compile_options(--param=ggc-min-heapsize=1048576)
endif()

find_program(TEMPER_CCACHE ccache)
if(TEMPER_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${TEMPER_CCACHE}")
endif()

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(absl REQUIRED)
find_package(yaml-cpp REQUIRED)  # 0.8 (Ubuntu 24.04) has a namespace, 0.7 (Debian 12) has not
set(TEMPER_YAML yaml-cpp)
if(TARGET yaml-cpp::yaml-cpp)
  set(TEMPER_YAML yaml-cpp::yaml-cpp)
endif()
find_package(Protobuf REQUIRED)
find_package(simdjson REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(ONIG REQUIRED IMPORTED_TARGET oniguruma)
pkg_check_modules(ICU REQUIRED IMPORTED_TARGET icu-uc icu-i18n)
pkg_check_modules(SECCOMP REQUIRED IMPORTED_TARGET libseccomp)
find_package(ZLIB REQUIRED)
find_package(Flint REQUIRED)
find_library(CLD2_LIBRARY cld2 REQUIRED)
set(TEMPER_ONIG PkgConfig::ONIG)
set(TEMPER_ICU PkgConfig::ICU)
find_package(Arrow)  # optional: Parquet files
set(TEMPER_SECCOMP PkgConfig::SECCOMP)
set(TEMPER_CLD2 "${CLD2_LIBRARY}")
if(TEMPER_TORCH)
  find_package(LibTorch REQUIRED)
  find_package(MPI REQUIRED COMPONENTS C)
  set(TEMPER_MPI MPI::MPI_C)
  target_compile_definitions(MPI::MPI_C INTERFACE OMPI_SKIP_MPICXX=1)  # its C++ bindings need a library of their own
  if(TEMPER_GPU)
    find_package(NCCL REQUIRED)
    set(TEMPER_NCCL NCCL::NCCL)
  endif()
endif()

# Libraries are found by the program's own list of folders, which holds for all that they need in turn and for the
# Parquet library that is loaded by name; hence the old kind of list (DT_RPATH).
add_link_options(-Wl,--disable-new-dtags)
list(APPEND CMAKE_BUILD_RPATH "${CMAKE_BINARY_DIR}")

# Bits come first (docs/exactness.md): no contraction, no fast math, no -march=native.
function(temper_options target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wno-unused-parameter -ffp-contract=off)
  target_include_directories(${target} PUBLIC "${CMAKE_SOURCE_DIR}")
  if(TEMPER_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${TEMPER_SANITIZE} -fno-omit-frame-pointer
                           -fno-sanitize-recover=all)
    target_link_options(${target} PUBLIC -fsanitize=${TEMPER_SANITIZE})
  endif()
  if(TEMPER_GPU)
    target_compile_definitions(${target} PRIVATE TEMPER_GPU=1)
  endif()
endfunction()

# temper_unity(TARGET SIZE sources...): the files of a folder are compiled SIZE at a time: two thirds of a file's compile time is the
# headers that its neighbours read too. The same files go together in every preset.
function(temper_unity target size)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ${TEMPER_UNITY} UNITY_BUILD_MODE GROUP)
  foreach(source ${ARGN})
    file(RELATIVE_PATH folder "${CMAKE_SOURCE_DIR}" "${source}/..")
    list(LENGTH "files_${folder}" before)
    list(APPEND "files_${folder}" "${source}")
    math(EXPR batch "${before} / ${size}")
    string(MAKE_C_IDENTIFIER "${folder}_${batch}" group)
    set_property(SOURCE "${source}" PROPERTY UNITY_GROUP "${group}")
  endforeach()
endfunction()

# temper_library(room DEPS rooms... LINK libs... [TORCH] [PROTO]): the room is every .cc in its folder
# (and sub-folders), but for the programs and the Parquet library.
function(temper_library room)
  cmake_parse_arguments(ARG "TORCH;PROTO" "" "DEPS;LINK" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/${room}/*.cc" "${CMAKE_SOURCE_DIR}/${room}/*.c")
  list(FILTER sources EXCLUDE REGEX "cli/main\\.cc$|cli/bench/|data/dataset/parquet_module\\.cc$|rewards/process/keeper\\.c$")
  if(NOT sources)
    add_library(temper_${room} INTERFACE)
    foreach(dep ${ARG_DEPS})
      target_link_libraries(temper_${room} INTERFACE temper_${dep})
    endforeach()
    target_link_libraries(temper_${room} INTERFACE ${ARG_LINK})
    target_include_directories(temper_${room} INTERFACE "${CMAKE_SOURCE_DIR}")
    return()
  endif()
  add_library(temper_${room} STATIC ${sources})
  temper_options(temper_${room})
  foreach(dep ${ARG_DEPS})
    target_link_libraries(temper_${room} PUBLIC temper_${dep})
  endforeach()
  target_link_libraries(temper_${room} PUBLIC ${ARG_LINK})
  if(ARG_TORCH)
    target_link_libraries(temper_${room} PUBLIC LibTorch::LibTorch)
  endif()
  temper_unity(temper_${room} 16 ${sources})
  # What lets LibTorch compute stays in objects of its own: check_layers.py looks at all others.
  set_source_files_properties("${CMAKE_SOURCE_DIR}/model/torch_backend.cc" PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  if(room MATCHES "^(rollout|trainer|cli)$")
    target_compile_options(temper_${room} PRIVATE -O1)  # they wait for kernels; -O2 compiles a quarter longer
  endif()
  if(ARG_PROTO)
    file(GLOB protos CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/${room}/*.proto")
    foreach(proto ${protos})
      get_filename_component(name ${proto} NAME_WE)
      set(out "${CMAKE_BINARY_DIR}/proto/${room}/${name}.pb")
      add_custom_command(OUTPUT ${out}.cc ${out}.h
        COMMAND ${CMAKE_COMMAND} -E make_directory "${CMAKE_BINARY_DIR}/proto/${room}"
        COMMAND protobuf::protoc --cpp_out=${CMAKE_BINARY_DIR}/proto -I${CMAKE_SOURCE_DIR} ${proto}
        DEPENDS ${proto})
      target_sources(temper_${room} PRIVATE ${out}.cc ${out}.h)
    endforeach()
    target_include_directories(temper_${room} SYSTEM PUBLIC "${CMAKE_BINARY_DIR}/proto")
    target_link_libraries(temper_${room} PUBLIC protobuf::libprotobuf)
  endif()
endfunction()

# The kernels room: kernels/cpu/*.cc is compiled once for each instruction set, into a namespace of its own
# (kernels/cpu/simd.h); kernels/*.cc once, and picks one at run time (kernels/isa.h).
function(temper_kernels room)
  cmake_parse_arguments(ARG "" "" "DEPS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/${room}/*.cc" "${CMAKE_SOURCE_DIR}/${room}/backends/*.cc")
  file(GLOB cpu_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/${room}/cpu/*.cc")
  file(GLOB cuda_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/${room}/cuda/*.cc")
  file(GLOB driver_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/${room}/cuda/driver/*.cc")
  list(APPEND sources ${cuda_sources} ${driver_sources})
  if(TEMPER_SANITIZE MATCHES "fuzzer")  # readers of files convert numbers, and call no other kernel
    list(FILTER sources INCLUDE REGEX "/${room}/(convert|isa|matrix)\\.cc$")
    list(FILTER cpu_sources INCLUDE REGEX "/convert\\.cc$")
  endif()
  add_library(temper_${room} STATIC ${sources})
  temper_options(temper_${room})
  target_link_libraries(temper_${room} PUBLIC temper_core)
  set(flags_plain "")  # -O3 took five times as long to compile
  set(fast -O3)
  if(TEMPER_SANITIZE)
    set(fast "")  # -O3 took minutes a file
  endif()
  set(flags_avx2 ${fast} -mavx2 -mfma)
  set(flags_avx512 ${fast} -mavx512f -mavx512vl -mavx512bw -mavx512dq -mavx2 -mfma -mprefer-vector-width=512)
  if(cpu_sources)
    foreach(isa plain avx2 avx512)
      add_library(temper_${room}_${isa} OBJECT ${cpu_sources})
      temper_options(temper_${room}_${isa})
      target_compile_options(temper_${room}_${isa} PRIVATE ${flags_${isa}})
      target_compile_definitions(temper_${room}_${isa} PRIVATE TEMPER_ISA=${isa} TEMPER_ISA_${isa}=1)
      target_sources(temper_${room} PRIVATE $<TARGET_OBJECTS:temper_${room}_${isa}>)
    endforeach()
  endif()
  if(TEMPER_GPU)
    list(FILTER driver_sources EXCLUDE REGEX "/memory\\.cc$")  # the simulation's alone
    temper_sm90(temper_${room} sm90 "${room}/cuda" ${cuda_sources} ${driver_sources})
    # The backend over these launches: what the simulation's is made of, once more.
    file(GLOB launching CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/${room}/backends/launching*.cc")
    add_library(temper_${room}_sm90 OBJECT ${launching})
    temper_options(temper_${room}_sm90)
    target_compile_definitions(temper_${room}_sm90 PRIVATE TEMPER_DEVICE=sm90)
    target_sources(temper_${room} PRIVATE $<TARGET_OBJECTS:temper_${room}_sm90>)
  endif()
endfunction()

# temper_sm90(TARGET OUT FOLDER sources...): adds what nvcc makes of the kernels of a folder of the tree to a target: machine code
# of sm_90a and nothing that a driver would compile again. What it says of each kernel, and its PTX, in OUT of the build folder, must
# pass scripts/check_kernels.py.
function(temper_sm90 target out folder)
  find_package(CUDAToolkit 13 REQUIRED)
  find_program(TEMPER_NVCC nvcc HINTS "${CUDAToolkit_BIN_DIR}" REQUIRED)
  set(out "${CMAKE_BINARY_DIR}/${out}")
  file(MAKE_DIRECTORY "${out}/kept")
  foreach(source ${ARGN})
    get_filename_component(name "${source}" NAME_WE)
    if(NOT name STREQUAL "simulator")
      add_custom_command(OUTPUT "${out}/${name}.o" "${out}/${name}.log" BYPRODUCTS "${out}/${name}.ptx" DEPFILE "${out}/${name}.d"
        COMMAND sh -c "log=$1; shift; \"$@\" >\"$log\" 2>&1 || { cat \"$log\" >&2; exit 1; }" sh "${out}/${name}.log"
                ${TEMPER_NVCC} -x cu -std=c++20 -O2 -gencode arch=compute_90a,code=sm_90a -fmad=false
                -Xcompiler=-fPIC,-ffp-contract=off -Xptxas=-v -I "${CMAKE_SOURCE_DIR}" -MD -MF "${out}/${name}.d"
                -keep -keep-dir "${out}/kept" -c "${source}" -o "${out}/${name}.o"
        COMMAND ${CMAKE_COMMAND} -E copy "${out}/kept/${name}.ptx" "${out}/${name}.ptx"
        DEPENDS "${source}" VERBATIM)
      list(APPEND objects "${out}/${name}.o")
      list(APPEND logs "${out}/${name}.log")
    endif()
  endforeach()
  add_custom_command(OUTPUT "${out}/checked"
    COMMAND python3 "${CMAKE_SOURCE_DIR}/scripts/check_kernels.py" --compiled "${out}" --folder "${folder}"
    COMMAND ${CMAKE_COMMAND} -E touch "${out}/checked"
    DEPENDS ${logs} "${CMAKE_SOURCE_DIR}/scripts/check_kernels.py" "${CMAKE_SOURCE_DIR}/${folder}/resources.txt" VERBATIM)
  target_sources(${target} PRIVATE ${objects} "${out}/checked")
  target_link_libraries(${target} PUBLIC CUDA::cudart)
endfunction()
