#include "negotiate.h"

#include <charconv>

namespace ctnbpf::exporter {
namespace {

std::string_view trimmed(std::string_view text) {
  std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

/* The piece up to `separator`, which is taken off `rest`. */
std::string_view next(std::string_view& rest, char separator) {
  std::size_t end = rest.find(separator);
  std::string_view piece = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  return trimmed(piece);
}

/* How welcome a format is, 0 to 1; a later version of OpenMetrics than 1.x is another format. */
struct Choice {
  std::string_view type;
  double quality = 1;
  bool known_version = true;
};

Choice parse(std::string_view text) {
  Choice choice;
  choice.type = next(text, ';');
  while (!text.empty()) {
    std::string_view parameter = next(text, ';');
    if (parameter.starts_with("q=")) {
      std::string_view number = parameter.substr(2);
      if (std::from_chars(number.data(), number.data() + number.size(), choice.quality).ec !=
          std::errc())
        choice.quality = 0;
    } else if (parameter.starts_with("version=")) {
      choice.known_version =
          parameter.starts_with("version=1.") || parameter.starts_with("version=0.");
    }
  }
  return choice;
}

}  // namespace

metrics::Format negotiate(std::string_view accept) {
  double open = 0, plain = 0;
  while (!accept.empty()) {
    Choice choice = parse(next(accept, ','));
    if (choice.type == "application/openmetrics-text" && choice.known_version)
      open = std::max(open, choice.quality);
    else if (choice.type == "text/plain" || choice.type == "text/*" || choice.type == "*/*")
      plain = std::max(plain, choice.quality);
  }
  return open > 0 && open >= plain ? metrics::Format::kOpenMetrics : metrics::Format::kPrometheus;
}

const char* content_type(metrics::Format format) {
  return format == metrics::Format::kOpenMetrics
             ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
             : "text/plain; version=0.0.4; charset=utf-8";
}

}  // namespace ctnbpf::exporter
