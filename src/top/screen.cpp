#include "screen.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <clocale>
#include <cstdlib>
#include <utility>

#include "ctnbpf/address.h"
#include "table.h"
#include "capability.h"
#include "command.h"

#define NCURSES_NOMACROS /* of common words */
#include <curses.h>

namespace ctnbpf::top {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kNameLeast = 24; /* columns for the containers */
constexpr const char* kKeys =
    "arrows move   </> column to sort by   r reverse   t tree or flat   / filter   k kill   l limit   "
    "d delay   q quit";

/* The terminal as it was, whatever happens. */
class Curses {
 public:
  Curses() : screen_(::newterm(nullptr, stdout, stdin)) {
    if (screen_ == nullptr) return;
    if (!can_move_cursor()) { /* `dumb` */
      ::endwin();
      ::delscreen(std::exchange(screen_, nullptr));
      return;
    }
    ::cbreak();
    ::noecho();
    ::keypad(stdscr, TRUE);
    ::curs_set(0);
    const char* no_color = std::getenv("NO_COLOR");
    if ((no_color == nullptr || *no_color == '\0') && ::has_colors() && ::start_color() == OK &&
        ::use_default_colors() == OK) {
      ::init_pair(kWarn, COLOR_YELLOW, -1);
      ::init_pair(kBad, COLOR_RED, -1);
      colors_ = true;
    }
  }
  ~Curses() {
    if (screen_ == nullptr) return;
    ::endwin();
    ::delscreen(screen_);
  }
  Curses(const Curses&) = delete;
  Curses& operator=(const Curses&) = delete;
  bool works() const { return screen_ != nullptr; }
  attr_t color(short pair, attr_t without) const { return colors_ ? COLOR_PAIR(pair) : without; }
  static constexpr short kWarn = 1, kBad = 2;

 private:
  SCREEN* screen_;
  bool colors_ = false;
};

class Screen {
 public:
  Screen(Model& model, const Options& options) : model_(model), options_(options) {
    view_.column = options.column;
    delay_ = std::chrono::duration_cast<Clock::duration>(
        std::chrono::duration<double>(options.interval));
  }

  Result<void> run(Curses& curses) {
    /* The second reading soon, so that there are rates. */
    Clock::time_point next = Clock::now() + std::min(delay_, Clock::duration(kSoon));
    for (bool more = true; more;) {
      rows_ = model_.rows(view_);
      draw(curses);
      auto left = std::chrono::duration_cast<std::chrono::milliseconds>(next - Clock::now());
      ::timeout(static_cast<int>(std::max<long>(left.count(), 0)));
      int key = ::getch();
      if (key == ERR && Clock::now() < next && errno != EINTR && !::isatty(STDIN_FILENO))
        return {}; /* the terminal is gone */
      if (key != ERR) {
        more = act(key);
        said_at_ = key == KEY_RESIZE ? said_at_ : Clock::now();
      }
      if (Clock::now() >= next) {
        if (auto done = model_.read(); !done) say(done.error().what);
        next = Clock::now() + delay_;
      }
    }
    return {};
  }

 private:
  static constexpr std::chrono::milliseconds kSoon{500};

  void say(std::string text) { said_ = std::move(text); }

  /* A line of the terminal, cut and filled to its width. */
  static void put(int line, int from, const std::string& text, attr_t how) {
    if (line < 0 || line >= LINES || from >= COLS) return;
    ::wattrset(stdscr, static_cast<int>(how));
    if (::wmove(stdscr, line, from) == OK)
      ::waddnstr(stdscr, text.c_str(), static_cast<int>(text.size()));
    ::wattrset(stdscr, A_NORMAL);
  }

  static std::string cut(const std::string& text, std::size_t columns) {
    if (cli::width(text) <= columns) return cli::padded(text, columns);
    std::string out;
    for (std::size_t i = 0; i < text.size(); i++) {
      bool begins = (static_cast<unsigned char>(text[i]) & 0xc0) != 0x80;
      if (begins && cli::width(out) + 1 >= columns) break;
      out += text[i];
    }
    return cli::padded(out + "~", columns);
  }

  std::string label(const Row& row) const {
    if (!view_.tree) return printable(row.address);
    return std::string(static_cast<std::size_t>(row.depth) * 2, ' ') + printable(row.name);
  }

