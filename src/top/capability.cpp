#include "capability.h"

#include <curses.h> /* before term.h */
#include <term.h>

namespace ctnbpf::top {

bool can_move_cursor() {
  const char* sequence = ::tigetstr(const_cast<char*>("cup"));
  return sequence != nullptr && sequence != reinterpret_cast<char*>(-1);
}

}  // namespace ctnbpf::top
