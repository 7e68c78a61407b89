/* Links one room of the library whole, with those below it and nothing else. Which subsystems and hooks there are, and
 * their BPF object, is each program's own: this one has none. */
#include "ctnbpf/subsystem.h"
#include "kernel/hooks.h"
#include "service/loaded.h"

namespace ctnbpf {

std::span<const Subsystem* const> subsystems() { return {}; }

namespace hooks {
std::span<const HookTable* const> tables() { return {}; }
}  // namespace hooks

struct Loaded::Object {};
Loaded::Loaded(std::unique_ptr<Object> object) : object_(std::move(object)) {}
Loaded::Loaded(Loaded&&) noexcept = default;
Loaded::~Loaded() = default;
Result<Loaded> Loaded::load(const LoadSettings&) { return Error{ENOTSUP, "nothing to load"}; }
Result<void> Loaded::pin(const Pins&) const { return Error{ENOTSUP, "nothing to pin"}; }

}  // namespace ctnbpf

int main() { return 0; }
