# The house's warnings, and headers named from the repository's root: never for what links to the target, whose own
# folders may have such names.
function(sale_target_options target)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion)
  if(SALE_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()

# sale_library(NAME SOURCES... [PUBLIC lib...] [PRIVATE lib...]): a static library of this project; its users
# see include/ alone.
function(sale_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR}/include)
  target_link_libraries(${name} PUBLIC ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE})
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden
                                           VISIBILITY_INLINES_HIDDEN ON)
  sale_target_options(${name})
endfunction()
