# How the layers, the library and the tools are made. A layer is the static library stoa_<name> of
# every src/<name>/*.c; a folder without a .c file makes no target and is left out of the lists of
# those that depend on it, so that the tree builds while it grows.
set(STOA_LAYERS "" CACHE INTERNAL "targets of the layers that exist, lowest first")
set(STOA_LIBS_PRIVATE "-lm -lpthread -ldl" CACHE INTERNAL
  "what a static link needs besides libstoa.a")
set(STOA_SOURCE_DIR ${PROJECT_SOURCE_DIR})

# Sets STOA_<VAR> to an imported library, or stops with the name of the Debian package that has it.
function(stoa_find_library var name header package)
  find_library(STOA_${var}_LIBRARY ${name})
  find_path(STOA_${var}_INCLUDE ${header})
  mark_as_advanced(STOA_${var}_LIBRARY STOA_${var}_INCLUDE)
  if(NOT STOA_${var}_LIBRARY OR NOT STOA_${var}_INCLUDE)
    message(FATAL_ERROR "lib${name} with <${header}> was not found: run tools/setup (${package})")
  endif()
  add_library(stoa_ext_${name} INTERFACE)
  target_include_directories(stoa_ext_${name} SYSTEM INTERFACE ${STOA_${var}_INCLUDE})
  target_link_libraries(stoa_ext_${name} INTERFACE ${STOA_${var}_LIBRARY})
  set(STOA_${var} stoa_ext_${name} PARENT_SCOPE)
  set(STOA_LIBS_PRIVATE "${STOA_LIBS_PRIVATE} -l${name}" CACHE INTERNAL "")
endfunction()

# The headers of LLVM's C interface. The library itself is opened when the first kernel is compiled,
# never linked, so that a program without it starts, and one with it starts as fast.
function(stoa_find_llvm)
  find_path(STOA_LLVM_INCLUDE llvm-c/Transforms/PassBuilder.h
    PATHS /usr/lib/llvm-19/include /usr/lib64/llvm19/include NO_DEFAULT_PATH)
  mark_as_advanced(STOA_LLVM_INCLUDE)
  if(NOT STOA_LLVM_INCLUDE)
    message(STATUS "kernels will not be compiled: no <llvm-c/Core.h> of LLVM 19 (llvm-19-dev)")
    return()
  endif()
  add_library(stoa_ext_llvm INTERFACE)
  target_include_directories(stoa_ext_llvm SYSTEM INTERFACE ${STOA_LLVM_INCLUDE})
  set(STOA_LLVM_HEADERS stoa_ext_llvm PARENT_SCOPE)
  set(STOA_LLVM_DEFINE STOA_HAVE_LLVM=1 PARENT_SCOPE)
endfunction()

