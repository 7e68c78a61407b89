/* What a layout can say of a container: the attributes that can be set, from the tables of the subsystems. */
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "layout.h"
#include "ctnbpf/attributes.h"
#include "ctnbpf/subsystem.h"

namespace ctnbpf::config {

/* Of every subsystem there is, those of the core first; in table order. */
const std::vector<AttributeRef>& settable();
/* Null: there is none of this name that can be set. */
const AttributeRef* find_settable(const std::string& name);

/* May it be set on such a container? EPERM. `address` names it in the message. */
Result<void> check_on(const AttributeRef& attribute, bool root, const std::string& address);
/* Attributes by their full names, and the text of each; EINVAL, ERANGE. */
Result<std::vector<std::pair<std::string, std::string>>> normal_form(const AttributeRef& attribute,
                                                                     const std::string& text);
/* Has a new container its parent's? */
bool is_inherited(const AttributeRef& attribute);
/* Is its value a number, or `max`? */
bool is_number(const AttributeRef& attribute);

/* What the container has: what is set there, else what a new one has. */
std::string value_of(const Container* container, const AttributeRef& attribute);

/* Has a container whose parent has `parents` to say that it has `value`, to be told from a new one? */
bool is_worth_saying(const AttributeRef& attribute, const std::string& value,
                     const Container* parent);

}  // namespace ctnbpf::config
