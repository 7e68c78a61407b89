/* Figures as text for those who collect metrics. */
#pragma once

#include <cstdio>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "meters.h"
#include "stat_table.h"
#include "text_writer.h"

namespace ctnbpf::metrics {

enum class Format {
  kOpenMetrics, /* version 1.0 */
  kPrometheus,  /* Prometheus' own text format, 0.0.4 */
};

/* All samples of a metric stand together; one that only grows ends in _total; units are base units and part
 * of the name. Labels of a container are its hierarchy and its path. What cannot be written shows in
 * ferror(). */
class Exposition {
 public:
  Exposition(std::FILE* file, Format format) : out_(file), format_(format) {}

  /* Whether ctnbpf is up at all, and the version of this program. */
  void build(bool up, std::string_view version);
  /* Of the machine: levels, tables, what was missed, programs that the kernel skipped. */
  Result<void> machine(const State& state);
  /* The table, and the series of `meters`, for its containers. */
  void containers(const StatTable& table, const Meters& meters);
  /* Nothing may follow. */
  void end();

 private:
  enum class Type { kGauge, kCounter, kInfo, kHistogram };
  using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;
  /* `name` without ctnbpf_ and _total; `unit` is the last word of it, or empty. */
  void family(std::string_view name, Type type, std::string_view help, std::string_view unit = "");
  void sample(std::string_view name, Labels labels, std::uint64_t value);
  void column(const StatTable& table, std::size_t number, const class ContainerLabels& labels);
  void series(const Meter& meter, std::size_t number, const StatTable& table,
              const ContainerLabels& labels);

  TextWriter out_;
  const Format format_;
};

/* Which containers are shown. */
struct Selection {
  std::string match; /* a pattern of fnmatch(3) for the address, or for the path if it has no ':' */
  int depth = CTN_MAX_DEPTH; /* levels below the root */
  bool transient = false;    /* with those that `run` made, and all below */
};
std::vector<Slot> select(const State& state, const Selection& selection);

/* All there is to collect, at one moment; where nothing is up, that. Fails if it is up and cannot be read. */
Result<void> collect(const Pins& pins, const Selection& selection, Format format,
                     std::string_view version, std::FILE* file);

}  // namespace ctnbpf::metrics