  int page() const { return std::max(LINES - kHead - 1, 1); }

  /* The cursor stays with its container, whatever comes and goes. */
  void follow() {
    auto is_it = [&](const Row& row) { return row.slot == slot_ && row.generation == generation_; };
    auto found = std::find_if(rows_.begin(), rows_.end(), is_it);
    int count = static_cast<int>(rows_.size());
    if (found != rows_.end()) cursor_ = static_cast<int>(found - rows_.begin());
    cursor_ = std::clamp(cursor_, 0, std::max(count - 1, 0));
    remember();
    if (cursor_ < first_) first_ = cursor_;
    if (cursor_ >= first_ + page()) first_ = cursor_ - page() + 1;
    first_ = std::clamp(first_, 0, std::max(count - page(), 0));
  }
  void remember() {
    if (rows_.empty()) return;
    slot_ = rows_[static_cast<std::size_t>(cursor_)].slot;
    generation_ = rows_[static_cast<std::size_t>(cursor_)].generation;
  }

  void draw(const Curses& curses) {
    follow();
    ::erase();
    const auto& columns = model_.columns();
    auto kept = fitting(columns, COLS, kNameLeast);
    int name = std::max(COLS - static_cast<int>(kept.size()) * (kCell + 1), 1);
    std::string by = view_.column.empty() ? "container" : view_.column;
    put(0, 0,
        fmt::format("ctnbpf  {}  every {} s  by {}{}{}{}", model_.summary(),
                    std::chrono::duration<double>(delay_).count(), by,
                    view_.reverse ? " reversed" : "", view_.tree ? "  tree" : "  flat",
                    view_.filter.empty() ? "" : "  /" + printable(view_.filter)),
        A_BOLD);
    const auto by_column = find_column(columns, view_.column);
    put(1, 0, cut("container", static_cast<std::size_t>(name)), A_REVERSE);
    int at = name;
    for (std::size_t i : kept) {
      bool sorted = by_column == i;
      put(1, at, fmt::format(" {:>{}}", columns[i].title, kCell),
          A_REVERSE | (sorted ? A_BOLD | A_UNDERLINE : A_NORMAL));
      at += kCell + 1;
    }
    for (int line = 0; line < page() && first_ + line < static_cast<int>(rows_.size()); line++) {
      const Row& row = rows_[static_cast<std::size_t>(first_ + line)];
      attr_t how = first_ + line == cursor_ ? A_REVERSE : A_NORMAL;
      put(kHead + line, 0, cut(label(row), static_cast<std::size_t>(name)), how);
      at = name;
      for (std::size_t i : kept) {
        attr_t mark = how;
        bool refused = columns[i].title == "ref/s" && row.values[i].value_or(0) > 0;
        if (refused) mark |= curses.color(Curses::kBad, A_BOLD);
        bool limited = i + 1 < columns.size() && columns[i + 1].title == "limit" && row.values[i] &&
                       row.values[i + 1] && *row.values[i] >= 0.9 * *row.values[i + 1];
        if (limited) mark |= curses.color(Curses::kWarn, A_BOLD);
        put(kHead + line, at, fmt::format(" {:>{}}", cell(columns[i], row.values[i]), kCell), mark);
        at += kCell + 1;
      }
    }
    bool fresh = Clock::now() - said_at_ < std::chrono::seconds(10);
    put(LINES - 1, 0, cut(fresh && !said_.empty() ? said_ : kKeys, static_cast<std::size_t>(COLS)),
        A_DIM);
    ::refresh();
  }

  /* A line from the keyboard; nothing: escape, or an empty one. */
  std::string ask(const std::string& question) {
    std::string text;
    ::timeout(-1);
    ::curs_set(1);
    for (;;) {
      put(LINES - 1, 0, cut(question + " " + printable(text), static_cast<std::size_t>(COLS)),
          A_BOLD);
      ::move(
          LINES - 1,
          std::min<int>(static_cast<int>(cli::width(question + " " + printable(text))), COLS - 1));
      ::refresh();
      int key = ::getch();
      if (key == '\n' || key == KEY_ENTER || key == '\r') break;
      if (key == ERR || key == 27) {
        text.clear();
        break;
      }
      if (key == KEY_BACKSPACE || key == 127 || key == 8) {
        while (!text.empty() && (static_cast<unsigned char>(text.back()) & 0xc0) == 0x80)
          text.pop_back();
        if (!text.empty()) text.pop_back();
      } else if (key >= ' ' && key < 256) {
        text += static_cast<char>(key);
      }
    }
    ::curs_set(0);
    return text;
  }