# jemalloc as one private object: only mallocx and its family stay visible, to Stoa alone. Linked as
# a shared library it would replace malloc in some programs that embed Stoa and half of it (operator
# new, but not free) in others, depending on the order of their libraries. It is in libstoa.a, the
# tests and the tool, not in libstoa.so: Debian builds it with thread-local memory that only a
# program and what it links can have, so that Python could not load the library (arena/block.c).
function(stoa_private_jemalloc)
  find_library(STOA_JEMALLOC_ARCHIVE libjemalloc_pic.a)
  find_program(STOA_LD ld.bfd REQUIRED) # lld cannot read an archive without a first object
  find_program(STOA_OBJCOPY objcopy REQUIRED)
  mark_as_advanced(STOA_JEMALLOC_ARCHIVE STOA_LD STOA_OBJCOPY)
  if(NOT STOA_JEMALLOC_ARCHIVE)
    message(FATAL_ERROR "libjemalloc_pic.a was not found: run tools/setup (libjemalloc-dev)")
  endif()
  set(object ${CMAKE_BINARY_DIR}/jemalloc.o)
  add_custom_command(OUTPUT ${object} DEPENDS ${STOA_JEMALLOC_ARCHIVE} VERBATIM
    COMMAND ${STOA_LD} -r -u mallocx -o ${object} ${STOA_JEMALLOC_ARCHIVE}
    COMMAND ${STOA_OBJCOPY} -w --keep-global-symbol=*allocx --keep-global-symbol=mallctl*
      ${object})
  set_source_files_properties(${object} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
  set(STOA_JEMALLOC_OBJECT ${object} CACHE INTERNAL "")
  set(STOA_LIBS_PRIVATE "${STOA_LIBS_PRIVATE} -Wl,-u,mallocx" CACHE INTERNAL "")
endfunction()

# The static library of one layer. LIBS are external, DEPENDS are the layers that it may use.
function(stoa_layer name)
  cmake_parse_arguments(arg "" "" "DEPENDS;LIBS;DEFINES" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${STOA_SOURCE_DIR}/src/${name}/*.c)
  if(NOT sources)
    return()
  endif()
  add_library(stoa_${name} STATIC ${sources})
  if(name STREQUAL arena) # beside the archive, from which a weak reference would not take it
    target_link_libraries(stoa_arena INTERFACE ${STOA_JEMALLOC_OBJECT})
  endif()
  target_include_directories(stoa_${name}
    PUBLIC ${STOA_SOURCE_DIR}/src ${STOA_SOURCE_DIR}/include)
  foreach(layer ${arg_DEPENDS})
    if(TARGET stoa_${layer})
      target_link_libraries(stoa_${name} PUBLIC stoa_${layer})
    endif()
  endforeach()
  target_link_libraries(stoa_${name} PUBLIC ${arg_LIBS} m)
  target_compile_definitions(stoa_${name} PUBLIC ${arg_DEFINES})
  set_target_properties(stoa_${name} PROPERTIES ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/layers)
  set(STOA_LAYERS ${STOA_LAYERS} stoa_${name} CACHE INTERNAL "")
endfunction()

# libstoa.so and libstoa.a from the objects of all layers. Exists as soon as the api layer does.
function(stoa_library)
  if(NOT TARGET stoa_api)
    return()
  endif()
  foreach(layer ${STOA_LAYERS})
    list(APPEND objects $<TARGET_OBJECTS:${layer}>)
    get_target_property(libs ${layer} LINK_LIBRARIES)
    list(FILTER libs EXCLUDE REGEX "^stoa_[a-z]+$")
    list(APPEND external ${libs})
  endforeach()
  list(REMOVE_DUPLICATES external)
  add_library(stoa SHARED ${objects})
  add_library(stoa_archive STATIC ${objects} ${STOA_JEMALLOC_OBJECT})
  target_link_libraries(stoa PRIVATE ${external})
  target_link_options(stoa PRIVATE -Wl,--version-script=${STOA_SOURCE_DIR}/cmake/stoa.map)
  if(NOT STOA_SANITIZE)
    target_link_options(stoa PRIVATE -Wl,--no-undefined)
  endif()
  set_target_properties(stoa PROPERTIES LINKER_LANGUAGE C VERSION ${PROJECT_VERSION} SOVERSION 0
    LINK_DEPENDS ${STOA_SOURCE_DIR}/cmake/stoa.map LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
  set_target_properties(stoa_archive PROPERTIES LINKER_LANGUAGE C OUTPUT_NAME stoa
    ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
  target_include_directories(stoa INTERFACE
    $<BUILD_INTERFACE:${STOA_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endfunction()

# models/*.c, written against the public header; whoever links them brings the library.
function(stoa_models)
  file(GLOB sources CONFIGURE_DEPENDS ${STOA_SOURCE_DIR}/models/*.c)
  if(sources)
    add_library(stoa_models STATIC ${sources})
    target_include_directories(stoa_models PUBLIC ${STOA_SOURCE_DIR}/include ${STOA_SOURCE_DIR})
    set_target_properties(stoa_models PROPERTIES
      ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/layers)
  endif()
endfunction()

# Links a program with the models (if any) and with every layer.
function(stoa_link_all target)
  if(TARGET stoa_models)
    target_link_libraries(${target} PRIVATE stoa_models)
  endif()
  target_link_libraries(${target} PRIVATE ${STOA_LAYERS} m)
  target_include_directories(${target} PRIVATE ${STOA_SOURCE_DIR})
endfunction()

# tools/<name>.c, if it exists, becomes the program <build>/<name>.
function(stoa_tool name)
  cmake_parse_arguments(arg "PUBLIC_ONLY" "" "SOURCES" ${ARGN})
  if(NOT EXISTS ${STOA_SOURCE_DIR}/tools/${name}.c OR NOT STOA_LAYERS)
    return()
  endif()
  if(arg_PUBLIC_ONLY AND NOT TARGET stoa)
    return()
  endif()
  add_executable(stoa_tool_${name} tools/${name}.c ${arg_SOURCES})
  set_target_properties(stoa_tool_${name} PROPERTIES OUTPUT_NAME ${name}
    INSTALL_RPATH $ORIGIN/../${CMAKE_INSTALL_LIBDIR})
  if(arg_PUBLIC_ONLY)
    if(TARGET stoa_models)
      target_link_libraries(stoa_tool_${name} PRIVATE stoa_models)
    endif()
    target_sources(stoa_tool_${name} PRIVATE ${STOA_JEMALLOC_OBJECT})
    target_link_libraries(stoa_tool_${name} PRIVATE stoa m)
    target_include_directories(stoa_tool_${name} PRIVATE ${STOA_SOURCE_DIR})
  else()
    stoa_link_all(stoa_tool_${name})
  endif()
endfunction()
