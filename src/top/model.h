/* What `top` shows, without the terminal it shows it on. */
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "meters.h"
#include "stat_table.h"
#include "ctnbpf/pins.h"

namespace ctnbpf::top {

struct Column {
  std::string name;  /* as `stat -s` takes it; "tasks_refused_rate" is what that has a second */
  std::string title; /* "tasks", "limit", "ref/s" */
  int worth;         /* the lower, the sooner it is left out where there is no room */
};

struct Row {
  Slot slot = 0;
  std::uint32_t generation = 0;
  int depth = 0;                             /* below the first container shown */
  std::string address;                       /* "default:/web/a" */
  std::string name;                          /* its own, "a"; of a root "default:/" */
  std::vector<std::optional<double>> values; /* by column; CTN_UNLIMITED is infinity */
};

/* How it is looked at. */
struct View {
  std::string column; /* sorted by this, the largest first; empty, or "container": by name */
  bool reverse = false;
  bool tree = true;     /* children below their parents, sorted among themselves */
  std::string filter{}; /* a part of the address; its parents are shown in a tree */
};

/* Readings one after the other: rates are those since the one before. */
class Model {
 public:
  /* Of `address`, or all hierarchies if that is empty. */
  Model(Pins pins, std::string address) : pins_(std::move(pins)), address_(std::move(address)) {}

  /* Reads anew. An error, and the rows of before stay. */
  Result<void> read();
  const std::vector<Column>& columns() const { return columns_; }
  /* As `view` has them. */
  std::vector<Row> rows(const View& view) const;
  /* Sums over what is shown at the top of each hierarchy: "3 hierarchies, 41 containers". */
  std::string summary() const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Counted {
    std::uint32_t generation;
    std::vector<std::uint64_t> counts;
  };
  void take(const State& state, const metrics::StatTable& table);

  Pins pins_;
  std::string address_;
  metrics::Meters meters_;
  std::vector<Column> columns_;
  std::vector<Row> rows_; /* parents before children, by name */
  std::map<Slot, Counted> before_;
  Clock::time_point when_{};
  std::size_t hierarchies_ = 0;
};

/* Which one has this name, or title. */
std::optional<std::size_t> find_column(const std::vector<Column>& columns, const std::string& name);

/* Of rows in the order of a tree, those that `view` shows, in its order. */
std::vector<Row> arranged(const std::vector<Row>& rows, const std::vector<Column>& columns,
                          const View& view);

/* Which columns have room beside `name` columns for the containers: numbers of `columns`. */
std::vector<std::size_t> fitting(const std::vector<Column>& columns, int width, int name);

/* As it stands in a cell: at most kCell characters. */
std::string cell(const Column& column, const std::optional<double>& value);
inline constexpr int kCell = 7;

}  // namespace ctnbpf::top
