/* Names in OpenMetrics: whatever a container is called, each line is one sample, and its labels say the name. */
#include <cstring>

#include "ctnbpf/address.h"
#include "ctnbpf/containers.h"
#include "exposition.h"
#include "fuzz.h"
#include "plain_state.h"

using namespace ctnbpf;

namespace {

/* The value of the label `path` as OpenMetrics reads it; false: the line breaks its grammar. */
bool read_path(std::string_view line, std::string& path) {
  std::size_t at = line.find("path=\"");
  if (at == std::string_view::npos) return false;
  path.clear();
  for (at += std::strlen("path=\""); at < line.size(); at++) {
    if (line[at] == '"') return true;
    if (line[at] != '\\') {
      path += line[at];
      continue;
    }
    if (++at == line.size()) return false;
    if (line[at] == 'n')
      path += '\n';
    else if (line[at] == '\\' || line[at] == '"')
      path += line[at];
    else
      return false;
  }
  return false;
}

}  // namespace

CTN_FUZZ(text) {
  test::PlainState plain(4);
  {
    Writer writer = plain.writer();
    CTN_MUST(tree::create_hierarchy(writer, "h", {"numtasks"}).has_value());
    if (!tree::create(writer, 0, std::string(text))) return;
  }
  State state = plain.state();
  char* data = nullptr;
  std::size_t size = 0;
  std::FILE* file = ::open_memstream(&data, &size);
  {
    metrics::Meters meters;
    auto table = metrics::make_stat(state, meters, metrics::select(state, {}));
    CTN_MUST(table.has_value());
    metrics::Exposition out(file, metrics::Format::kOpenMetrics);
    out.containers(*table, meters);
    out.end();
  }
  std::fclose(file);
  std::string all(data, size);
  std::free(data);
  std::size_t found = 0;
  for (std::size_t at = 0; at < all.size();) {
    std::size_t end = all.find('\n', at);
    CTN_MUST(end != std::string::npos);
    std::string line = all.substr(at, end - at);
    at = end + 1;
    if (line.starts_with("#") || line.find("path=\"/\"") != std::string::npos) continue;
    std::string path;
    CTN_MUST(read_path(line, path));
    CTN_MUST(from_printable(path) == "/" + std::string(text));
    found++;
  }
  CTN_MUST(found != 0);
}
