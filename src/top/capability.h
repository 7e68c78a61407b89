/* Apart, as term.h has macros for common words. */
#pragma once

namespace ctnbpf::top {

/* Can the terminal that curses was started on put its cursor anywhere? */
bool can_move_cursor();

}  // namespace ctnbpf::top
