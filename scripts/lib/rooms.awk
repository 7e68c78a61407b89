# Checks that arrows between rooms go down: reads `FILE:N:#include "HEADER"`, and prints each include that goes up or
# past a wall. The rooms of the library, lowest first; public headers belong to them too.
BEGIN {
  FS = ":"
  n = split("base kernel tree containers tasks service", names, " ")
  for (i = 1; i <= n; i++) floor[names[i]] = i
  of("base", "abi address atomics nearest result unique_fd")
  of("kernel", "levels pins program_stats")
  of("tree", "events membership meter namespaces state subsystem tree")
  of("containers", "attributes containers files ownership removed settings")
  of("tasks", "attach confirmed explain kill owners")
  of("service", "agentd fsck service")
  split("metrics engines config cli layout exporter containerfs top user", ends, " ")
  for (i in ends) front_end[ends[i]] = 1
}
function of(room, headers,    each, i) {
  split(headers, each, " ")
  for (i in each) public[each[i]] = room
}
function bad(why) {
  printf "%s:%s: %s: %s\n", $1, $2, header, why
  wrong = 1
}
{
  match($0, /"[^"]*"/)
  header = substr($0, RSTART + 1, RLENGTH - 2)
  split($1, path, "/")
  split(header, part, "/")
  in_src = path[1] == "src"
  here = path[2]
  if (path[1] == "include") here = public[substr(path[3], 1, length(path[3]) - 2)]
  there = part[1]
  if (there == "ctnbpf" && part[2] !~ /\.skel\.h$/) {
    there = public[substr(part[2], 1, length(part[2]) - 2)]
    if (there == "") { bad("belongs to no room: name it in scripts/lib/rooms.awk"); next }
    is_public = 1
  } else {
    is_public = 0
  }
  if (path[1] == "subsystems") {
    if (floor[there] > floor["tasks"] && $1 !~ /^subsystems\/loaded/)
      bad("a subsystem uses no room above tasks")
  } else if (path[1] == "include") {
    if (here == "") bad("the header that includes it belongs to no room")
    else if (!is_public) bad("a public header includes an internal one")
    else if (floor[there] > floor[here]) bad("goes up, from " here " to " there)
  } else if (in_src && here in floor) {
    if (!is_public && !(there in floor) && part[2] != "" && !(header ~ /^(probe|ctnbpf)\.skel\.h$/))
      bad("the library knows no subsystem")
    else if (there in floor && floor[there] > floor[here])
      bad("goes up, from " here " to " there)
  } else if (in_src && here in front_end) {
    if (!is_public && part[2] != "") bad("a front end sees include/ctnbpf and its own headers")
  }
}
END { exit wrong }
