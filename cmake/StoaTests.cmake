# How the tests are found and registered with CTest. A test is a file in the right folder; nothing
# is listed by hand. Labels: unit gradient parity fault gpu golden fuzz embed tidy, and slow for
# files named *_slow.*. Every test runs in the source folder, so paths in messages can be pasted
# into an editor. A test that exits with 77 was skipped: this machine lacks what it needs.
set(STOA_TEST_BIN ${CMAKE_BINARY_DIR}/tests)

function(stoa_add_test name labels)
  cmake_parse_arguments(arg "" "TIMEOUT" "COMMAND" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
  endif()
  if(name MATCHES "_slow")
    list(APPEND labels slow)
    set(arg_TIMEOUT 900)
  endif()
  add_test(NAME ${name} COMMAND ${arg_COMMAND} WORKING_DIRECTORY ${STOA_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES LABELS "${labels}" TIMEOUT ${arg_TIMEOUT}
    SKIP_RETURN_CODE 77 ENVIRONMENT
    "ASAN_OPTIONS=detect_stack_use_after_return=1:detect_leaks=0;UBSAN_OPTIONS=print_stacktrace=1")
endfunction()

function(stoa_test_program target)
  add_executable(${target} ${ARGN})
  target_include_directories(${target} PRIVATE ${STOA_SOURCE_DIR}/tests/unit ${STOA_SOURCE_DIR})
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${STOA_TEST_BIN})
endfunction()

# tests/unit/test_<layer>[_topic].c: one program per layer, linked with that layer and what it may
# use only, so that a smuggled symbol does not link; one CTest per file.
function(stoa_unit_tests)
  foreach(target ${STOA_LAYERS})
    string(REPLACE stoa_ "" layer ${target})
    file(GLOB sources CONFIGURE_DEPENDS ${STOA_SOURCE_DIR}/tests/unit/test_${layer}.c
      ${STOA_SOURCE_DIR}/tests/unit/test_${layer}_*.c)
    if(NOT sources)
      continue()
    endif()
    stoa_test_program(unit_${layer} ${sources} tests/unit/harness.c)
    target_link_libraries(unit_${layer} PRIVATE ${target})
    if(TARGET fakes_${layer})
      add_dependencies(unit_${layer} fakes_${layer})
      target_compile_definitions(unit_${layer} PRIVATE STOA_FAKES="${STOA_TEST_BIN}/fakes")
    endif()
    foreach(source ${sources})
      get_filename_component(stem ${source} NAME_WE)
      string(REGEX REPLACE "^test_" "" topic ${stem})
      stoa_add_test(unit/${topic} unit COMMAND unit_${layer} --file /${stem}.c)
    endforeach()
  endforeach()
endfunction()

# tests/fakes/<source>.c as tests/fakes/<folder>/<file> of the build: stand-ins for foreign
# libraries that the tests of a layer load. Further arguments are compile definitions.
function(stoa_fake layer folder file source)
  set(target fake_${folder}_${source})
  add_library(${target} MODULE ${STOA_SOURCE_DIR}/tests/fakes/${source}.c)
  target_include_directories(${target} PRIVATE ${STOA_SOURCE_DIR}/src ${STOA_SOURCE_DIR})
  target_compile_definitions(${target} PRIVATE ${ARGN})
  set_target_properties(${target} PROPERTIES PREFIX "" SUFFIX "" OUTPUT_NAME ${file}
    LIBRARY_OUTPUT_DIRECTORY ${STOA_TEST_BIN}/fakes/${folder} LINK_OPTIONS "-Wl,-soname,${file}")
  if(NOT TARGET fakes_${layer})
    add_custom_target(fakes_${layer})
  endif()
  add_dependencies(fakes_${layer} ${target})
endfunction()

# tests/<kind>/*.c: one program a file, linked with every layer and the models. Those of `gpu` need
# a device and are skipped without one.
function(stoa_program_tests kind)
  file(GLOB sources CONFIGURE_DEPENDS ${STOA_SOURCE_DIR}/tests/${kind}/*.c)
  foreach(source ${sources})
    get_filename_component(stem ${source} NAME_WE)
    string(REGEX REPLACE "^test_" "" stem ${stem})
    stoa_test_program(${kind}_${stem} ${source} tests/unit/harness.c)
    target_compile_definitions(${kind}_${stem} PRIVATE STOA_SOURCE_DIR="${STOA_SOURCE_DIR}")
    if(kind STREQUAL gpu) # carried to a machine with a GPU: no more than they need
      stoa_link_all(gpu_${stem})
      target_link_options(gpu_${stem} PRIVATE -Wl,--as-needed)
    else()
      stoa_link_all(${kind}_${stem})
    endif()
    if(kind STREQUAL compile) # some run plans for a GPU on the stand-in driver
      add_dependencies(compile_${stem} fakes_gpu)
      target_compile_definitions(compile_${stem} PRIVATE STOA_FAKES="${STOA_TEST_BIN}/fakes")
    endif()
    if(stem STREQUAL run_ops) # the operators' tests of the CPU, with the GPU as the back end
      target_sources(gpu_run_ops PRIVATE tests/unit/test_cpu_fast_move.c
        tests/unit/test_cpu_fast_dot.c tests/unit/test_cpu_fast_reduce.c
        tests/unit/test_cpu_fast_matrix.c)
      target_compile_definitions(gpu_run_ops PRIVATE
        STOA_FAST_BACK_END="tests/gpu/fast_gpu.h")
      target_include_directories(gpu_run_ops PRIVATE ${STOA_SOURCE_DIR}/tests/gpu)
    endif()
    stoa_add_test(${kind}/${stem} ${kind} COMMAND ${kind}_${stem})
  endforeach()
endfunction()

# One CTest per directory that holds *.ir files.
function(stoa_golden_tests)
  if(NOT TARGET stoa_tool_stoacheck)
    return()
  endif()
  file(GLOB_RECURSE files RELATIVE ${STOA_SOURCE_DIR} CONFIGURE_DEPENDS
    ${STOA_SOURCE_DIR}/tests/golden/*.ir ${STOA_SOURCE_DIR}/tests/ops/*.ir
    ${STOA_SOURCE_DIR}/tests/errors/*.ir ${STOA_SOURCE_DIR}/tests/run/*.ir)
  foreach(file ${files})
    get_filename_component(dir ${file} DIRECTORY)
    list(APPEND dirs ${dir})
  endforeach()
  list(REMOVE_DUPLICATES dirs)
  foreach(dir ${dirs})
    string(REGEX REPLACE "^tests/(golden/)?" "golden/" name ${dir})
    stoa_add_test(${name} golden COMMAND stoa_tool_stoacheck ${dir})
  endforeach()
endfunction()

# tests/fuzz/<target>.c: libFuzzer with -DSTOA_FUZZ=ON (a short bounded run that starts from the
# corpus), otherwise a replay of tests/fuzz/corpus/<target>.
function(stoa_fuzz_tests)
  file(GLOB sources CONFIGURE_DEPENDS ${STOA_SOURCE_DIR}/tests/fuzz/*.c)
  list(FILTER sources EXCLUDE REGEX "/replay_main\\.c$")
  foreach(source ${sources})
    get_filename_component(stem ${source} NAME_WE)
    set(corpus tests/fuzz/corpus/${stem})
    stoa_test_program(fuzz_${stem} ${source})
    stoa_link_all(fuzz_${stem})
    if(STOA_FUZZ)
      target_compile_options(fuzz_${stem} PRIVATE -fsanitize=fuzzer)
      target_link_options(fuzz_${stem} PRIVATE -fsanitize=fuzzer)
      set(found ${STOA_TEST_BIN}/corpus/${stem})
      file(MAKE_DIRECTORY ${found})
      if(NOT EXISTS ${STOA_SOURCE_DIR}/${corpus})
        set(corpus "")
      endif()
      stoa_add_test(fuzz/${stem} fuzz COMMAND fuzz_${stem} -seed=1 -runs=20000 -max_total_time=20
        -print_final_stats=0 -verbosity=0 -artifact_prefix=${STOA_TEST_BIN}/ ${found} ${corpus})
    else()
      target_sources(fuzz_${stem} PRIVATE tests/fuzz/replay_main.c)
      stoa_add_test(fuzz/${stem} fuzz COMMAND fuzz_${stem} ${corpus})
    endif()
  endforeach()
endfunction()

# bench/bench_<name>.c: programs with every layer and what the other bench/*.c share; CTest only
# proves that each still runs (--smoke). Results name the commit, which is looked up at each build.
# bench_gpu_* name no library that they do not use, so that they can be carried to a machine with a
# GPU.
function(stoa_benches)
  file(GLOB programs CONFIGURE_DEPENDS ${STOA_SOURCE_DIR}/bench/bench_*.c)
  file(GLOB shared CONFIGURE_DEPENDS ${STOA_SOURCE_DIR}/bench/*.c)
  list(FILTER shared EXCLUDE REGEX "/bench_[^/]*$")
  set(commit ${CMAKE_BINARY_DIR}/generated/bench/commit.h)
  add_custom_target(stoa_commit BYPRODUCTS ${commit} VERBATIM COMMAND ${CMAKE_COMMAND}
    -DOUT=${commit} -DSOURCE=${STOA_SOURCE_DIR} -P ${STOA_SOURCE_DIR}/cmake/commit.cmake)
  add_library(stoa_bench STATIC ${shared})
  add_dependencies(stoa_bench stoa_commit)
  stoa_link_all(stoa_bench)
  target_include_directories(stoa_bench PRIVATE ${CMAKE_BINARY_DIR}/generated)
  set_target_properties(stoa_bench PROPERTIES ARCHIVE_OUTPUT_DIRECTORY
    ${CMAKE_BINARY_DIR}/generated)
  foreach(source ${programs})
    get_filename_component(name ${source} NAME_WE)
    add_executable(${name} ${source})
    target_link_libraries(${name} PRIVATE stoa_bench)
    stoa_link_all(${name})
    set(labels unit)
    if(name MATCHES "^bench_gpu_")
      target_link_options(${name} PRIVATE -Wl,--as-needed)
      set(labels gpu)
    endif()
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)
    stoa_add_test(${labels}/${name} ${labels} COMMAND ${name} --smoke)
  endforeach()
  # The suite `peers` is a script beside them and the process that it talks to.
  add_executable(peer_stoa bench/peers/stoa.c)
  target_link_libraries(peer_stoa PRIVATE stoa_bench)
  stoa_link_all(peer_stoa)
  set_target_properties(peer_stoa PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/bench)
  file(CREATE_LINK ${STOA_SOURCE_DIR}/bench/peers/bench_peers.py
    ${CMAKE_BINARY_DIR}/bench/bench_peers SYMBOLIC)
  stoa_add_test(unit/bench_peers unit COMMAND ${CMAKE_BINARY_DIR}/bench/bench_peers --smoke)
endfunction()

# Compiles tests/abi/*.c against NVIDIA's headers, where STOA_CUDA_INCLUDE names or the usual places
# hold them: our declarations of their libraries must agree.
function(stoa_abi_test)
  find_path(STOA_CUDA_INCLUDE cuda.h PATHS ENV CUDA_HOME ENV CUDA_PATH /usr/local/cuda
    PATH_SUFFIXES include)
  mark_as_advanced(STOA_CUDA_INCLUDE)
  foreach(header cuda.h nvrtc.h cublasLt.h cudnn.h cupti.h nccl.h nvtx3/nvToolsExt.h)
    if(NOT EXISTS ${STOA_CUDA_INCLUDE}/${header})
      return() # no toolkit, or not all of it
    endif()
  endforeach()
  file(STRINGS ${STOA_CUDA_INCLUDE}/cuda.h version REGEX "#define CUDA_VERSION 1[3-9]")
  if(NOT version)
    return() # before 13 some symbols have other names in the headers
  endif()
  file(GLOB sources CONFIGURE_DEPENDS ${STOA_SOURCE_DIR}/tests/abi/*.c)
  add_library(abi_cuda OBJECT ${sources})
  target_include_directories(abi_cuda PRIVATE ${STOA_SOURCE_DIR}/src)
  target_include_directories(abi_cuda SYSTEM PRIVATE ${STOA_CUDA_INCLUDE})
endfunction()

# Loading the library into a program that was not linked with it, as Python does.
function(stoa_load_test)
  find_program(PYTHON3 python3 REQUIRED)
  if(TARGET stoa AND NOT STOA_SANITIZE_FLAGS)
    stoa_add_test(embed/load embed COMMAND ${PYTHON3} tests/embed/load.py $<TARGET_FILE:stoa>)
  endif()
endfunction()

# Installs this build to a scratch prefix and builds examples/embed.c against it, out of tree.
function(stoa_embed_test)
  if(TARGET stoa AND EXISTS ${STOA_SOURCE_DIR}/examples/embed.c AND NOT STOA_SANITIZE_FLAGS)
    stoa_add_test(embed/embed embed COMMAND bash tests/embed/run ${CMAKE_BINARY_DIR}
      ${CMAKE_C_COMPILER})
  endif()
endfunction()

# The mechanical style checks, see tools/.
function(stoa_tidy_tests)
  find_program(PYTHON3 python3 REQUIRED)
  foreach(check tidy check_layers check_diags check_contracts)
    stoa_add_test(tidy/${check} tidy COMMAND ${PYTHON3} tools/${check}.py)
  endforeach()
  stoa_add_test(tidy/check_headers tidy
    COMMAND ${PYTHON3} tools/check_headers.py --cc ${CMAKE_C_COMPILER})
  stoa_add_test(tidy/self tidy COMMAND ${PYTHON3} tests/tidy/run.py)
  if(NOT STOA_SANITIZE_FLAGS)
    stoa_add_test(tidy/check_symbols tidy
      COMMAND ${PYTHON3} tools/check_symbols.py --build ${CMAKE_BINARY_DIR})
  endif()
  if(TARGET stoa_tool_make_ops_header)
    stoa_add_test(tidy/ops_header tidy COMMAND stoa_tool_make_ops_header)
  endif()
endfunction()

# The command line as a user tries it, and the program that README.md shows.
function(stoa_cli_tests)
  if(NOT TARGET stoa_tool_stoa)
    return()
  endif()
  find_program(PYTHON3 python3 REQUIRED)
  stoa_add_test(unit/cli unit COMMAND ${PYTHON3} tests/cli/run.py $<TARGET_FILE:stoa_tool_stoa>)
  set_tests_properties(unit/cli PROPERTIES COST 100) # the longest begins first
  stoa_add_test(unit/cli_stoac unit
    COMMAND ${PYTHON3} tests/cli/stoac.py $<TARGET_FILE:stoa_tool_stoac>)
  if(NOT STOA_SANITIZE_FLAGS)
    stoa_add_test(unit/cli_readme unit
      COMMAND ${PYTHON3} tests/cli/readme.py ${CMAKE_C_COMPILER} $<TARGET_FILE_DIR:stoa>)
  endif()
endfunction()
