/* What plugstack.conf and the user ask of the containers of a step of a Slurm job. */
#pragma once

#include <string>
#include <vector>

#include "ctnbpf/result.h"

namespace ctnbpf::slurm {

struct Wish {
  std::vector<std::string> parents; /* addresses; empty: the default ones */
  std::vector<std::string> job;     /* NAME=VALUE for the job's container */
  std::vector<std::string> step;    /* for the step's */
  bool best_effort = false;
  bool stat = false; /* say what was used, whoever asks */
};

/* `conf` are the plugin's words in plugstack.conf, X an option of `run`:
 *   X=VALUE       a step has it unless the user asks for another
 *   max-X=VALUE   the most the user can ask for; else that is X=VALUE, if there is one
 *   job-X=VALUE   of all steps of a job together
 *   container=ADDR, best-effort, stat
 * X@PARTITION stands for X in a job of that partition. `asked` is the user's, X=VALUE. EINVAL: a word that means
 * nothing, or is there twice; EPERM: the user asks for more than there may be. */
Result<Wish> wish_of(const std::vector<std::string>& conf, const std::vector<std::string>& asked,
                     const std::string& partition);

}  // namespace ctnbpf::slurm