  void do_command(const std::vector<std::string>& words) {
    bool good = false;
    std::vector<std::string> all{"--bpffs", options_.pin_root};
    all.insert(all.end(), words.begin(), words.end());
    std::string text = command_says(all, good);
    std::string line;
    for (const std::string& word : words) line += word + " ";
    say(good && text.empty() ? "done: " + printable(line) : text);
  }

  void kill() {
    const Row& row = rows_[static_cast<std::size_t>(cursor_)];
    std::string address = row.address;
    if (row.slot < CTN_MAX_HIER)
      return say("a root's tasks are the machine's: not killed from here");
    std::string name = ask(fmt::format("signal to all tasks of {} (TERM, KILL, ...; empty: none):",
                                       printable(address)));
    if (name.empty()) return say("nothing was sent");
    do_command({"kill", address, "-s", name});
  }

  void limit() {
    std::string address = rows_[static_cast<std::size_t>(cursor_)].address;
    std::string setting =
        ask(fmt::format("set {} (numtasks.limit=N ...; empty: nothing):", printable(address)));
    if (setting.empty()) return say("nothing was set");
    do_command({"set", address, setting});
  }

  void next_column(int step) {
    const auto& columns = model_.columns();
    auto found = find_column(columns, view_.column);
    int now = found ? static_cast<int>(*found) : -1; /* by name */
    int count = static_cast<int>(columns.size());
    now = (now + 1 + step + count + 1) % (count + 1) - 1;
    view_.column = now < 0 ? "" : columns[static_cast<std::size_t>(now)].name;
  }

  void move_cursor(int by) {
    cursor_ = std::clamp(cursor_ + by, 0, std::max(static_cast<int>(rows_.size()) - 1, 0));
    remember();
  }

  /* False: to end. */
  bool act(int key) {
    switch (key) {
      case 'q':
      case 3: return false;
      case KEY_UP: move_cursor(-1); break;
      case KEY_DOWN: move_cursor(1); break;
      case KEY_PPAGE: move_cursor(-page()); break;
      case KEY_NPAGE: move_cursor(page()); break;
      case KEY_HOME: move_cursor(INT_MIN / 2); break;
      case KEY_END: move_cursor(INT_MAX / 2); break;
      case '<':
      case KEY_LEFT: next_column(-1); break;
      case '>':
      case KEY_RIGHT: next_column(1); break;
      case 'r': view_.reverse = !view_.reverse; break;
      case 't': view_.tree = !view_.tree; break;
      case '/': view_.filter = ask("only containers with this in their address:"); break;
      case 'k':
        if (!rows_.empty()) kill();
        break;
      case 'l':
        if (!rows_.empty()) limit();
        break;
      case 'd': {
        std::string text = ask("seconds between two looks:");
        double seconds = std::strtod(text.c_str(), nullptr);
        if (seconds >= 0.1 && seconds <= 86400)
          delay_ =
              std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
        else if (!text.empty())
          say("a delay is from 0.1 to 86400 seconds");
        break;
      }
      case 'h':
      case '?': say(kKeys); break;
      default: break;
    }
    return true;
  }

  static constexpr int kHead = 2; /* lines above the containers */
  Model& model_;
  const Options& options_;
  View view_;
  Clock::duration delay_;
  std::vector<Row> rows_;
  int cursor_ = 0, first_ = 0;
  Slot slot_ = 0;
  std::uint32_t generation_ = 0;
  std::string said_;
  Clock::time_point said_at_{};
};

}  // namespace

Result<void> show_on_screen(Model& model, const Options& options) {
  std::setlocale(LC_ALL, "");
  Curses curses;
  if (!curses.works()) {
    const char* term = std::getenv("TERM");
    return Error{ENOTTY, fmt::format("a terminal of the kind '{}' will not do: set TERM (vt100 "
                                     "is enough), or use -b",
                                     printable(term != nullptr ? term : ""))};
  }
  return Screen(model, options).run(curses);
}

}  // namespace ctnbpf::top
