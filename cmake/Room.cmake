# room(NAME [LOWER...]): the library ctnbpf_NAME of src/NAME, which may use the rooms LOWER and what those use. Headers
# in include/ctnbpf are for all; those in src/NAME only for the library's own rooms.
function(room name)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${name}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "/main\\.cpp$")
  add_library(ctnbpf_${name} STATIC ${sources})
  target_include_directories(ctnbpf_${name} PUBLIC include PRIVATE src subsystems bpf)
  target_link_libraries(ctnbpf_${name} PUBLIC fmt::fmt)
  foreach(lower IN LISTS ARGN)
    target_link_libraries(ctnbpf_${name} PUBLIC ctnbpf_${lower})
  endforeach()
endfunction()

# front_end(NAME [LIBRARY...]): the library ctnbpf_NAME of src/NAME, which sees include/ctnbpf and its own headers.
function(front_end name)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${name}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "/main\\.cpp$")
  add_library(ctnbpf_${name} STATIC ${sources})
  target_include_directories(ctnbpf_${name} PUBLIC src/${name})
  target_link_libraries(ctnbpf_${name} PUBLIC ctnbpf_service ${ARGN})
endfunction()
