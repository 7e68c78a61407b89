/* Tables for people and for programs. */
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ctnbpf::cli {

/* What is wider makes no other line wider: a path may have 65,000 characters, and there may be as many lines. */
inline constexpr std::size_t kWidest = 120;

/* Columns a text takes on a terminal, one for each UTF-8 character. */
std::size_t width(const std::string& text);
std::string padded(const std::string& text, std::size_t columns);

using Table =
    std::vector<std::vector<std::string>>; /* lines of cells; the first has the headings */

/* Nanoseconds as people read them, in seconds: "0.26". */
std::string in_seconds(std::uint64_t nanoseconds);

/* In columns, as print_table does it. */
std::string table_text(const Table& table);

/* In columns, the first one to the left and the others to the right; or as CSV. */
void print_table(const Table& table, bool csv);

/* Quoted where it has to be. */
std::string csv_cell(std::string text);

}  // namespace ctnbpf::cli
