/* The socket the exporter listens on. */
#pragma once

#include <string>

#include "ctnbpf/result.h"
#include "ctnbpf/unique_fd.h"

namespace ctnbpf::exporter {

/* Where nothing else is said: this machine alone. */
inline constexpr const char* kDefaultWhere = "127.0.0.1:9974";

/* Bound and listening. `where` is ADDR:PORT, [ADDR]:PORT, or unix:PATH, whose socket is for root and its group;
 * one that is left of an exporter that is gone is replaced, one that somebody listens on is not. Empty: the
 * socket that systemd hands over (sd_listen_fds(3)), else kDefaultWhere. */
Result<UniqueFd> listen_on(const std::string& where);

}  // namespace ctnbpf::exporter
