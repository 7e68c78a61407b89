/* What a word of a command line may become: what there is at the moment. Nothing, and no error, where
 * nothing is up or the caller may not look. */
#pragma once

#include <string>
#include <vector>

#include "ctnbpf/state.h"
#include "ctnbpf/pins.h"

namespace ctnbpf::cli {

struct Candidate {
  std::string word; /* one that ends in '/', '=' or ',' goes on */
  std::string help;
};

/* Addresses that begin with `text`, down to the next level: hierarchies, then the containers of one. All of
 * them end in '/' if they are to be `parents`. */
std::vector<Candidate> address_candidates(const Pins& pins, const std::string& text, bool parents);
std::vector<Candidate> hierarchy_candidates(const Pins& pins);
/* Columns of `stat`. */
std::vector<Candidate> column_candidates(const Pins& pins);
std::vector<Candidate> pid_candidates();
/* Lists like "cpuacct,numtasks", one name longer than `text`. */
std::vector<Candidate> subsystem_candidates(const std::string& text);
/* Of the containers `addresses`, or of all subsystems if they cannot be looked at. */
std::vector<Candidate> attribute_candidates(const Pins& pins,
                                            const std::vector<std::string>& addresses);
/* "numtasks.limit=", and when `text` has got that far, with the value that it has. */
std::vector<Candidate> setting_candidates(const Pins& pins,
                                          const std::vector<std::string>& addresses,
                                          const std::string& text);

}  // namespace ctnbpf::cli
