# Prints each place outside of a comment that has the name of a subsystem (one of `names`): what bears its name is in
# its folder, in the registry (subsystems/*.h, *.cpp) or in the explicit calls (bpf/subsystems.bpf.h).
BEGIN {
  n = split(names, each, " ")
  for (i = 1; i <= n; i++) pattern = pattern (i > 1 ? "|" : "") each[i] "|" toupper(each[i])
}
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
  if (match(line, pattern)) {
    printf "%s:%d: names a subsystem: %s\n", FILENAME, FNR, $0
    wrong = 1
  }
}
END { exit wrong }
