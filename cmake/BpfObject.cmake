# bpf_object(NAME SOURCE HEADER... [VARIANT V] [OPTIONS OPTION...]): compiles SOURCE for the BPF target
# and makes its skeleton. Link NAME_skel (NAME_V_skel) to include "NAME.skel.h". Every header is a
# dependency.
find_program(CLANG NAMES clang REQUIRED)
find_program(LLVM_STRIP NAMES llvm-strip llvm-strip-14 llvm-strip-19 REQUIRED)
# On Ubuntu /usr/sbin/bpftool is a wrapper tied to the running kernel; the real ones lie beside it.
file(GLOB BPFTOOL_DIRS /usr/lib/linux-tools/* /usr/lib/linux-tools-*)
find_program(BPFTOOL NAMES bpftool PATHS ${BPFTOOL_DIRS} NO_DEFAULT_PATH)
find_program(BPFTOOL NAMES bpftool PATHS /usr/sbin /sbin REQUIRED)

# As libbpf's macros call it.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  set(BPF_ARCH arm64)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64)$")
  set(BPF_ARCH x86)
else()
  message(FATAL_ERROR "no programs for ${CMAKE_SYSTEM_PROCESSOR} yet, only for x86_64 and aarch64: see vmlinux/vmlinux.h")
endif()

function(bpf_object name source)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "VARIANT" "OPTIONS")
  set(dir ${CMAKE_BINARY_DIR}/bpf)
  set(target ${name})
  if(arg_VARIANT)
    set(dir ${dir}/${arg_VARIANT})
    set(target ${name}_${arg_VARIANT})
  endif()
  set(object ${dir}/${name}.bpf.o)
  set(skeleton ${dir}/${name}.skel.h)
  add_custom_command(
    OUTPUT ${object}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${dir}
    # v3: 32-bit registers and atomics that return the old value. -idirafter: asm/types.h of the host.
    COMMAND ${CLANG} -g -O2 -Wall -Werror -target bpf -mcpu=v3 -D__TARGET_ARCH_${BPF_ARCH}
            -I${CMAKE_SOURCE_DIR}/vmlinux -I${CMAKE_SOURCE_DIR}/include -I${CMAKE_SOURCE_DIR}/bpf
            -I${CMAKE_SOURCE_DIR}/subsystems ${arg_OPTIONS}
            -idirafter ${CMAKE_SYSROOT}/usr/include/${CMAKE_CXX_LIBRARY_ARCHITECTURE}
            -c ${CMAKE_SOURCE_DIR}/${source} -o ${object}
    COMMAND ${LLVM_STRIP} -g ${object}
    DEPENDS ${source} ${arg_UNPARSED_ARGUMENTS}
    COMMENT "BPF object ${target}"
    VERBATIM)
  add_custom_command(
    OUTPUT ${skeleton}
    COMMAND sh -c "${BPFTOOL} gen skeleton ${object} name ${name}_bpf > ${skeleton}"
    DEPENDS ${object}
    COMMENT "BPF skeleton ${target}"
    VERBATIM)
  add_custom_target(${target}_skel_h DEPENDS ${skeleton})
  add_library(${target}_skel INTERFACE)
  target_include_directories(${target}_skel SYSTEM INTERFACE ${dir})
  add_dependencies(${target}_skel ${target}_skel_h)
endfunction()
