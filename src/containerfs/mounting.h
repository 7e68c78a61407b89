/* From a request to a served mount. */
#pragma once

#include <functional>

#include "layout.h"
#include "request.h"

namespace ctnbpf::containerfs {

/* Finds the hierarchy that is asked for or makes it, bringing everything up where nothing is; what to serve. EBUSY:
 * a subsystem is bound elsewhere. */
Result<Style> find_hierarchy(const Request& request);

/* Is there such a mount on the directory already, that answers as the cpuset file system does? */
bool serves_cpuset(const std::string& dir);

/* The directory, absolute; what a server that was killed left mounted there is unmounted. */
Result<std::string> prepare_directory(const std::string& dir);

/* Mounts and serves; `mounted` is called once, in between or with the reason why not. */
void serve_mount(const Request& request, const std::string& dir, const Style& style,
                 const std::function<void(const Result<void>&)>& mounted);

}  // namespace ctnbpf::containerfs
