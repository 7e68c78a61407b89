# Prints each place where the library's own rooms name a subsystem outside of a comment: what bears its name is in its
# folder, in the registry (subsystems/*.h, *.cpp) or in the explicit calls (bpf/subsystems.bpf.h).
FNR == 1 { inside = 0 }
{
  line = $0
  if (inside) {
    if (!sub(/^.*\*\//, "", line)) next
    inside = 0
  }
  gsub(/\/\*[^*]*\*+([^\/*][^*]*\*+)*\//, "", line)
  if (sub(/\/\*.*$/, "", line)) inside = 1
  gsub(/(std::|__builtin_)memset\(/, "", line)
  if (match(line, /(cpuset|cpuacct|numtasks|numfiles|numsocks|CPUSET|CPUACCT|NUMTASKS|NUMFILES|NUMSOCKS|CTN_MEMSET|[^a-z]memset[^a-z(])/)) {
    printf "%s:%d: names a subsystem: %s\n", FILENAME, FNR, $0
    wrong = 1
  }
}
END { exit wrong }
