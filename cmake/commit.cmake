# Writes OUT, a header with the commit of the tree at SOURCE ("+" when tracked files differ from
# it), only when it changed, so that nothing is compiled again for nothing. A script that runs at
# each build.
set(commit unknown)
execute_process(COMMAND git rev-parse --short=10 HEAD WORKING_DIRECTORY ${SOURCE}
  OUTPUT_VARIABLE found OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(NOT failed)
  set(commit ${found})
  execute_process(COMMAND git diff --quiet HEAD WORKING_DIRECTORY ${SOURCE}
    RESULT_VARIABLE changed ERROR_QUIET)
  if(changed)
    string(APPEND commit "+")
  endif()
endif()
file(CONFIGURE OUTPUT ${OUT} CONTENT "#define BENCH_COMMIT \"${commit}\"\n")
